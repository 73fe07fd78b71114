"""One sequence in a batched tracker: its next frames, its target, and its rows so far."""

import collections
import dataclasses
import time
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from typing import Protocol

import numpy as np

from data_pipeline.crop import CropGeometry, Frame
from esat_jax.target import Target

FRAMES_AHEAD = 2  # decoded frames that wait; more would only take memory


class Frames(Protocol):
    """A sequence as `data_pipeline.sequences.Sequence`, of whose boxes only the first is read."""

    name: str
    boxes_xywh: np.ndarray

    def __len__(self) -> int:
        """Number of frames."""

    def open_frame(self, i: int) -> Frame:
        """Frame `i`, counted from 0. Raises: ValueError or OSError if it cannot be had."""


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """What came of a sequence of F frames; the first row is that of the given box.

    Attributes:
      boxes_xywh: float64 [F, 4], frame px.
      scores: float64 [F]; the first is NaN. lost: bool [F]. See `Prediction`.
      seconds: float64 [F]; of the time between two steps each frame tracked in it has an equal
        share, and the sum of a sequence is divided evenly. The sum of all is about the run's time.
      error: why it failed, None if it did not; the rows mean nothing then.
    """

    sequence: Frames
    boxes_xywh: np.ndarray
    scores: np.ndarray
    lost: np.ndarray
    seconds: np.ndarray
    error: ValueError | OSError | None


class Follower:
    """Follows the target of a sequence of F frames; `crop` and `move` take turns."""

    def __init__(self, config: Mapping, sequence: Frames, decoders: Executor) -> None:
        """Begins to decode the first frames. `config`: plain nested dict, see configs/base.py."""
        self._sequence = sequence
        self._rows = np.full((len(sequence), 6), np.nan)  # box, score, seconds
        self._rows[0, :4], self._rows[0, 5] = sequence.boxes_xywh[0], 0.0
        self._lost = np.zeros(len(sequence), bool)
        self._error: ValueError | OSError | None = None
        self._config, self._decoders = config, decoders
        self._decoding: collections.deque[Future[Frame]] = collections.deque()
        self._requested = 0
        self._last = 0  # frame that has its row
        self._target: Target | None = None
        self._geometry: CropGeometry | None = None
        self._frame_size = (0, 0)
        self._request()

    @property
    def ended(self) -> bool:
        """Whether it has failed, or every frame has its row."""
        return self._error is not None or self._last + 1 == len(self._rows)

    def crop(self, template: np.ndarray, template_box: np.ndarray, search: np.ndarray) -> bool:
        """Writes the next search crop, and the template before the first; says if it did that.

        What fails is kept as `error`. For any thread.
        Args: uint8 [s, s, 3], float32 [4] (fractions of the template crop), uint8 [S, S, 3].
        """
        begins = self._target is None
        try:
            if begins:
                self._begin(template, template_box)
            frame = self._next_frame()
            self._frame_size = frame.height, frame.width
            self._geometry = self._target.search_geometry(*self._frame_size)
            search[...] = self._geometry.crop_frame(frame)
        except (ValueError, OSError) as error:
            self._error = error
        return begins

    def move(self, box_cxcywh: np.ndarray, score: float, seconds: float) -> None:
        """Takes what was found in the last crop: [4], fractions of it; `seconds` are its share."""
        try:
            found = self._target.move(self._geometry, box_cxcywh, score, *self._frame_size)
        except ValueError as error:
            self._error = ValueError(f"frame {self._last + 1} (from 0): {error}")
            return
        self._last += 1
        self._rows[self._last] = *found.box_xywh, found.score, seconds
        self._lost[self._last] = found.lost

    def track(self) -> Track:
        """What came of the sequence, when it has `ended`."""
        rows = self._rows
        if len(rows) > 1:  # the first too: with its own tiny time it would rule a mean of 1/time
            rows[:, 5] = rows[1:, 5].sum() / len(rows)
        return Track(self._sequence, rows[:, :4], rows[:, 4], self._lost, rows[:, 5], self._error)

    def _begin(self, template: np.ndarray, template_box: np.ndarray) -> None:
        start = time.perf_counter()
        frame = self._next_frame()
        target = Target(self._config, self._rows[0, :4], frame.height, frame.width)
        template[...] = target.template_geometry.crop_frame(frame)
        template_box[...] = target.template_box_cxcywh()
        self._target = target
        self._rows[0, 5] = time.perf_counter() - start

    def _next_frame(self) -> Frame:
        frame = self._decoding.popleft().result()
        self._request()
        return frame

    def _request(self) -> None:
        while len(self._decoding) < FRAMES_AHEAD and self._requested < len(self._rows):
            future = self._decoders.submit(self._sequence.open_frame, self._requested)
            self._decoding.append(future)
            self._requested += 1
