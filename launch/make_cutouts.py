r"""Cuts photographed objects out along their outlines, as targets of synthetic sequences.

python -m launch.make_cutouts --root=data

reads data/stills.jsonl, where a photograph's line may have outlines beside its boxes,
"polys": [["dog", [x1, y1, x2, y2, ...]]] in px, and writes data/cutouts/NAME-NUMBER.png with alpha.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_pipeline.decoding import decode_image
from esat_jax.atomic import check_writable, complete_file
from launch import errors

_ROOT = flags.DEFINE_string("root", None, "Folder with stills.jsonl and stills/.")
_OUTPUT = flags.DEFINE_string("output", "", "Folder that receives them; by default ROOT/cutouts.")
_LEAST_SIDE = flags.DEFINE_float(
    "least_side", 40.0, "Smaller objects are left out: root of the area, px.", lower_bound=4.0
)
flags.mark_flag_as_required("root")

_LARGEST_SHARE = 0.6  # of a photograph; larger outlines are its background


def main(argv: list[str]) -> None:
    """Writes the cut-outs."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    root = Path(_ROOT.value)
    output = Path(_OUTPUT.value or root / "cutouts")
    photographs = list(read_outlines(root / "stills.jsonl"))
    if not photographs:
        raise ValueError(
            f'{root / "stills.jsonl"}: no line has outlines, "polys": [[name, [x, y, ...]]].'
        )
    check_writable(output)
    count = 0
    for file, outlines in tqdm(photographs, unit="photograph"):
        path = root / "stills" / file
        try:
            image = decode_image(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}; remove its line.") from None
        for number, outline in enumerate(outlines):
            cutout = cut(image, outline, _LEAST_SIDE.value)
            if cutout is None:
                continue
            name = f"{file.replace('/', '_').rpartition('.')[0]}-{number}.png"
            with complete_file(output / name) as part:
                bgra = cv2.cvtColor(cutout, cv2.COLOR_RGBA2BGRA)
                part.write_bytes(cv2.imencode(".png", bgra)[1].tobytes())
            count += 1
    print(f"Written: {count} cut-outs of {len(photographs)} photographs in {output}.")


def read_outlines(path: Path) -> Iterator[tuple[str, list[np.ndarray]]]:
    """File names and the outlines in them, float64 [P, 2] px each, of photographs that have any.

    Raises: ValueError naming the line that is wrong.
    """
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            photograph = json.loads(line)
            polys = photograph.get("polys") or []
            outlines = [np.array(points, np.float64).reshape(-1, 2) for _, points in polys]
            if not all(np.isfinite(outline).all() for outline in outlines):
                raise ValueError("a point is not finite")
            if outlines:
                yield photograph["file"], outlines
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path}:{number}: expected {{"file": "a.jpg", "polys": [[name, [x, y, ...]]]}}, '
                f"got one that is wrong ({type(error).__name__}: {error}); correct or remove it."
            ) from None


def cut(image: np.ndarray, outline: np.ndarray, least_side: float) -> np.ndarray | None:
    """The part of uint8 RGB [height, width, 3] within an outline [P, 2] px, as uint8 RGBA.

    None if it is smaller than `least_side`, the root of its area, or most of the photograph.
    """
    alpha = np.zeros(image.shape[:2], np.uint8)
    points = np.rint((outline - 0.5) * 16).astype(np.int32)  # (0, 0) is the first pixel's corner
    cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, shift=4)
    area = alpha.sum() / 255
    if area < least_side**2 or area > _LARGEST_SHARE * alpha.size:
        return None
    x, y, width, height = cv2.boundingRect(alpha)
    inside = slice(y, y + height), slice(x, x + width)
    return np.dstack([image[inside], alpha[inside]])


if __name__ == "__main__":
    errors.run(main)
