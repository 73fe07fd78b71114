"""The rule of the GOT-10k toolkit (and server): got10k/experiments/got10k.py.

Frame 1 does not count, nor do frames with cover 0. Boxes are moved into the frame before they are
compared. The frames of all sequences are pooled.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipeline.annotations import has_area
from esat_jax.evaluation.scores import Curve, Measure, RuleScores, Truth, share_above

OVERLAPS = np.linspace(0, 1, 101)
_AT_50, _AT_75 = 50, 75  # indexes of thresholds


def overlaps(
    a_xywh: np.ndarray, b_xywh: np.ndarray, frame_size: tuple[float, float] | None = None
) -> np.ndarray:
    """Intersection over union of boxes [F, 4] -> [F]; NaN where a number is NaN.

    Args: frame_size: (width, height) px. A box beyond the left or top border is moved to it with
      its size kept; what is beyond the right or bottom border is cut off. None leaves boxes alone.
    """
    if frame_size is not None:
        a_xywh, b_xywh = (_moved_inside(boxes, frame_size) for boxes in (a_xywh, b_xywh))
    low = np.maximum(a_xywh[:, :2], b_xywh[:, :2])
    high = np.minimum(*(boxes[:, :2] + boxes[:, 2:] for boxes in (a_xywh, b_xywh)))
    common = np.maximum(high - low, 0).prod(axis=1)
    areas = [boxes[:, 2:].prod(axis=1) for boxes in (a_xywh, b_xywh)]
    union = areas[0] + areas[1] - common
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(common / (union + np.finfo(float).eps), 0.0, 1.0)


def counted_frames(truth: Truth) -> np.ndarray:
    """Which frames count, bool [F]: not the first, and those in which the target is seen.

    By cover, or, where the benchmark has none, by flags and boxes with an area.
    """
    if truth.cover is not None:
        seen = np.asarray(truth.cover) > 0
    else:
        seen = has_area(truth.boxes_xywh)
        if truth.absent is not None:
            seen &= ~truth.absent.astype(bool)
    return seen & (np.arange(len(truth)) > 0)


def score(
    truths: Mapping[str, Truth], results: Mapping[str, np.ndarray | Sequence[np.ndarray]]
) -> RuleScores:
    """Scores a result [F, 4], or several of as many runs, for each sequence: AO, SR50, SR75.

    Raises: ValueError for a missing result or one with a wrong number of rows.
    """
    values, curves, counts = [], [], []
    for name, truth in truths.items():
        if name not in results:
            raise ValueError(f"{name}: there is no result of this sequence.")
        result = results[name]
        counted = counted_frames(truth)
        runs = [result] if isinstance(result, np.ndarray) else result
        for run in runs:
            if len(run) != len(truth):
                raise ValueError(
                    f"{name}: {len(run)} rows for {len(truth)} frames; this rule takes a row for "
                    "every frame."
                )
        found = np.concatenate(
            [overlaps(run, truth.boxes_xywh, truth.frame_size)[counted] for run in runs]
        )
        counts.append(len(found))
        values.append(found.mean() if len(found) else np.nan)
        curves.append(share_above(found, OVERLAPS, max(len(found), 1)))
    values, curves, weights = np.array(values), np.array(curves), np.array(counts, float)
    return RuleScores(
        tuple(truths),
        {
            "AO": Measure(values, weights),
            "SR50": Measure(curves[:, _AT_50], weights),
            "SR75": Measure(curves[:, _AT_75], weights),
        },
        {"success": Curve(OVERLAPS, curves, weights)},
    )


def speed(seconds: Sequence[np.ndarray]) -> float:
    """The toolkit's frames/s: the mean of 1 / t over all times of all sequences that are positive.

    -1 if there are none.
    """
    times = np.concatenate([np.zeros(0), *(np.ravel(times) for times in seconds)])
    times = times[times > 0]
    return float(np.mean(1 / times)) if len(times) else -1.0


def _moved_inside(boxes_xywh: np.ndarray, frame_size: tuple[float, float]) -> np.ndarray:
    limit = np.asarray(frame_size, np.float64)
    corner = np.clip(boxes_xywh[:, :2], 0, limit)
    return np.concatenate([corner, np.clip(boxes_xywh[:, 2:], 0, limit - corner)], axis=1)
