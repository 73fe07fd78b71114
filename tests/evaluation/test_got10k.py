"""The rule of the GOT-10k toolkit against what it gave, and against the toolkit itself."""

import numpy as np
import pytest

import score_fixtures as given
from esat_jax.evaluation import got10k
from esat_jax.evaluation.scores import Truth

PARITY = dict(np.load(given.FIXTURES / "metrics_got10k.npz"))


@pytest.mark.parametrize("tracker", ["perfect", "good", "bad", "bad_zeroed"])
def test_frames_curves_and_scores_are_those_of_the_toolkit(tracker):
    truths, results = given.truths("B"), given.results("B", tracker)
    scores, numbers = got10k.score(truths, results), given.NUMBERS["got10k"][tracker]
    for name, truth in truths.items():
        found = got10k.overlaps(results[name], truth.boxes_xywh, truth.frame_size)[1:]
        expected = given.OUTPUTS[f"got10k/{tracker}/iou/{name}"]
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=name)
        alone, expected = scores.of([name]), numbers["per_sequence"][name]
        assert alone["AO"] == pytest.approx(given.number(expected["ao"]), abs=1e-12, nan_ok=True)
        assert alone["SR50"] == pytest.approx(expected["sr"], abs=1e-12)
    expected = given.OUTPUTS[f"got10k/{tracker}/succ_curve"]
    np.testing.assert_allclose(scores.curves["success"].mean, expected, atol=1e-12)
    assert scores["AO"] == pytest.approx(given.number(numbers["AO"]), abs=1e-12, nan_ok=True)
    assert scores["SR50"] == pytest.approx(numbers["SR50"], abs=1e-12)
    assert scores["SR75"] == pytest.approx(numbers["SR75_from_curve"], abs=1e-12)
    times = [
        given.OUTPUTS[f"got10k/{tracker}/times/{name}"]
        for name in given.SEQUENCES
        if (tracker, name) != ("good", "occl-1")  # it has no file of times
    ]
    assert got10k.speed(times) == pytest.approx(numbers["speed_fps"], rel=1e-12)


def test_runs_are_pooled():
    runs = {name: [rows] for name, rows in given.results("B", "good").items()}
    runs["plain-1"].append(given.result("B", "mediocre", "plain-1"))
    scores = got10k.score(given.truths("B"), runs)
    numbers = given.NUMBERS["got10k"]["edge"]["good_plus_mediocre_as_second_run_of_plain-1"]
    assert scores["AO"] == pytest.approx(numbers["AO"], abs=1e-12)
    assert scores["SR50"] == pytest.approx(numbers["SR50"], abs=1e-12)
    assert scores["SR75"] == pytest.approx(numbers["SR75_from_curve"], abs=1e-12)


def test_the_parity_file():
    truths = {
        str(name): Truth(
            PARITY[f"{name}/gt"],
            cover=PARITY[f"{name}/cover"],
            frame_size=tuple(PARITY["resolution"]),
        )
        for name in PARITY["sequences"]
    }
    for tracker in map(str, PARITY["trackers"]):
        results = {name: PARITY[f"{name}/pred_{tracker}"] for name in truths}
        scores = got10k.score(truths, results)
        assert scores["AO"] == pytest.approx(PARITY[f"{tracker}/ao"], abs=1e-12)
        assert scores["SR50"] == pytest.approx(PARITY[f"{tracker}/sr50"], abs=1e-12)
        assert scores["SR75"] == pytest.approx(PARITY[f"{tracker}/sr75_from_curve"], abs=1e-12)
        np.testing.assert_allclose(scores.measures["AO"].values, PARITY[f"{tracker}/seq_ao"])
        np.testing.assert_allclose(scores.measures["SR50"].values, PARITY[f"{tracker}/seq_sr50"])
        curve = scores.curves["success"].mean
        np.testing.assert_allclose(curve, PARITY[f"{tracker}/succ_curve"], atol=1e-12)


def test_overlaps_of_the_parity_file():
    a, b = PARITY["iou_a"], PARITY["iou_b"]
    np.testing.assert_allclose(got10k.overlaps(a, b), PARITY["iou"], atol=1e-12)
    size = tuple(PARITY["resolution"])
    np.testing.assert_allclose(got10k.overlaps(a, b, size), PARITY["iou_bound"], atol=1e-12)


def test_without_cover_frames_count_whose_target_is_there():
    boxes = np.tile([10.0, 10, 20, 20], (6, 1))
    boxes[2] = np.nan
    boxes[3] = 0
    truth = Truth(boxes, absent=np.array([0, 0, 0, 0, 1, 0], bool))
    assert got10k.counted_frames(truth).tolist() == [False, True, False, False, False, True]
    assert got10k.score({"x": truth}, {"x": np.tile([10.0, 10, 20, 20], (6, 1))})["AO"] == 1


def test_wrong_lengths_and_missing_results_are_refused():
    truths = given.truths("B", names=["plain-1"])
    for case in ("longer_by_5", "shorter_by_5"):
        with pytest.raises(ValueError, match=r"plain-1: 1[12]5 rows for 120 frames"):
            got10k.score(truths, {"plain-1": given.changed(case)})
    with pytest.raises(ValueError, match="plain-1: there is no result"):
        got10k.score(truths, {})
    assert got10k.speed([]) == got10k.speed([np.zeros(3)]) == -1
