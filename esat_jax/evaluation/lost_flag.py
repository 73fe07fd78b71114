"""How well a low score tells that the target is lost, and from which score on.

Every frame but the first is of one kind, by where the target really is:

ABSENT   no box, or less than 1/16 of it inside the frame
PARTIAL  from 1/16 to 1/2 of it inside: counts for neither side
DRIFTED  in sight, and the tracker's box overlaps it by less than 0.1
UNCLEAR  in sight, and the overlap is from 0.1 to 0.5: counts for neither side
FOUND    in sight, and the overlap is at least 0.5

Lost in truth are the absent and the drifted ones; the flag says lost of scores under a threshold.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipeline.crop import clip_box_xywh
from esat_jax.bootstrap import bootstrap_mean
from esat_jax.evaluation.got10k import overlaps

KINDS = ABSENT, PARTIAL, DRIFTED, UNCLEAR, FOUND = (
    "absent", "partial", "drifted", "unclear", "found",
)  # fmt: skip
LOST = {"lost": (ABSENT, DRIFTED), "absent": (ABSENT,), "drifted": (DRIFTED,)}
THRESHOLDS = np.arange(1001) / 1000  # to choose from


@dataclasses.dataclass(frozen=True)
class ScoredFrames:
    """The frames of one sequence without the first: scores float64 [F], kinds str [F]."""

    scores: np.ndarray
    kinds: np.ndarray

    def count(self, kinds: Sequence[str], threshold: float = np.inf) -> int:
        """Frames of these kinds with a score under the threshold."""
        return int((np.isin(self.kinds, kinds) & (self.scores < threshold)).sum())


def frame_kinds(
    truth_xywh: np.ndarray, boxes_xywh: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The kind of each frame, str [F].

    Args: truth_xywh: float64 [F, 4], NaN = absent, may reach beyond the frame of `height` x
      `width` px; boxes_xywh: [F, 4], the tracker's. Of both, what is inside is compared.
    """
    inside, found = (clip_box_xywh(boxes, height, width) for boxes in (truth_xywh, boxes_xywh))
    areas = truth_xywh[:, 2:].prod(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        visible = np.nan_to_num(inside[:, 2:].prod(axis=1) / areas)
    overlap = np.nan_to_num(overlaps(inside, found))
    conditions = [visible < 1 / 16, visible < 1 / 2, overlap < 0.1, overlap < 0.5]
    return np.select(conditions, [ABSENT, PARTIAL, DRIFTED, UNCLEAR], FOUND)


def choose_threshold(sequences: Sequence[ScoredFrames]) -> float:
    """The threshold whose flag has the highest F1, of several the lowest.

    F1 is of "lost", over all frames together: 2 TP / (2 TP + FP + FN).
    Raises: ValueError without frames in which the target is lost, or without such where it is
      found.
    """
    frames = ScoredFrames(*(np.concatenate([getattr(s, name) for s in sequences])
                            for name in ("scores", "kinds")))  # fmt: skip
    lost, found = (
        np.sort(frames.scores[np.isin(frames.kinds, kinds)]) for kinds in (LOST["lost"], [FOUND])
    )
    if not (lost.size and found.size):
        raise ValueError(
            f"the target is lost in {lost.size} frames and found in {found.size}: a threshold "
            "between the two needs frames of both."
        )
    hits, alarms = (np.searchsorted(scores, THRESHOLDS) for scores in (lost, found))
    return float(THRESHOLDS[np.argmax(2 * hits / (hits + alarms + lost.size))])


def rates(sequences: Sequence[ScoredFrames], threshold: float) -> dict[str, dict]:
    """What the flag says at a threshold: counts, and shares with 95 % intervals over sequences.

    Returns: "lost", "absent" and "drifted", each with its number of `frames`, `precision`, the
      share of flagged ones among flagged and found (and not lost otherwise), and `recall`, of
      flagged ones among them; "found" and "unclear" with `frames` and `flagged`, a share (of
      found ones: false alarms). A share is (mean, low, high), NaN where there is nothing to count.
    """
    alarms = np.array([frames.count([FOUND], threshold) for frames in sequences])
    table: dict[str, dict] = {}
    for name, kinds in LOST.items():
        hits = np.array([frames.count(kinds, threshold) for frames in sequences])
        sizes = np.array([frames.count(kinds) for frames in sequences])
        table[name] = {
            "frames": int(sizes.sum()),
            "precision": _share(hits, hits + alarms),
            "recall": _share(hits, sizes),
        }
    for kind in (FOUND, UNCLEAR):
        flagged = np.array([frames.count([kind], threshold) for frames in sequences])
        sizes = np.array([frames.count([kind]) for frames in sequences])
        table[kind] = {"frames": int(sizes.sum()), "flagged": _share(flagged, sizes)}
    table[PARTIAL] = {"frames": sum(frames.count([PARTIAL]) for frames in sequences)}
    return table


def rates_lines(table: Mapping[str, Mapping]) -> list[str]:
    """The rates as a table for people, a line each, in percent."""
    lines = [f"{'':9} frames  {'precision':22}{'recall':22}".rstrip()]
    for name in LOST:
        row = table[name]
        shares = "".join(f"{_text(row[share]):22}" for share in ("precision", "recall"))
        lines.append(f"{name:9} {row['frames']:6}  {shares}".rstrip())
    found, unclear = table[FOUND], table[UNCLEAR]
    lines.append(f"{FOUND:9} {found['frames']:6}  false alarms {_text(found['flagged'])}")
    lines.append(
        f"not used: {unclear['frames']} unclear frames, flagged {_text(unclear['flagged'])}, and "
        f"{table[PARTIAL]['frames']} partial ones"
    )
    return lines


def _text(share: tuple[float, float, float]) -> str:
    mean, low, high = (100 * number for number in share)
    if np.isnan(mean):
        return "-"
    return f"{mean:.1f}" if np.isnan(low) else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def _share(parts: np.ndarray, wholes: np.ndarray) -> tuple[float, float, float]:
    """sum(parts) / sum(wholes) with its interval over the sequences, [S] each."""
    with np.errstate(invalid="ignore"):
        return bootstrap_mean(parts / wholes, weights=wholes)
