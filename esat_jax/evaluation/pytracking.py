"""The rule of pytracking (ATOM, DiMP, ToMP, TaMOs, ...).

pytracking/analysis/extract_results.py: a box of the truth is valid if x, y, width and height are
all positive, so that a target at the left or top border is a miss, whatever the tracker says.
"""

from collections.abc import Mapping

import numpy as np

from esat_jax.evaluation import ope
from esat_jax.evaluation.scores import RuleScores, Truth


def frame_errors(
    truth: Truth, boxes_xywh: np.ndarray, tag: str = "otb", where: str = "result"
) -> ope.FrameErrors:
    """See `ope.frame_errors`."""
    return ope.frame_errors(truth, boxes_xywh, tag, _all_positive, where)


def score(
    truths: Mapping[str, Truth],
    results: Mapping[str, np.ndarray],
    tag: str = "otb",
    *,
    exclude_invalid: bool = False,
) -> RuleScores:
    """See `ope.score`: AUC, OP50, OP75, P20, NP20."""
    return ope.score(truths, results, tag, _all_positive, exclude_invalid=exclude_invalid)


def _all_positive(boxes_xywh: np.ndarray) -> np.ndarray:
    return (boxes_xywh > 0).all(axis=1)
