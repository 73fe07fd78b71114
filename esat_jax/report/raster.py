"""Pictures of `training_curves` as pixels, for places that show no SVG."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 0.68  # height of a capital letter, in font sizes
_PARTS = 16  # of a pixel, in which lines and circles are placed


def rasterise(svg: str, zoom: int = 2) -> np.ndarray:
    """Draws the lines, paths of straight pieces, circles and texts of a picture on white.

    Args: zoom: pixels a px, each way.
    Returns: uint8 RGB [height, width, 3]. Letters that are not ASCII become question marks.
    """
    root = ET.fromstring(svg)
    width, height = (zoom * int(root.get(side)) for side in ("width", "height"))
    image = np.full((height, width, 3), 255, np.uint8)
    style = next(node.text for node in root if _kind(node) == "style")
    rules = re.findall(r"([\w.]+) \{ ([^}]*) \}", style)
    for node in root.iter():
        look = _look(node, rules)
        if _kind(node) == "line":
            ends = [[float(node.get(f"{axis}{i}")) for axis in "xy"] for i in (1, 2)]
            _draw_line(image, np.array(ends), look, zoom)
        elif _kind(node) == "path":
            for piece in node.get("d").split("M")[1:]:
                points = [list(map(float, point.split())) for point in piece.split("L")]
                _draw_line(image, np.array(points), look, zoom)
        elif _kind(node) == "circle":
            x, y, r = (round(float(node.get(key)) * zoom * _PARTS) for key in ("cx", "cy", "r"))
            color = _color(look["fill"])
            cv2.circle(image, (x, y), r, color, cv2.FILLED, cv2.LINE_AA, _PARTS.bit_length() - 1)
        elif _kind(node) == "text":
            _write(image, node, look, zoom)
    return image


def _kind(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


def _look(node: ET.Element, rules: list[tuple[str, str]]) -> dict[str, str]:
    """What the rules (selector, declarations) say of an element; of two the later one counts."""
    classes, look = (node.get("class") or "").split(), {}
    for selector, declarations in rules:
        kind, *wanted = selector.split(".")
        if kind in ("", _kind(node)) and set(wanted) <= set(classes):
            pairs = (each.split(":") for each in declarations.split(";") if each.strip())
            look |= {key.strip(): value.strip() for key, value in pairs}
    return look


def _draw_line(image: np.ndarray, points: np.ndarray, look: Mapping[str, str], zoom: int) -> None:
    """Draws through points [n, 2] px."""
    thick = max(1, round(zoom * float(look["stroke-width"])))
    dashes = [float(part) for part in look.get("stroke-dasharray", "").split()]
    pieces = _dashed(points, dashes) if dashes else [points]
    # The centre of a picture's first pixel is (0.5, 0.5), that of OpenCV's (0, 0).
    pieces = [np.rint((piece * zoom - 0.5) * _PARTS).astype(np.int32) for piece in pieces]
    color, shift = _color(look["stroke"]), _PARTS.bit_length() - 1
    cv2.polylines(image, pieces, False, color, thick, cv2.LINE_AA, shift)


def _dashed(points: np.ndarray, dashes: list[float]) -> list[np.ndarray]:
    """Pieces [n, 2] of a line; `dashes` are lengths in px, drawn and left out in turn."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    edges = [0.0]
    while edges[-1] < along[-1]:
        edges.append(edges[-1] + dashes[(len(edges) - 1) % len(dashes)])
    pieces = []
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        inside = along[(along > start) & (along < stop)]
        at = np.array([start, *inside, min(stop, along[-1])])
        pieces.append(np.stack([np.interp(at, along, column) for column in points.T], axis=1))
    return pieces


def _write(image: np.ndarray, node: ET.Element, look: Mapping[str, str], zoom: int) -> None:
    text = node.text.encode("ascii", "replace").decode()
    size = float(re.match(r"[\d.]+", look["font"])[0])
    thick = 2 if look.get("font-weight") == "600" else 1
    scale = cv2.getFontScaleFromHeight(_FONT, round(_CAPITAL * size * zoom), thick)
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, thick)
    left = {"start": 0.0, "middle": width / 2, "end": width}[node.get("text-anchor")]
    place = round(float(node.get("x")) * zoom - left), round(float(node.get("y")) * zoom)
    cv2.putText(image, text, place, _FONT, scale, _color(look["fill"]), thick, cv2.LINE_AA)


def _color(code: str) -> tuple[int, int, int]:
    """RGB of a code such as #0072b2."""
    return tuple(bytes.fromhex(code.removeprefix("#")))
