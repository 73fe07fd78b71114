"""What every scoring rule takes, `Truth`, and gives, `RuleScores`."""

import dataclasses
from collections.abc import Collection

import numpy as np

from esat_jax.bootstrap import weighted_mean


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """What a benchmark says about a sequence of F frames; None where it says nothing.

    Attributes:
      boxes_xywh: float64 [F, 4] frame pixels as the annotation file has them; NaN or a box without
        area where there is none.
      absent: bool [F], the benchmark's own flags of frames without the target (LaSOT: fully
        occluded or out of view), whether they have a box or not.
      cover: int [F], eighths of the target that are seen (GOT-10k).
      frame_size: (width, height) px.
      attributes: short names, such as "FOC", of what makes the sequence hard.
    """

    boxes_xywh: np.ndarray
    absent: np.ndarray | None = None
    cover: np.ndarray | None = None
    frame_size: tuple[float, float] | None = None
    attributes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("absent", "cover"):
            flags = getattr(self, name)
            if flags is not None and len(flags) != len(self.boxes_xywh):
                raise ValueError(
                    f"expected a number in `{name}` for each of the {len(self.boxes_xywh)} boxes, "
                    f"got {len(flags)}."
                )

    def __len__(self) -> int:
        return len(self.boxes_xywh)


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
    """One score of S sequences: sum(weights * values) / sum(weights), as a fraction.

    With equal weights it is a mean over sequences, with numbers of frames one over frames; a rule
    that leaves a sequence out gives it weight 0. Attributes: values, weights: float64 [S].
    """

    values: np.ndarray
    weights: np.ndarray

    @property
    def score(self) -> float:
        """The score of all S sequences; NaN if none of them counts."""
        return float(weighted_mean(self.values, self.weights))


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """A score over T thresholds. Attributes: thresholds [T], values [S, T], weights [S]."""

    thresholds: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The curve of all S sequences, [T]."""
        return weighted_mean(self.values, np.broadcast_to(self.weights[:, None], self.values.shape))


@dataclasses.dataclass(frozen=True, eq=False)
class RuleScores:
    """What one rule says about one tracker. Attributes: sequences: their S names, in order."""

    sequences: tuple[str, ...]
    measures: dict[str, Measure]
    curves: dict[str, Curve]

    def __getitem__(self, measure: str) -> float:
        return self.measures[measure].score

    def of(self, sequences: Collection[str]) -> "RuleScores":
        """The scores of some of the sequences, such as those with an attribute."""
        wanted = set(sequences)
        kept = [i for i, name in enumerate(self.sequences) if name in wanted]
        return RuleScores(
            tuple(self.sequences[i] for i in kept),
            {k: Measure(m.values[kept], m.weights[kept]) for k, m in self.measures.items()},
            {
                k: Curve(c.thresholds, c.values[kept], c.weights[kept])
                for k, c in self.curves.items()
            },
        )


def share_above(values: np.ndarray, thresholds: np.ndarray, count: int) -> np.ndarray:
    """How many of `values` [n] are above each threshold, divided by `count` -> [T]; NaN is not."""
    return (values[:, None] > thresholds).sum(axis=0) / count


def share_within(values: np.ndarray, thresholds: np.ndarray, count: int) -> np.ndarray:
    """How many of `values` [n] are at most each threshold, by `count` -> [T]; NaN is not."""
    return (values[:, None] <= thresholds).sum(axis=0) / count


def repeat_good_rows(boxes_xywh: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Every bad row, from the second on, becomes what the row before it is or has become.

    Args: boxes_xywh [F, 4]; bad: bool [F].
    """
    rows = np.arange(len(boxes_xywh))
    source = np.maximum.accumulate(np.where(bad, 0, rows))
    return boxes_xywh[source]
