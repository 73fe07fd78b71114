"""Targets that leave the frame and come back, made of real pixels: a window pans over a video.

A virtual camera sees a part of every frame. It follows the target, pans away until the target is
completely outside, stays there, and comes back, as often as there is room and time for it.
"""

import dataclasses

import numpy as np

from data_pipeline.sequences import Sequence

LEAD = 8  # frames before the first exit, and after each return
AWAY = 12  # frames without the target
RAMP = 4  # least frames of a pan, there or back
PAN_STEP = 0.4  # largest way of the window in a frame, over the square root of the target's area
GAP = 0.25  # distance of the window from the target it left, in sides of the target, given room
ROOM = 1.2  # least sides of the window, in the target's first ones; and 1 in its median ones
_SHARES = (0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4)  # of the frame's sides
_SIDES = ((0, -1), (0, 1), (1, -1), (1, 1))  # where the window goes: axis, direction


@dataclasses.dataclass(frozen=True)
class WindowPath:
    """Where the camera's window is: corners int64 [F, 2] (x, y) of a window of `size` (w, h) px.

    `exits` are ranges of frames, in which the target is completely outside.
    """

    corners: np.ndarray
    size: tuple[int, int]
    exits: tuple[range, ...]


@dataclasses.dataclass(frozen=True)
class WindowedSequence:
    """What the camera sees of a sequence: its frames and boxes, in pixels of the window."""

    sequence: Sequence
    path: WindowPath

    def __len__(self) -> int:
        return len(self.path.corners)

    @property
    def name(self) -> str:
        """The sequence's own name."""
        return self.sequence.name

    @property
    def boxes_xywh(self) -> np.ndarray:
        """Float64 [F, 4], window px, not cut at its borders; NaN = absent."""
        boxes_xywh = self.sequence.boxes_xywh[: len(self)].copy()
        boxes_xywh[:, :2] -= self.path.corners
        return boxes_xywh

    def read_frame(self, i: int) -> np.ndarray:
        """Uint8 RGB [h, w, 3] of the window in frame `i`. Raises: FrameError."""
        (x, y), (width, height) = self.path.corners[i], self.path.size
        return np.ascontiguousarray(self.sequence.read_frame(i)[y : y + height, x : x + width])


def plan_exits(boxes_xywh: np.ndarray, height: int, width: int) -> WindowPath | None:
    """The window with the most exits, of those the largest; None if none of them has room.

    Args: boxes_xywh: float64 [F, 4], px of frames of `height` x `width`; NaN = absent.
    """
    best = None
    shapes = {(x, y) for s in _SHARES for x, y in ((s, s), (s, 1.0), (1.0, s))}
    for share_x, share_y in sorted(shapes, key=lambda shape: (-shape[0] * shape[1], shape)):
        path = _plan(boxes_xywh, (width, height), (round(share_x * width), round(share_y * height)))
        if path and (best is None or len(path.exits) > len(best.exits)):
            best = path
    return best


def _plan(
    boxes_xywh: np.ndarray, frame_size: tuple[int, int], size: tuple[int, int]
) -> WindowPath | None:
    """`plan_exits` for a window of one size (w, h)."""
    sides = np.nanmedian(boxes_xywh[:, 2:], axis=0)
    if (sides > size).any() or (ROOM * boxes_xywh[0, 2:] > size).any():
        return None
    home = _following(boxes_xywh, frame_size, size)
    away, has_room = _beside(boxes_xywh, home, frame_size, size)
    steps = PAN_STEP * np.sqrt(sides.prod())
    share = np.zeros(len(home))  # of the way from home to away
    target = home.astype(np.float64)
    exits, used = [], [0] * len(_SIDES)
    start = LEAD
    while start < len(home):
        choices = []
        for side in range(len(_SIDES)):
            way = np.abs(away[side, start] - home[start]).max()
            ramp = max(RAMP, int(np.ceil(way / steps)))
            stay = range(start + ramp, start + ramp + AWAY)
            end = stay.stop + ramp + LEAD
            if end <= len(home) and has_room[side, stay].all():
                choices.append((used[side], ramp, side, stay, end))
        if not choices:
            start += 1
            continue
        _, ramp, side, stay, end = min(choices, key=lambda choice: choice[:3])
        rise = np.arange(1, ramp + 1) / (ramp + 1)
        share[start : stay.start], share[stay.start : stay.stop] = rise, 1.0
        share[stay.stop : stay.stop + ramp] = rise[::-1]
        target[start:end] = away[side, start:end]
        exits.append(stay)
        used[side] += 1
        start = end
    if not exits:
        return None
    corners = np.rint(home + share[:, None] * (target - home)).astype(np.int64)
    return WindowPath(corners, size, tuple(exits))


def _following(
    boxes_xywh: np.ndarray, frame_size: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Corners int64 [F, 2] of windows with the target in the middle, as far as the frame reaches.

    While the target is absent the window stays where it was.
    """
    centers = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    known = np.isfinite(centers).all(axis=1)
    latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    corners = np.rint(centers[latest] - np.array(size) / 2)
    return np.clip(corners, 0, np.array(frame_size) - size).astype(np.int64)


def _beside(
    boxes_xywh: np.ndarray, home: np.ndarray, frame_size: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Windows without the target: corners int64 [4, F, 2], and whether they are, bool [4, F].

    The four are beyond each side of the target, or as far there as the frame reaches. NaN boxes
    have no room on any.
    """
    corners = np.stack([home] * len(_SIDES))
    has_room = np.zeros((len(_SIDES), len(home)), bool)
    known = np.isfinite(boxes_xywh).all(axis=1)
    for row, (axis, direction) in enumerate(_SIDES):
        low, side = boxes_xywh[known, axis], boxes_xywh[known, 2 + axis]
        last = frame_size[axis] - size[axis]
        if direction > 0:
            has_room[row, known] = np.ceil(low + side) <= last
            wanted = np.ceil(low + side + GAP * side)
        else:
            has_room[row, known] = np.floor(low) >= size[axis]
            wanted = np.floor(low - GAP * side) - size[axis]
        corners[row, known, axis] = np.clip(wanted, 0, last).astype(np.int64)
    return corners, has_room
