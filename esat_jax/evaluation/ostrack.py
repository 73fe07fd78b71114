"""The rule of OSTrack and its family (STARK, MixFormer, AQATrack, ODTrack, ...).

lib/test/analysis/extract_results.py: a box of the truth is valid if its width and height are
positive, wherever it lies. Most published numbers of LaSOT, LaSOT_ext, TNL2K, UAV123, NfS and OTB
are this rule's.
"""

from collections.abc import Mapping

import numpy as np

from data_pipeline.annotations import has_area
from esat_jax.evaluation import ope
from esat_jax.evaluation.scores import RuleScores, Truth


def frame_errors(
    truth: Truth, boxes_xywh: np.ndarray, tag: str = "otb", where: str = "result"
) -> ope.FrameErrors:
    """See `ope.frame_errors`."""
    return ope.frame_errors(truth, boxes_xywh, tag, has_area, where)


def score(
    truths: Mapping[str, Truth],
    results: Mapping[str, np.ndarray],
    tag: str = "otb",
    *,
    exclude_invalid: bool = False,
) -> RuleScores:
    """See `ope.score`: AUC, OP50, OP75, P20, NP20."""
    return ope.score(truths, results, tag, has_area, exclude_invalid=exclude_invalid)
