"""Which frames without a target count as hits: by benchmark, as its codes have it."""

import numpy as np
import pytest

from esat_jax.evaluation.benchmarks import BENCHMARKS
from esat_jax.evaluation.scoreboard import score_tracker
from esat_jax.evaluation.scores import Truth

BOX = [10.0, 10, 20, 20]
NAN = [np.nan] * 4
# Hits of success, precision and normalised precision in frames: the given box; a box that is
# flagged absent; no box, not flagged; a box at the left border.
OSTRACK = {
    "lasot": ((1, 0, 0, 1), (1, 0, 0, 1), (1, 0, 1, 1)),
    "lasot_ext": ((1, 0, 0, 1), (1, 0, 0, 1), (1, 1, 1, 1)),
    "uav": ((1, 1, 0, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
    "others": ((1, 1, 0, 1), (1, 1, 0, 1), (1, 1, 1, 1)),
}
KINDS = {
    **{"lasot_train": "lasot", "lasot_test": "lasot", "lasot_ext": "lasot_ext"},
    **{"uav123": "uav", "folders": "uav"},
}


def scores(name, rule):
    truth_xywh = np.array([BOX, BOX, NAN if KINDS.get(name) == "uav" else [0] * 4, [0, 10, 20, 20]])
    truth = Truth(truth_xywh, absent=np.array([0, 1, 0, 0], bool), frame_size=(100, 100))
    results = {"x": [np.array([BOX, BOX, BOX, [0, 10, 20, 20]])]}
    board = score_tracker({"x": truth}, results, BENCHMARKS[name].tag, (rule,), 100)
    return [board.scores[rule][measure] for measure in ("AUC", "P20", "NP20")]


def shares(hits):
    """The scores of perfect boxes: a frame that is hit is above all thresholds but 1."""
    success, precision, norm_precision = (sum(frames) / 4 for frames in hits)
    return pytest.approx([success * 20 / 21, precision, norm_precision], abs=1e-9)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_rules_of_ostrack_and_pytracking(name):
    hits = OSTRACK[KINDS.get(name, "others")]
    assert scores(name, "ostrack") == shares(hits)
    # What pytracking calls invalid at the border, it treats as a frame without a box.
    no_box = [frames[2] for frames in hits]
    hits = [(*frames[:3], last) for frames, last in zip(hits, no_box, strict=True)]
    assert scores(name, "pytracking") == shares(hits)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_rule_of_the_matlab_toolkits_is_one_for_all(name):
    hits = (1, 0, 0, 0), (1, 0, 1, 1), (1, 0, 1, 1)
    assert scores(name, "lasot_toolkit") == shares(hits)


def test_own_rules():
    own = {name: benchmark.rule for name, benchmark in BENCHMARKS.items() if benchmark.rule}
    for start, rule in (
        *(("lasot", "lasot_toolkit"), ("tnl2k", "lasot_toolkit")),
        *(("got10k", "got10k"), ("trackingnet", "trackingnet")),
    ):
        assert {own.pop(name) for name in BENCHMARKS if name.startswith(start)} == {rule}
    assert not own
