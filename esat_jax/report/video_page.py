"""A page on one tracked video of which no truth is known: film strip, and score over time."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from esat_jax.report.film_strips import Boxes, film_strip, telling_frames
from esat_jax.report.markup import element
from esat_jax.report.page import Section, page
from esat_jax.report.plots import Line, time_plot

_TRACKER = "tracked"


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedVideo:
    """What a tracker said about F frames, of which the first has the given box.

    Attributes:
      boxes_xywh: float64 [F, 4], frame px.
      scores: float64 [F], NaN for the given box and frames that could not be decoded.
      lost: bool [F].
    """

    name: str
    boxes_xywh: np.ndarray
    scores: np.ndarray
    lost: np.ndarray

    def shown_frames(self, count: int) -> list[int]:
        """The first frame, and of each of count - 1 equal spans the one with the lowest score."""
        return telling_frames(self.scores, count)


def video_page(video: TrackedVideo, images: Mapping[int, np.ndarray], credit: str = "") -> str:
    """The whole file.

    Args:
      images: the frames to show, uint8 RGB, by their place from 0.
      credit: whose pictures they are.
    """
    frames = sorted(images)
    boxes = [Boxes(_TRACKER, 0, video.boxes_xywh)]
    notes = {i: _note(video, i) for i in frames}
    plot = time_plot(
        [("score", [Line(_TRACKER, 0, video.scores)])],
        len(video.scores),
        absent=np.zeros(len(video.scores), bool),
        lost=[(_TRACKER, 0, video.lost)],
        shown=frames,
        label=f"score over the frames of {video.name}",
    )
    text = (
        "The first frame, and of each equal part of the others the one with the lowest score. "
        "The score is how sure the tracker is of its box: nothing here compares the box with the "
        "truth. Red marks below the score are frames in which the tracker says that it is lost."
    )
    children = [
        element("p", text, class_="note"),
        film_strip(images.__getitem__, frames, boxes, notes),
        plot,
    ]
    section = Section("video", "Film strip and score", [element("article", *children)])
    return page(video.name, _intro(video, credit), [_TRACKER], [section], truth=False)


def _intro(video: TrackedVideo, credit: str) -> str:
    known = video.scores[np.isfinite(video.scores)]
    text = f"{len(video.scores)} frames, lost in {int(video.lost.sum())}."
    if len(known):
        text += f" Score: {np.mean(known):.2f} in the mean, {np.min(known):.2f} at least."
    return f"{text} {credit}".strip()


def _note(video: TrackedVideo, i: int) -> str:
    if i == 0:
        return "the given box"
    if np.isnan(video.scores[i]):
        return "damaged"
    return f"score {video.scores[i]:.2f}{', lost' * bool(video.lost[i])}"
