"""One sequence in pictures: its film strip, and what happened over time."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from esat_jax.evaluation import got10k
from esat_jax.evaluation.score_tables import percent_text
from esat_jax.evaluation.scores import Truth
from esat_jax.report.film_strips import Boxes, ReadFrame, film_strip, telling_frames
from esat_jax.report.markup import Html, element
from esat_jax.report.plots import MAX_POINTS, Line, time_plot


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceResults:
    """What there is of a sequence of F frames.

    Attributes:
      name: the sequence's; truth: see there.
      boxes_xywh: tracker -> [rows, 4], in the order of the report.
      frame_scores: tracker -> scores [F] and lost flags [F], of those that wrote them.
      values: tracker -> its score of this sequence, a fraction.
    """

    name: str
    truth: Truth
    boxes_xywh: Mapping[str, np.ndarray]
    frame_scores: Mapping[str, tuple[np.ndarray, np.ndarray]]
    values: Mapping[str, float]

    @property
    def absent(self) -> np.ndarray:
        """Frames without a box that counts, bool [F]; the first one has the given box."""
        return ~np.concatenate([[True], got10k.counted_frames(self.truth)[1:]])

    def boxes(self, tracker: str) -> np.ndarray:
        """A tracker's boxes [F, 4]; missing rows are NaN, further ones are left out."""
        rows = np.full((len(self.truth), 4), np.nan)
        found = self.boxes_xywh[tracker][: len(rows)]
        rows[: len(found)] = found
        return rows

    def overlap(self, tracker: str) -> np.ndarray:
        """Intersection over union with the truth, [F]; NaN where the target is absent."""
        found = got10k.overlaps(self.boxes(tracker), self.truth.boxes_xywh)
        return np.where(self.absent, np.nan, np.nan_to_num(found))

    def mean_overlap(self, tracker: str) -> float:
        """Over the frames that show the target; the first one counts."""
        return float(np.nanmean(self.overlap(tracker)))


def sequence_view(
    results: SequenceResults, subject: str, read_frame: ReadFrame, num_frames: int, key: str
) -> Html:
    """A heading, the film strip of the moments that went worst for `subject`, and the plot.

    Frames that cannot be read are a sentence instead of the strip.
    """
    frames = telling_frames(results.overlap(subject), num_frames)
    truth_xywh = np.where(results.absent[:, None], np.nan, results.truth.boxes_xywh)
    boxes = [Boxes("truth", None, truth_xywh)]
    boxes += [
        Boxes(tracker, place, results.boxes(tracker))
        for place, tracker in enumerate(results.boxes_xywh)
    ]
    overlaps = {tracker: results.overlap(tracker) for tracker in results.boxes_xywh}
    notes = {
        i: ", ".join(f"{name}\N{NO-BREAK SPACE}{_share(ys[i])}" for name, ys in overlaps.items())
        for i in frames[1:]
    }
    notes = {0: "the given box"} | notes
    try:
        strip = film_strip(read_frame, frames, boxes, notes)
    except (ValueError, OSError) as error:
        strip = element("p", f"No pictures: {error}", class_="missing")
    said = ", ".join(f"{name} {percent_text(v, 1)}" for name, v in results.values.items())
    heading = element("h3", f"{results.name} ", element("span", said, class_="note"))
    return element("article", heading, strip, _over_time(results, overlaps, frames), id=key)


def over_time_note(lengths: list[int]) -> str:
    """What the plots show, and what the lengths of their sequences make of it."""
    text = (
        "Overlap is intersection over union with the truth; frames without the target are shaded. "
        "Below a score, red marks are the moments in which a tracker says that it is lost."
    )
    if any(length > MAX_POINTS for length in lengths):
        text += f" Sequences of more than {MAX_POINTS} frames are drawn as means of a few frames."
    return text


def _over_time(
    results: SequenceResults, overlaps: Mapping[str, np.ndarray], frames: list[int]
) -> Html:
    places = {tracker: place for place, tracker in enumerate(results.boxes_xywh)}
    panels = [("overlap", [Line(name, places[name], ys) for name, ys in overlaps.items()])]
    scored = results.frame_scores
    if scored:
        lines = [Line(name, places[name], scores) for name, (scores, _) in scored.items()]
        panels.append(("score", lines))
    return time_plot(
        panels,
        len(results.truth),
        absent=results.absent,
        lost=[(name, places[name], flags) for name, (_, flags) in scored.items()],
        shown=frames,
        label=f"overlap and score over the frames of {results.name}",
    )


def _share(value: float) -> str:
    return "absent" if np.isnan(value) else f"{value:.2f}"
