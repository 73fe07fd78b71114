"""Film strips: a few frames of a sequence, cut to the target, with everyone's boxes on them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from esat_jax.drawing import encode_jpeg, resize_image
from esat_jax.report.markup import Html, data_uri, element

PICTURE_PX = 272, 204  # width, height of a frame on a strip; shown smaller
_MARGIN = 2.2  # of the cut, in sizes of what has to be seen
_OUTLINES = {  # of which the first shows on any picture
    "halo": {"stroke": "#000", "stroke_width": 4.0, "stroke_opacity": 0.55},
    "line": {"stroke_width": 2.0},
}

ReadFrame = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of a sequence. Attributes: name; place: of the tracker, None for the truth;
    xywh: float64 [F, 4] frame px, NaN where there is none.
    """

    name: str
    place: int | None
    xywh: np.ndarray


def telling_frames(overlap: np.ndarray, count: int) -> list[int]:
    """The first frame, and of each of count - 1 equal spans of the others the worst one.

    Args: overlap: [F], NaN where the target is absent; such frames are taken only if a span has
      no others.
    """
    frames = [0]
    for span in np.array_split(np.arange(1, len(overlap)), max(count - 1, 1)):
        if len(span):
            values = np.where(np.isnan(overlap[span]), np.inf, overlap[span])
            frames.append(int(span[np.argmin(values)]))
    return frames


def film_strip(
    read_frame: ReadFrame,
    frames: Sequence[int],
    boxes: Sequence[Boxes],
    notes: Mapping[int, str],
) -> Html:
    """Frames with all boxes, numbered from 1 as in the plot over time.

    Args:
      read_frame: number from 0 -> uint8 RGB.
      notes: what stands below a frame.
    Raises: ValueError or OSError of `read_frame`.
    """
    pictures = []
    for number, i in enumerate(frames, start=1):
        note = notes.get(i, "")
        caption = element(
            "figcaption",
            element("span", str(number), class_="pin"),
            f" frame {i + 1}",
            element("br"),
            note,
        )
        picture = draw_frame(read_frame(i), [dataclasses.replace(b, xywh=b.xywh[i]) for b in boxes])
        pictures.append(element("figure", picture, caption))
    return element("div", *pictures, class_="strip")


def draw_frame(
    frame: np.ndarray, boxes: Sequence[Boxes], size: tuple[int, int] = PICTURE_PX
) -> Html:
    """A part of a frame, uint8 RGB, with boxes `xywh` [4] drawn over it as lines of the page.

    Args: size: the picture's width and height, px, if the part is as large.
    """
    known = [box for box in boxes if np.isfinite(box.xywh).all() and (box.xywh[2:] > 0).all()]
    boxes_xywh = np.array([box.xywh for box in known]).reshape(-1, 4)
    x, y, w, h = cut_around(boxes_xywh, frame.shape[1], frame.shape[0], size[0] / size[1])
    width, height = size
    if w < width:  # a small cut stays small: enlarging adds bytes and nothing else
        width, height = w, h
    picture = resize_image(frame[y : y + h, x : x + w], width, height)
    image = element(
        "image",
        href=data_uri("image/jpeg", encode_jpeg(picture)),
        x=x,
        y=y,
        width=w,
        height=h,
        preserveAspectRatio="none",
    )
    outlines = [_outline(box) for box in known]
    said = ", ".join(box.name for box in known) or "nobody"
    return element(
        "svg",
        image,
        *outlines,
        viewBox=f"{x} {y} {w} {h}",
        role="img",
        aria_label=f"boxes of {said}",
        class_="frame",
    )


def cut_around(
    boxes_xywh: np.ndarray, width: int, height: int, shape: float
) -> tuple[int, int, int, int]:
    """The part of a frame that shows boxes [n, 4] and what is around them: x, y, w, h, px.

    It lies inside the frame, is `shape` times as wide as high, and at least a fifth of the frame's
    width. Where boxes are too far apart for that it is the whole frame; without boxes it is as
    large as it can be.
    """
    largest = min(width, height * shape)
    if not len(boxes_xywh):
        w, centre = largest, np.array([width / 2, height / 2])
    else:
        low = np.clip(boxes_xywh[:, :2].min(axis=0), 0, (width, height))
        high = np.clip((boxes_xywh[:, :2] + boxes_xywh[:, 2:]).max(axis=0), 0, (width, height))
        size, centre = high - low, (low + high) / 2
        w = min(max(_MARGIN * size[0], _MARGIN * size[1] * shape, width / 5), largest)
        if (size > (w, w / shape)).any():  # boxes too far apart for the shape: the whole frame
            return 0, 0, width, height
    h = w / shape
    x = np.clip(centre[0] - w / 2, 0, width - w)
    y = np.clip(centre[1] - h / 2, 0, height - h)
    return int(x), int(y), max(int(w), 1), max(int(h), 1)


def _outline(box: Boxes) -> Html:
    x, y, w, h = (float(value) for value in box.xywh)
    who = "truth" if box.place is None else f"t{box.place}"
    rects = [
        element("rect", x=x, y=y, width=w, height=h, fill="none", class_=kind,
                vector_effect="non-scaling-stroke", **style)
        for kind, style in _OUTLINES.items()
    ]  # fmt: skip
    return element("g", element("title", box.name), *rects, class_=f"box {who}")
