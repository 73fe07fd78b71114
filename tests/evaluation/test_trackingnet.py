"""The rule of the TrackingNet development kit against what its metrics.py gave."""

import numpy as np
import pytest

import score_fixtures as given
from esat_jax.evaluation import trackingnet

SCORES = ("Success", "Precision", "NormPrecision", "Coverage")


@pytest.mark.parametrize("tracker", ["perfect", "good", "bad", "bad_zeroed", "good_missing"])
def test_frames_curves_and_scores_are_those_of_the_code(tracker):
    truths = given.truths("B")
    results = given.results("B", tracker.removesuffix("_missing"))
    if tracker == "good_missing":
        results = {k: v for k, v in results.items() if k not in ("occl-1", "ties-1")}
    scores, numbers = trackingnet.score(truths, results), given.NUMBERS["trackingnet"][tracker]
    for name, truth in truths.items():
        result = results.get(name, np.zeros((len(truth), 4)))
        found = np.array(trackingnet.frame_errors(truth, result), float)
        expected = given.OUTPUTS[f"trackingnet/{tracker}/frames/{name}"]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=name)
        alone = trackingnet.score({name: truth}, results)
        for key in SCORES:
            expected = numbers["per_sequence"][name][key] / 100
            assert alone[key] == pytest.approx(expected, abs=1e-12), (name, key)
    for name, curve in scores.curves.items():
        expected = given.OUTPUTS[f"trackingnet/{tracker}/{name}"]
        np.testing.assert_allclose(curve.mean, expected, atol=1e-12, err_msg=name)
    for key in SCORES:
        assert scores[key] == pytest.approx(numbers[key] / 100, abs=1e-12), key


@pytest.mark.parametrize("case", ["longer_by_5", "shorter_by_5", "empty_submission"])
def test_odd_results_are_treated_as_the_code_does(case):
    results = {} if case.startswith("empty") else {"plain-1": given.changed(case)}
    scores = trackingnet.score(given.truths("B", names=["plain-1"]), results)
    for key in SCORES:
        expected = given.NUMBERS["trackingnet"]["edge"][case][key] / 100
        assert scores[key] == pytest.approx(expected, abs=1e-12), key
    for name, curve in scores.curves.items():
        expected = given.OUTPUTS[f"trackingnet/edge/{case}/{name}"]
        np.testing.assert_allclose(curve.mean, expected, atol=1e-12)


def test_numbers_are_rounded_half_to_even():
    truths = given.truths("B", names=["plain-1"])
    half = np.round(given.result("B", "good", "plain-1"))
    shifted = half + np.where(half % 2 == 0, 0.5, -0.5)  # both round to the even side
    expected = trackingnet.score(truths, {"plain-1": np.where(half % 2 == 0, half, half - 1)})
    found = trackingnet.score(truths, {"plain-1": shifted})
    assert [found[key] for key in SCORES] == [expected[key] for key in SCORES]
