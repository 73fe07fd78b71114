"""Where a crop lies in its frame: the one place of cropping geometry, for training and tracking.

All boxes are float64. `_xywh` is (left, top, width, height) in frame pixels, `_cxcywh` is (centre,
width, height) in fractions of the crop's side. The arithmetic is OSTrack's, so that its weights
give its boxes, except where that reads wrong pixels: there a ValueError says what is wrong.
"""

import dataclasses
import math
from typing import Protocol

import cv2
import numpy as np

MAX_SIDE_PX = 32_767  # a crop of 4 x an 8K frame; more is a wrong box, and gigabytes of padding


class Frame(Protocol):
    """A frame of `height` x `width` px whose pixels are decoded when a crop asks for them.

    reduced: whether crops that become smaller anyway may be cut from a smaller picture of it.
    """

    height: int
    width: int
    reduced: bool

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """The frame's `[rows, columns]`, which lie inside it, as uint8 RGB; not to be written to.

        With `shrink` 2, 4 or 8, where `reduced`: enlarged to multiples of it, at that part of its
        size.
        """


@dataclasses.dataclass(frozen=True)
class CropGeometry:
    """A square of the frame, `side` px wide from (x1, y1), resized to `size` px.

    It may reach over the frame's border; what lies outside is black. `scale` is crop pixels per
    frame pixel. `center_xy` is the unrounded centre of the box that the crop was made for, which
    both box mappings refer to.
    """

    x1: int
    y1: int
    side: int
    size: int
    scale: float
    center_xy: tuple[float, float]

    @classmethod
    def from_box(cls, box_xywh: np.ndarray, factor: float, size: int) -> "CropGeometry":
        """The square around a box with `factor` times the root of its area as side.

        Args: box_xywh [4] px; factor unitless; size: side of the resized crop, px.
        Raises: ValueError for a box that is not four finite numbers with positive width and
          height, or is too large to crop.
        Source: OSTrack: the side is rounded up, the corner to the nearest integer, half to even.
        """
        x, y, w, h = check_box_xywh(box_xywh).tolist()
        side_px = math.sqrt(w * h) * factor
        if not 0 < side_px <= MAX_SIDE_PX:
            raise ValueError(
                f"a crop of {factor:g} times box {_text(box_xywh)} has a side of {side_px:.4g} px; "
                f"it must be in (0, {MAX_SIDE_PX}]: check the box and the factor."
            )
        side = math.ceil(side_px)
        x1 = round(x + 0.5 * w - 0.5 * side)
        y1 = round(y + 0.5 * h - 0.5 * side)
        return cls(x1, y1, side, size, size / side, (x + 0.5 * w, y + 0.5 * h))

    def crop_image(self, frame: np.ndarray) -> np.ndarray:
        """Cuts the square out of uint8 [height, width, 3] and resizes it -> uint8 [size, size, 3].

        Raises: ValueError if the frame has another form, or if the crop holds nothing of it.
        """
        check_frame(frame)
        rows, columns = self.inside(*frame.shape[:2])
        return self._resize(frame[rows, columns], rows, columns)

    def crop_frame(self, frame: Frame, *, mirrored: bool = False) -> np.ndarray:
        """What `crop_image` makes of the whole frame, decoding only what the crop needs.

        With `mirrored`, of the frame mirrored left to right; then the geometry refers to that.
        Where `frame.reduced`, a crop with several frame pixels a crop pixel is smoother instead,
        because it is cut from a smaller picture of the frame.
        Raises: ValueError if the crop holds nothing of the frame, or as `frame.region` does.
        """
        rows, columns = self.inside(frame.height, frame.width)
        source = slice(frame.width - columns.stop, frame.width - columns.start)
        source = source if mirrored else columns
        shrink = max(k for k in (1, 2, 4, 8) if k * self.size <= max(self.side, self.size))
        if frame.reduced and shrink > 1:
            region = frame.region(rows, source, shrink)
            return self._warp(region, rows, source, shrink, frame.width if mirrored else None)
        region = frame.region(rows, source)
        return self._resize(cv2.flip(region, 1) if mirrored else region, rows, columns)

    def padding_mask(self, height: int, width: int) -> np.ndarray:
        """Crop pixels that padding touches, in a frame of this size -> bool [size, size].

        Padding is a set of whole rows and whole columns, and bilinear resizing is separable: so is
        the mask. Raises: ValueError if the crop holds nothing of the frame.
        """
        rows, columns = self.inside(height, width)
        return np.logical_or.outer(
            self._padding_1d(_shift(rows, self.y1)), self._padding_1d(_shift(columns, self.x1))
        )

    def frame_to_crop(self, box_xywh: np.ndarray) -> np.ndarray:
        """Frame pixels [..., 4] -> `_cxcywh` fractions of the crop, as the training labels use.

        The crop's centre is pixel (size - 1) / 2, not size / 2: the network learns it that way.
        """
        box_xywh = np.asarray(box_xywh, np.float64)
        offset = _center(box_xywh) - self.center_xy
        center = (self.size - 1) / 2 + offset * self.scale
        return np.concatenate([center, box_xywh[..., 2:] * self.scale], axis=-1) / self.size

    def crop_to_frame(self, box_cxcywh: np.ndarray) -> np.ndarray:
        """`_cxcywh` fractions of the crop [..., 4] -> `_xywh` frame pixels, as OSTrack tracks.

        The crop's centre is size / 2 and stands for the unrounded `center_xy`. This is not the
        exact inverse of `frame_to_crop`: the half pixel between them is OSTrack's, and weights
        trained with it expect it.
        """
        box_px = np.asarray(box_cxcywh, np.float64) * self.size / self.scale
        center = box_px[..., :2] + (np.asarray(self.center_xy) - 0.5 * self.size / self.scale)
        sides = box_px[..., 2:]
        return np.concatenate([center - 0.5 * sides, sides], axis=-1)

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the frame that the crop shows; OSTrack never shows the last ones.

        Raises: ValueError if there are none.
        """
        rows = slice(max(self.y1, 0), min(self.y1 + self.side, height - 1))
        columns = slice(max(self.x1, 0), min(self.x1 + self.side, width - 1))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            raise ValueError(
                f"the crop of {self.side} px at ({self.x1}, {self.y1}) shows nothing of a frame of "
                f"{width} x {height} px: the box it was made for lies outside the frame, or in its "
                "last row or column of pixels, which crops leave out."
            )
        return rows, columns

    def _resize(self, region: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        if region.shape[:2] != (self.side, self.side):
            inside = _shift(rows, self.y1), _shift(columns, self.x1)
            borders = (edge for span in inside for edge in (span.start, self.side - span.stop))
            region = cv2.copyMakeBorder(region, *borders, cv2.BORDER_CONSTANT, value=0)
        return cv2.resize(region, (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def _warp(
        self, region: np.ndarray, rows: slice, columns: slice, shrink: int, mirror: int | None
    ) -> np.ndarray:
        """The crop from the frame's [rows, columns] at 1/shrink; mirror: the frame's width."""
        step = self.side / self.size  # frame pixels a crop pixel; pixel centres are at + 0.5
        x0, y0 = (float(span.start // shrink * shrink) for span in (columns, rows))
        first_x, first_y, step_x = self.x1 + step / 2, self.y1 + step / 2, step
        if mirror is not None:
            first_x, step_x = mirror - first_x, -step
        to_region = np.array([[step_x, 0, first_x - x0], [0, step, first_y - y0]]) / shrink
        to_region[:, 2] -= 0.5
        return cv2.warpAffine(
            region, to_region, (self.size, self.size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )

    def _padding_1d(self, inside: slice) -> np.ndarray:
        padding = np.ones((1, self.side))
        padding[:, inside] = 0
        return cv2.resize(padding, (self.size, 1), interpolation=cv2.INTER_LINEAR)[0] > 0


def check_frame(frame: np.ndarray) -> None:
    """Raises ValueError unless `frame` is a uint8 array [height, width, 3] with some pixels."""
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"a frame must be a numpy array, got {type(frame).__name__}.")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(
            "a frame must be uint8 RGB of shape [height, width, 3], "
            f"got {frame.dtype} of shape {list(frame.shape)}."
        )


def check_box_xywh(
    box_xywh: np.ndarray, height: int | None = None, width: int | None = None
) -> np.ndarray:
    """Returns the box as float64 [4]; with a frame size (px), it must also overlap that frame.

    Raises: ValueError naming what is wrong with it.
    """
    try:
        checked_xywh = np.asarray(box_xywh, np.float64)
    except (TypeError, ValueError):
        checked_xywh = np.empty(0)
    if checked_xywh.shape != (4,):
        raise ValueError(f"a box must be four numbers x, y, width, height in px, got {box_xywh!r}.")
    x, y, w, h = checked_xywh.tolist()
    if not all(map(math.isfinite, (x, y, w, h))) or min(w, h) <= 0:
        raise ValueError(
            "a box must have finite numbers and a positive width and height, "
            f"got {_text(checked_xywh)}."
        )
    if None not in (height, width) and not (x < width and y < height and x + w > 0 and y + h > 0):
        raise ValueError(
            f"box {_text(checked_xywh)} lies outside the frame of {width} x {height} px; "
            "boxes are x, y, width, height in px from the top left corner."
        )
    return checked_xywh


def clip_box_xywh(box_xywh: np.ndarray, height: int, width: int, margin: float = 0) -> np.ndarray:
    """Moves the sides of [..., 4] px into the frame, leaving at least `margin` px each way.

    Source: OSTrack; its tracker uses a margin of 10.
    """
    box_xywh = np.asarray(box_xywh, np.float64)
    limit = np.array([width, height])
    first = np.clip(box_xywh[..., :2], 0, limit - margin)
    last = np.clip(box_xywh[..., :2] + box_xywh[..., 2:], margin, limit)
    return np.concatenate([first, np.maximum(last - first, margin)], axis=-1)


def jitter_box_xywh(
    box_xywh: np.ndarray,
    normals: np.ndarray,
    uniforms: np.ndarray,
    *,
    center_jitter: float,
    scale_jitter: float,
) -> np.ndarray:
    """Resizes and moves a box [..., 4] px by given draws, so that the target is off the centre.

    Args:
      normals: [..., 2] standard normal draws: each side is multiplied by exp(scale_jitter * draw).
      uniforms: [..., 2] draws in [0, 1): each centre moves by at most center_jitter / 2 times the
        root of the new area.
    Returns: [..., 4] px. Source: OSTrack.
    """
    box_xywh, uniforms = np.asarray(box_xywh, np.float64), np.asarray(uniforms, np.float64)
    sides = box_xywh[..., 2:] * np.exp(scale_jitter * np.asarray(normals, np.float64))
    reach = center_jitter * np.sqrt(sides[..., :1] * sides[..., 1:])
    center = _center(box_xywh) + reach * (uniforms - 0.5)
    return np.concatenate([center - 0.5 * sides, sides], axis=-1)


def flip_box_xywh(box_xywh: np.ndarray, width: int) -> np.ndarray:
    """The box [..., 4] px after mirroring its frame left to right: pixel x becomes width - 1 - x.

    Source: OSTrack, which mirrors the corners as if they were pixels (one px off the edges).
    """
    flipped_xywh = np.array(box_xywh, np.float64)
    flipped_xywh[..., 0] = width - 1 - flipped_xywh[..., 0] - flipped_xywh[..., 2]
    return flipped_xywh


def flip_box_cxcywh(box_cxcywh: np.ndarray) -> np.ndarray:
    """The box [..., 4], fractions of a crop, after mirroring that crop left to right."""
    flipped_cxcywh = np.array(box_cxcywh, np.float64)
    flipped_cxcywh[..., 0] = 1 - flipped_cxcywh[..., 0]
    return flipped_cxcywh


def _center(box_xywh: np.ndarray) -> np.ndarray:
    return box_xywh[..., :2] + 0.5 * box_xywh[..., 2:]


def _shift(span: slice, origin: int) -> slice:
    return slice(span.start - origin, span.stop - origin)


def _text(box_xywh: np.ndarray) -> str:
    return "(" + ", ".join(f"{number:g}" for number in box_xywh) + ")"
