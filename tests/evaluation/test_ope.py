"""OSTrack's and pytracking's rules against what their code gave."""

import numpy as np
import pytest

import score_fixtures as given
from esat_jax.evaluation import ope, ostrack, pytracking
from esat_jax.evaluation.scores import Truth

CODES = {"ostrack": ostrack, "pytracking": pytracking}
KEYS = ("lasot_A", "lasot_extension_subset_A", "lasot_B", "tnl2k_B")
SCORES = {
    **{"AUC": "AUC", "OP50": "OP50", "OP75": "OP75", "P20": "Precision"},
    "NP20": "NormPrecision",
}
PARITY = dict(np.load(given.FIXTURES / "metrics_pytracking.npz"))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("tracker", ["perfect", "good", "mediocre", "bad_zeroed"])
def test_scores_and_curves_are_those_of_the_code(code, key, tracker):
    tag, kind = key.rsplit("_", 1)
    truths = given.truths(kind, flags=tag.startswith("lasot"))
    scores = CODES[code].score(truths, given.results(kind, tracker), tag)
    place = ["perfect", "good", "mediocre", "bad_zeroed"].index(tracker)
    for name, curve in scores.curves.items():
        # The code keeps its curves in float32.
        expected = given.OUTPUTS[f"ope/{code}/{key}/{name}"][place]
        np.testing.assert_allclose(curve.values, expected, atol=1e-7, rtol=0, err_msg=name)
    np.testing.assert_allclose(
        scores.measures["mean_overlap"].values,
        given.OUTPUTS[f"ope/{code}/{key}/avg_overlap"][place],
        atol=1e-12,
    )
    for ours, theirs in SCORES.items():
        expected = given.NUMBERS["ope"][code][key]["scores"][tracker][theirs]
        assert scores[ours] == pytest.approx(expected / 100, abs=1e-6), ours


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("tag", ["lasot", "tnl2k", "otb", "uav"])
@pytest.mark.parametrize(
    "case", ["nan", "neg_w", "zero_w", "neg_xy", "inf_x", "longer_by_5", "shorter_by_5"]
)
def test_odd_results_are_treated_as_the_code_does(code, tag, case):
    truth = given.truth("B", "plain-1", flags=tag == "lasot")
    said = given.NUMBERS["ope"][code]["edge"][f"{tag}/{case}"]
    if said != "ok":
        with pytest.raises(ValueError, match=r"^good: "):
            CODES[code].frame_errors(truth, given.changed(case), tag, "good")
        return
    errors = CODES[code].frame_errors(truth, given.changed(case), tag)
    found = errors.overlap, errors.centre, errors.normalised, errors.valid
    expected = given.OUTPUTS[f"ope/{code}/edge/{tag}/{case}"]
    np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-12, atol=1e-12)


