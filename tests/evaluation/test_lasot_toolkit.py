"""The rule of the MATLAB toolkits against what they gave in Octave."""

import numpy as np
import pytest

import score_fixtures as given
from esat_jax.evaluation import lasot_toolkit
from esat_jax.evaluation.scores import Truth

SCORES = {
    **{"AUC": "AUC", "P20": "P20", "NP20": "NP20", "P_mean": "precision_mean_0_50px"},
    "NP_mean": "norm_precision_mean_0_0.5",
}


@pytest.mark.parametrize("kind", ["A", "U"])  # on U the toolkit's absent flags were all zero
@pytest.mark.parametrize("tracker", given.TRACKERS)
def test_frames_curves_and_scores_are_those_of_the_toolkit(kind, tracker):
    truths = given.truths(kind, flags=kind != "U")
    scores = lasot_toolkit.score(truths, given.results(kind, tracker))
    for name, truth in truths.items():
        found = lasot_toolkit.frame_errors(truth, given.result(kind, tracker, name))
        expected = given.OUTPUTS[f"matlab/frames/{kind}/{name}/{tracker}"]
        np.testing.assert_allclose(np.array(found), expected, rtol=1e-12, atol=1e-12, err_msg=name)
    place = given.TRACKERS.index(tracker)
    for name, curve in scores.curves.items():
        expected = given.OUTPUTS[f"matlab/lasot/{kind}/{name}"][place]
        np.testing.assert_allclose(curve.values, expected, atol=1e-12, err_msg=name)
    for kit in ("lasot", "tnl2k"):
        numbers = given.NUMBERS["matlab"][f"{kit}/{kind}"]
        for ours, theirs in SCORES.items():
            assert scores[ours] == pytest.approx(numbers[theirs][tracker], abs=1e-12), ours
        for name, dropped in numbers["dropped"].items():
            left_out = np.array(scores.sequences)[scores.curves[name].weights == 0]
            assert list(left_out) == dropped[tracker]


def test_scores_of_attributes_are_those_of_the_toolkit():
    columns = ["IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV"]
    columns += ["LR", "ARC"]
    flags = given.INPUTS["attributes_lasot"].astype(bool)
    expected = given.NUMBERS["matlab"]["lasot/A"]["attributes"]
    assert len(expected) >= 12
    for tracker in given.TRACKERS:
        scores = lasot_toolkit.score(given.truths("A"), given.results("A", tracker))
        for attribute, numbers in expected.items():
            names = np.array(given.SEQUENCES)[flags[:, columns.index(attribute)]]
            part = scores.of(names)
            assert part["AUC"] == pytest.approx(numbers["AUC"][tracker], abs=1e-12)
            assert part["P20"] == pytest.approx(numbers["P20"][tracker], abs=1e-12)


FAR = np.tile([5000.0, 5000, 20, 20], (120, 1))
GOOD, MEDIOCRE = (given.result("A", tracker, "plain-1") for tracker in ("good", "mediocre"))
LONG_GOOD, LONG_MEDIOCRE = (np.concatenate([rows, rows[:5]]) for rows in (GOOD, MEDIOCRE))


@pytest.mark.parametrize(
    ("case", "first_absent", "pairs"),
    [
        ("single_sequence", [False], {"good": [GOOD], "mediocre": [MEDIOCRE]}),
        ("longer_by_5", [False] * 2, {"good": [LONG_GOOD] * 2, "mediocre": [LONG_MEDIOCRE] * 2}),
        ("first_frame_absent", [False, True], {"good": [GOOD] * 2, "far": [FAR] * 2}),
        ("one_sequence_left", [False, True], {"good": [GOOD] * 2, "half": [MEDIOCRE, FAR]}),
    ],
)
def test_odd_sets_of_sequences_are_treated_as_the_toolkit_does(case, first_absent, pairs):
    truths = {}
    for number, absent in enumerate(first_absent):
        flags = np.zeros(120, bool)
        flags[0] = absent
        truths[str(number)] = Truth(given.INPUTS["plain-1/A/gt"], flags)
    for place, (tracker, boxes) in enumerate(pairs.items()):
        scores = lasot_toolkit.score(truths, dict(zip(truths, boxes, strict=True)))
        for name, curve in scores.curves.items():
            expected = given.OUTPUTS[f"matlab/edge/{case}/{name}_per_seq"][place]
            np.testing.assert_allclose(curve.values, expected, atol=1e-12, err_msg=name)
        numbers = given.NUMBERS["matlab_edge"][case]
        expected = (
            numbers["pix_AUC"]["overlap"][tracker],
            numbers["pix_AUC"]["error"][tracker],
            numbers["norm_AUC"]["error"][tracker],
        )
        found = scores["AUC"], scores["P_mean"], scores["NP_mean"]
        assert found == pytest.approx(expected, abs=1e-12)


BOX, NAN = [10.0, 10, 20, 20], [np.nan] * 4


def test_a_bad_row_stays_where_the_truth_is_nan_and_is_what_the_next_one_copies():
    truth = Truth(np.array([BOX, NAN, BOX]))
    overlap, distance, _ = lasot_toolkit.frame_errors(truth, np.array([BOX, NAN, NAN]))
    np.testing.assert_array_equal(overlap, [1, -1, np.nan])
    np.testing.assert_array_equal(distance, [0, -1, np.nan])


def test_minimum_and_maximum_pass_over_nan():
    boxes = np.array([[np.nan, 10, 20, 20], [0, 0, 0, 0], BOX])  # row 2 copies the given box
    overlap, distance, _ = lasot_toolkit.frame_errors(Truth(np.array([BOX] * 3)), boxes)
    np.testing.assert_array_equal(overlap, [1, 1, 1])
    np.testing.assert_array_equal(distance, [0, np.nan, 0])


def test_short_and_missing_results_are_refused():
    truths = given.truths("A", names=["plain-1"])
    with pytest.raises(ValueError, match="plain-1: 115 rows for 120 frames"):
        lasot_toolkit.score(truths, {"plain-1": GOOD[:-5]})
    with pytest.raises(ValueError, match="plain-1: there is no result"):
        lasot_toolkit.score(truths, {})


def test_a_tracker_without_any_hit_has_no_score():
    absent = np.zeros(120, bool)
    absent[0] = True
    truth = Truth(given.INPUTS["plain-1/A/gt"], absent)
    assert np.isnan(lasot_toolkit.score({"x": truth}, {"x": FAR})["AUC"])
