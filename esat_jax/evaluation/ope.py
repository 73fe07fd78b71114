"""One-pass evaluation as pytracking wrote it in Python, and the OSTrack family after it.

pytracking/analysis/extract_results.py and lib/test/analysis/extract_results.py differ in one line:
which boxes of the truth are valid. Sums are taken in their order, because a threshold can lie on a
value: an overlap that comes out as 1 + 2e-16 is above the threshold 1.
"""

import dataclasses
from collections.abc import Callable, Mapping

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

# 0, 0.05, ..., 1 as torch.arange sums them, four at a time: two are a last bit above k * 0.05.
OVERLAPS = 0.05 * (np.arange(21) // 4 * 4) + 0.05 * (np.arange(21) % 4)
PIXELS = np.arange(51.0)
FRACTIONS = np.arange(51) / 100
_AT_50, _AT_75, _AT_20_PX, _AT_20_PERCENT = 10, 15, 20, 20  # indexes of thresholds

TAGS = (
    *("lasot", "lasot_extension_subset", "uav", "tnl2k", "otb", "nfs", "got10k", "trackingnet"),
)
FLAGGED = ("lasot", "lasot_extension_subset")  # whose flags of absence the codes' readers give

Validity = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class FrameErrors:
    """Overlap, centre distance in px and in target sizes, and whether it is a target: [F] each."""

    overlap: np.ndarray
    centre: np.ndarray
    normalised: np.ndarray
    valid: np.ndarray


def frame_errors(
    truth: Truth, boxes_xywh: np.ndarray, tag: str, has_valid_box: Validity, where: str = "result"
) -> FrameErrors:
    """Compares a result [n, 4] with the truth [F, 4], frame by frame.

    Args:
      truth: the codes know flags of absence for the tags in FLAGGED only; here they always count.
      tag: the data set's name in those codes, one of TAGS; "lasot" and "uav" have rules of their
        own.
      has_valid_box: boxes [F, 4] -> bool [F].
      where: what messages call the result.
    Raises: ValueError where the codes stop: NaN or a negative size in the result, NaN in the truth
      unless `tag` is "uav", a short result for "lasot", an empty row beyond the last frame.
    """
    if tag not in TAGS:
        raise ValueError(f"unknown tag {tag!r}; there are {TAGS}.")
    truth_xywh, size = truth.boxes_xywh, len(truth)
    boxes_xywh = _fitted(_repaired(boxes_xywh, truth_xywh, tag, where), size, tag, where)
    boxes_xywh[0] = truth_xywh[0]
    visible = np.ones(size, bool) if truth.absent is None else ~truth.absent.astype(bool)
    valid = has_valid_box(truth_xywh) & visible
    with np.errstate(all="ignore"):
        overlap = _overlap(boxes_xywh, truth_xywh)
        centres = [box[:, :2] + 0.5 * (box[:, 2:] - 1.0) for box in (boxes_xywh, truth_xywh)]
        centre = np.sqrt(((centres[0] - centres[1]) ** 2).sum(axis=1))
        scaled = [centre / truth_xywh[:, 2:] for centre in centres]
        normalised = np.sqrt(((scaled[0] - scaled[1]) ** 2).sum(axis=1))
    overlap[~valid] = -1.0
    normalised[~valid] = -1.0  # at most every threshold, hence a hit
    centre[~valid] = -1.0 if tag == "uav" else np.inf
    if tag == "lasot":
        centre[~visible] = normalised[~visible] = np.inf
    if np.isnan(overlap).any():
        raise ValueError(f"{where}: row {np.argmax(np.isnan(overlap)) + 1} is infinitely large.")
    return FrameErrors(overlap, centre, normalised, valid)


def score(
    truths: Mapping[str, Truth],
    results: Mapping[str, np.ndarray],
    tag: str,
    has_valid_box: Validity,
    *,
    exclude_invalid: bool = False,
) -> RuleScores:
    """Scores a result [n, 4] for each sequence; all measures are means over sequences.

    Args: exclude_invalid: count valid frames only, an option of the codes that is off by default.
    Raises: ValueError as `frame_errors`, and if a sequence has no result.
    """
    rows = []
    for name, truth in truths.items():
        if name not in results:
            raise ValueError(f"{name}: there is no result of this sequence.")
        errors = frame_errors(truth, results[name], tag, has_valid_box, name)
        count = int(errors.valid.sum()) if exclude_invalid else len(truth)
        if not count:
            raise ValueError(f"{name}: no frame of this sequence counts.")
        rows.append(
            (
                share_above(errors.overlap, OVERLAPS, count),
                share_within(errors.centre, PIXELS, count),
                share_within(errors.normalised, FRACTIONS, count),
                errors.overlap[errors.valid].mean() if errors.valid.any() else np.nan,
            )
        )
    success, precision, norm_precision, overlap = map(np.array, zip(*rows, strict=True))
    equal = np.ones(len(rows))
    return RuleScores(
        tuple(truths),
        {
            "AUC": Measure(success.mean(axis=1), equal),
            "OP50": Measure(success[:, _AT_50], equal),
            "OP75": Measure(success[:, _AT_75], equal),
            "P20": Measure(precision[:, _AT_20_PX], equal),
            "NP20": Measure(norm_precision[:, _AT_20_PERCENT], equal),
            "mean_overlap": Measure(overlap, (~np.isnan(overlap)).astype(float)),
        },
        {
            "success": Curve(OVERLAPS, success, equal),
            "precision": Curve(PIXELS, precision, equal),
            "norm_precision": Curve(FRACTIONS, norm_precision, equal),
        },
    )


def _repaired(boxes_xywh: np.ndarray, truth_xywh: np.ndarray, tag: str, where: str) -> np.ndarray:
    wrong = np.isnan(boxes_xywh).any(axis=1) | (boxes_xywh[:, 2:] < 0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{where}: row {row + 1} is {_row(boxes_xywh[row])}; this rule takes no result with "
            "NaN or a negative size."
        )
    unknown = np.isnan(truth_xywh).any(axis=1)
    if unknown.any() and tag != "uav":
        raise ValueError(
            f"{where}: the truth of frame {np.argmax(unknown) + 1} is NaN; this rule takes that "
            "for UAV123 only."
        )
    empty = (boxes_xywh[:, 2:] == 0).any(axis=1)
    if empty[len(truth_xywh) :].any():
        row = len(truth_xywh) + int(np.argmax(empty[len(truth_xywh) :]))
        raise ValueError(
            f"{where}: row {row + 1} has no size and is beyond the last of {len(truth_xywh)} "
            "frames, where the code of this rule stops."
        )
    boxes_xywh, empty = boxes_xywh[: len(truth_xywh)], empty[: len(truth_xywh)]
    return repeat_good_rows(boxes_xywh, empty & ~unknown[: len(boxes_xywh)])


def _fitted(boxes_xywh: np.ndarray, size: int, tag: str, where: str) -> np.ndarray:
    if len(boxes_xywh) < size and tag == "lasot":
        raise ValueError(
            f"{where}: {len(boxes_xywh)} rows for {size} frames; this rule takes no short result "
            "of LaSOT."
        )
    padding = np.zeros((size - len(boxes_xywh), 4))
    return np.concatenate([boxes_xywh, padding]).astype(np.float64)


def _overlap(a_xywh: np.ndarray, b_xywh: np.ndarray) -> np.ndarray:
    low = np.maximum(a_xywh[:, :2], b_xywh[:, :2])
    a_high, b_high = (box[:, :2] + box[:, 2:] - 1.0 for box in (a_xywh, b_xywh))
    sides = np.maximum(np.minimum(a_high, b_high) - low + 1.0, 0.0)
    common = sides.prod(axis=1)
    return common / (a_xywh[:, 2:].prod(axis=1) + b_xywh[:, 2:].prod(axis=1) - common)


def _row(box_xywh: np.ndarray) -> str:
    return ",".join(f"{number:g}" for number in box_xywh)
