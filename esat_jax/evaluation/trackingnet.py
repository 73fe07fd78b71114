"""The rule of the TrackingNet development kit, which its server runs: metrics.py.

All numbers are rounded, half to even. Each score is the area below a mean curve of 21 thresholds:
"Precision" is no value at 20 px. A missing sequence counts as boxes of zeros; missing rows are
misses. pandas' max and min pass over NaN.
"""

from collections.abc import Mapping

import numpy as np

from esat_jax.evaluation.scores import Curve, Measure, RuleScores, Truth, share_within

OVERLAPS = np.linspace(0, 1, 21)
PIXELS = np.linspace(0, 50, 21)
FRACTIONS = np.linspace(0, 0.5, 21)


def frame_errors(truth: Truth, boxes_xywh: np.ndarray) -> tuple[np.ndarray, ...]:
    """Compares a result [n, 4] with the truth [F, 4].

    Returns: overlap, centre distance in px, and in target sizes, float64 [F]; covered, bool [F].
    """
    truth_xywh = np.round(truth.boxes_xywh)
    rounded_xywh = np.full(truth_xywh.shape, np.nan)
    rows = min(len(boxes_xywh), len(truth))
    rounded_xywh[:rows] = np.round(boxes_xywh[:rows])
    rounded_xywh[0] = truth_xywh[0]
    with np.errstate(all="ignore"):
        highs = [boxes[:, :2] + boxes[:, 2:] - 1.0 for boxes in (truth_xywh, rounded_xywh)]
        low = np.fmax(truth_xywh[:, :2], rounded_xywh[:, :2])
        sides = np.maximum(np.round(np.fmin(*highs) - low + 1), 0)
        common = sides[:, 0] * sides[:, 1]
        areas = [boxes[:, 3] * boxes[:, 2] for boxes in (truth_xywh, rounded_xywh)]
        overlap = common / (areas[0] + areas[1] - common)
        centres = [box[:, :2] + (box[:, 2:] + 1.0) / 2.0 for box in (truth_xywh, rounded_xywh)]
        away = centres[0] - centres[1]
        distance = np.sqrt((away * away).sum(axis=1))
        sizes = truth_xywh[:, 2:]
        normalised = np.sqrt((away / sizes * away / sizes).sum(axis=1))
    return overlap, distance, normalised, rounded_xywh.sum(axis=1) > 0


def score(truths: Mapping[str, Truth], results: Mapping[str, np.ndarray]) -> RuleScores:
    """Scores a result [n, 4] for each sequence: Success, Precision, NormPrecision, Coverage.

    Coverage is the share of all frames whose four rounded numbers have a positive sum.
    """
    rows, covered, counts = [], [], []
    for name, truth in truths.items():
        result = results.get(name)
        result = np.zeros((len(truth), 4)) if result is None else result
        overlap, distance, normalised, present = frame_errors(truth, result)
        rows.append(
            (
                (overlap[:, None] >= OVERLAPS).sum(axis=0) / len(truth),
                share_within(distance, PIXELS, len(truth)),
                share_within(normalised, FRACTIONS, len(truth)),
            )
        )
        covered.append(present.mean())
        counts.append(len(truth))
    success, precision, norm_precision = map(np.array, zip(*rows, strict=True))
    equal = np.ones(len(rows))
    return RuleScores(
        tuple(truths),
        {
            "Success": Measure(_area(success), equal),
            "Precision": Measure(_area(precision), equal),
            "NormPrecision": Measure(_area(norm_precision), equal),
            "Coverage": Measure(np.array(covered), np.array(counts, float)),
        },
        {
            "success": Curve(OVERLAPS, success, equal),
            "precision": Curve(PIXELS, precision, equal),
            "norm_precision": Curve(FRACTIONS, norm_precision, equal),
        },
    )


def _area(curves: np.ndarray) -> np.ndarray:
    """Below curves [S, 21] of evenly spaced thresholds, the whole range counting as 1."""
    return np.trapezoid(curves, OVERLAPS, axis=1)