def parity_sequences():
    names = [str(name) for name in PARITY["sequences"]]
    return {name: Truth(PARITY[f"{name}/gt"], ~PARITY[f"{name}/visible"]) for name in names}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "run", ["lasot_float", "lasot_int", "lasot_float_exclude_invalid", "uav_float", "otb_float"]
)
def test_every_run_of_the_parity_file(code, run):
    truths = parity_sequences()
    for place, tracker in enumerate(map(str, PARITY["trackers"])):
        boxes = {name: PARITY[f"{name}/pred_{tracker}"] for name in truths}
        if run == "lasot_int":
            boxes = {name: np.trunc(rows) for name, rows in boxes.items()}
        scores = CODES[code].score(
            truths, boxes, run.split("_")[0], exclude_invalid=run.endswith("exclude_invalid")
        )
        for ours, theirs in SCORES.items():
            expected = PARITY[f"{code}/{run}/{theirs}"][place] / 100
            assert scores[ours] == pytest.approx(expected, abs=1e-6), (tracker, ours)
        for name, curve in scores.curves.items():
            expected = PARITY[f"{code}/{run}/{name}_curve"][place] / 100
            np.testing.assert_allclose(curve.mean, expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("code", CODES)
def test_frame_errors_of_the_parity_file(code):
    for name, truth in parity_sequences().items():
        for tracker in map(str, PARITY["trackers"]):
            errors = CODES[code].frame_errors(truth, PARITY[f"{name}/pred_{tracker}"], "lasot")
            prefix = f"{code}/perframe_lasot/{name}/{tracker}"
            np.testing.assert_allclose(errors.overlap, PARITY[f"{prefix}/overlap"], rtol=1e-12)
            np.testing.assert_allclose(errors.centre, PARITY[f"{prefix}/center"], rtol=1e-12)
            np.testing.assert_allclose(
                errors.normalised, PARITY[f"{prefix}/center_norm"], rtol=1e-12
            )
            assert (errors.valid == PARITY[f"{prefix}/valid"]).all()


@pytest.mark.parametrize("code", CODES)
def test_every_edge_case_of_the_parity_file(code):
    for tag, case, said in PARITY[f"{code}/edge_cases"]:
        truth, boxes = Truth(PARITY[f"edge/{case}/gt"]), PARITY[f"edge/{case}/pred"]
        if said != "ok":
            with pytest.raises(ValueError, match=r"^x: "):
                CODES[code].frame_errors(truth, boxes, str(tag), "x")
            continue
        errors = CODES[code].frame_errors(truth, boxes, str(tag))
        found = errors.overlap, errors.centre, errors.normalised, errors.valid
        expected = PARITY[f"{code}/edge/{tag}/{case}"]
        np.testing.assert_allclose(np.array(found, float), expected, rtol=1e-12, err_msg=case)


def test_the_worked_example_of_a_target_at_the_border():
    truth_xywh = [[10, 10, 20, 20], [0, 10, 20, 20], [30, 30, 20, 10], [0, 0, 0, 0]]
    truth_xywh += [[40, 40, 10, 10], [50, 50, 8, 8]]
    boxes = [[0, 0, 5, 5], [2, 12, 20, 20], [33, 30, 20, 10], [31, 30, 20, 10]]
    boxes += [[40, 40, 10, 10], [90, 90, 8, 8]]
    truth_xywh, absent = np.array(truth_xywh, float), np.array([0, 0, 0, 0, 1, 0], bool)
    for module, tag, expected in (
        (ostrack, "lasot", (0.3889, 0.5, 0.1667, 0.5, 0.6667)),
        (pytracking, "lasot", (0.2778, 0.3333, 0.1667, 0.3333, 0.6667)),
        (ostrack, "lasot_extension_subset", (0.3889, 0.5, 0.1667, 0.5, 0.8333)),
        (ostrack, "uav", (0.5476, 0.6667, 0.3333, 0.8333, 0.8333)),
        (pytracking, "uav", (0.4365, 0.5, 0.3333, 0.8333, 0.8333)),
        (ostrack, "tnl2k", (0.5476, 0.6667, 0.3333, 0.6667, 0.8333)),
        (pytracking, "nfs", (0.4365, 0.5, 0.3333, 0.5, 0.8333)),
    ):
        truth = Truth(truth_xywh, absent if tag.startswith("lasot") else None)
        scores = module.score({"x": truth}, {"x": np.array(boxes, float)}, tag)
        assert tuple(scores[key] for key in SCORES) == pytest.approx(expected, abs=5e-5)


def test_thresholds_of_overlap_are_to_the_last_bit_those_of_the_code():
    expected = [0.05 * k for k in range(21)]
    expected[13], expected[15] = 0.6500000000000001, 0.7500000000000001  # as torch.arange sums
    assert ope.OVERLAPS.tolist() == expected


def test_an_empty_box_stays_where_the_truth_is_nan_and_is_what_the_next_one_copies():
    truth = Truth(np.array([[10.0, 10, 20, 20], [np.nan] * 4, [10, 10, 20, 20]]))
    boxes = np.array([[10.0, 10, 20, 20], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert ostrack.frame_errors(truth, boxes, "uav").overlap.tolist() == [1, -1, 0]
    seen = Truth(np.array([[10.0, 10, 20, 20]] * 3))
    assert ostrack.frame_errors(seen, boxes, "uav").overlap.tolist() == [1, 1, 1]


def test_an_empty_row_beyond_the_last_frame_is_refused_as_the_code_fails_there():
    truth = Truth(np.array([[10.0, 10, 20, 20]] * 3))
    boxes = np.array([[10.0, 10, 20, 20]] * 4 + [[10, 10, 0, 20]])
    for tag in ("lasot", "otb"):
        assert ostrack.frame_errors(truth, boxes[:4], tag).overlap.tolist() == [1, 1, 1]
        with pytest.raises(ValueError, match="x: row 5 has no size and is beyond the last of 3"):
            ostrack.frame_errors(truth, boxes, tag, "x")


@pytest.mark.parametrize("row", [0, 1, 3])  # the given box, an absent frame, beyond the end
@pytest.mark.parametrize("column", range(4))
def test_nan_is_refused_wherever_it_is(row, column):
    truth = Truth(np.array([[10.0, 10, 20, 20], [0, 0, 0, 0], [10, 10, 20, 20]]))
    boxes = np.tile([10.0, 10, 20, 20], (4, 1))
    boxes[row, column] = np.nan
    with pytest.raises(ValueError, match=rf"x: row {row + 1} is .*nan.*; this rule takes no"):
        ostrack.frame_errors(truth, boxes, "otb", "x")


def test_a_missing_result_and_an_unknown_tag_are_named():
    with pytest.raises(ValueError, match="plain-1: there is no result"):
        ostrack.score(given.truths("B", names=["plain-1"]), {}, "otb")
    with pytest.raises(ValueError, match="unknown tag 'LaSOT'"):
        ostrack.frame_errors(given.truth("B", "plain-1"), np.ones((120, 4)), "LaSOT")
    boxes = np.ones((120, 4))
    boxes[2] = [-np.inf, 0, np.inf, 1]
    with pytest.raises(ValueError, match="row 3 is infinitely large"):
        ostrack.frame_errors(given.truth("B", "plain-1"), boxes)
