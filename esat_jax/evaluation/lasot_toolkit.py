"""The rule of the official MATLAB toolkits of LaSOT and TNL2K, whose arithmetic is the same.

calc_seq_err_robust.m, eval_tracker.m, plot_draw_save.m. Frames that are flagged absent are taken
away, yet counts are divided by the number of all frames. A frame whose box is not positive in x, y,
width and height gets the overlap -1 and the distance -1: a miss for success, a hit for precision.
MATLAB's max and min pass over NaN.
"""

from collections.abc import Mapping

import numpy as np

from esat_jax.evaluation.scores import (
    Curve,
    Measure,
    RuleScores,
    Truth,
    repeat_good_rows,
    share_above,
    share_within,
)

OVERLAPS = 0.05 * np.arange(21)
PIXELS = np.arange(51.0)
FRACTIONS = np.arange(51) / 100
_RANK = 20  # the threshold of the printed precisions: 20 px and 0.20


def frame_errors(
    truth: Truth, boxes_xywh: np.ndarray, where: str = "result"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compares a result [n, 4] with the truth [F, 4] where it is not absent.

    Returns: overlap, centre distance in px, and in target sizes, each [frames that are not absent].
    Raises: ValueError if the result has fewer rows than the truth.
    """
    truth_xywh = truth.boxes_xywh
    if len(boxes_xywh) < len(truth):
        raise ValueError(
            f"{where}: {len(boxes_xywh)} rows for {len(truth)} frames; this rule takes no short "
            "result."
        )
    boxes_xywh = boxes_xywh[: len(truth)]
    bad = np.isnan(boxes_xywh).any(axis=1) | (boxes_xywh[:, 2:] <= 0).any(axis=1)
    boxes_xywh = repeat_good_rows(boxes_xywh, bad & ~np.isnan(truth_xywh).any(axis=1))
    boxes_xywh[0] = truth_xywh[0]  # after the repair: a bad second row has copied the old first
    if truth.absent is not None:
        present = ~truth.absent.astype(bool)
        boxes_xywh, truth_xywh = boxes_xywh[present], truth_xywh[present]
    counted = (truth_xywh > 0).all(axis=1)
    with np.errstate(all="ignore"):
        overlap = np.where(counted, _overlap(boxes_xywh, truth_xywh), -1.0)
        centres = [box[:, :2] + (box[:, 2:] - 1) / 2 for box in (boxes_xywh, truth_xywh)]
        scaled = [centre / truth_xywh[:, 2:] for centre in centres]
        distance, normalised = (
            np.where(counted, np.sqrt(((a - b) ** 2).sum(axis=1)), -1.0)
            for a, b in (centres, scaled)
        )
    return overlap, distance, normalised


def score(truths: Mapping[str, Truth], results: Mapping[str, np.ndarray]) -> RuleScores:
    """Scores a result [n, 4] for each sequence.

    AUC, P20 and NP20 are what papers quote; P_mean and NP_mean, the means of the two other curves,
    are what the scripts print with ranking_type 'AUC', TNL2K's by default. Means are over the
    sequences whose curve is not zero everywhere, as in the toolkits.
    Raises: ValueError for a missing or a short result.
    """
    rows = []
    for name, truth in truths.items():
        if name not in results:
            raise ValueError(f"{name}: there is no result of this sequence.")
        overlap, distance, normalised = frame_errors(truth, results[name], name)
        rows.append(
            (
                share_above(overlap, OVERLAPS, len(truth)),
                share_within(distance, PIXELS, len(truth)),
                share_within(normalised, FRACTIONS, len(truth)),
            )
        )
    curves = {
        name: Curve(thresholds, values, (values.sum(axis=1) > 0).astype(float))
        for name, thresholds, values in zip(
            ("success", "precision", "norm_precision"),
            (OVERLAPS, PIXELS, FRACTIONS),
            map(np.array, zip(*rows, strict=True)),
            strict=True,
        )
    }
    success, precision, norm_precision = curves.values()
    return RuleScores(
        tuple(truths),
        {
            "AUC": Measure(success.values.mean(axis=1), success.weights),
            "P20": Measure(precision.values[:, _RANK], precision.weights),
            "NP20": Measure(norm_precision.values[:, _RANK], norm_precision.weights),
            "P_mean": Measure(precision.values.mean(axis=1), precision.weights),
            "NP_mean": Measure(norm_precision.values.mean(axis=1), norm_precision.weights),
        },
        curves,
    )


def _overlap(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    a_high, b_high = (box[:, :2] + box[:, 2:] - 1 for box in (a_xywh, b_xywh))
    low = np.fmax(a_xywh[:, :2], b_xywh[:, :2])
    sides = np.fmax(np.fmin(a_high, b_high) - low + 1, 0)
    common = sides.prod(axis=1)
    return common / (a_xywh[:, 2:].prod(axis=1) + b_xywh[:, 2:].prod(axis=1) - common)
