import numpy as np
import pytest

import score_fixtures as given
from esat_jax import bootstrap
from esat_jax.evaluation import scoreboard
from esat_jax.evaluation.score_exports import as_json, csv_text
from esat_jax.evaluation.score_tables import Scores, markdown
from esat_jax.evaluation.scoreboard import RULES, score_tracker
from esat_jax.evaluation.scores import Truth

NAMES = given.SEQUENCES[:3]


def runs(tracker, names=NAMES):
    return {name: [rows] for name, rows in given.results("B", tracker, names).items()}


def test_every_measure_has_the_interval_of_a_plain_bootstrap():
    truths = given.truths("B", names=NAMES)
    board = score_tracker(truths, runs("good"), "otb", draws=500, seed=3)
    assert set(board.scores) == set(RULES)
    for rule, scores in board.scores.items():
        for name, measure in scores.measures.items():
            expected = bootstrap.bootstrap_mean(measure.values, 500, 3, weights=measure.weights)
            assert board.interval(rule, name) == pytest.approx(expected, abs=1e-12)


def test_differences_are_paired():
    truths = given.truths("B", names=NAMES)
    good, mediocre = (
        score_tracker(truths, runs(tracker), "otb", ("got10k",), 500, 3)
        for tracker in ("good", "mediocre")
    )
    a, b = (board.scores["got10k"].measures["AO"] for board in (good, mediocre))
    expected = bootstrap.paired_bootstrap(
        a.values, b.values, 500, 3, a_weights=a.weights, b_weights=b.weights
    )
    assert good.difference(mediocre, "got10k", "AO") == pytest.approx(expected, abs=1e-12)
    assert good.difference(mediocre, "ostrack", "AUC") is None


def test_flags_of_absence_reach_ostrack_only_where_its_readers_have_them():
    truths = given.truths("A")
    results = {name: [rows] for name, rows in given.results("A", "good").items()}
    for tag, expected in (
        ("lasot", given.NUMBERS["ope"]["ostrack"]["lasot_A"]["scores"]["good"]["AUC"]),
        ("tnl2k", 71.92),
    ):
        board = score_tracker(truths, results, tag, ("ostrack",), 100)
        assert 100 * board.scores["ostrack"]["AUC"] == pytest.approx(expected, abs=0.01)


def test_all_runs_count_for_got10k_and_the_first_for_the_others():
    truths, results = given.truths("B"), given.results("B", "good")
    several = {name: [rows] for name, rows in results.items()}
    several["plain-1"].append(given.result("B", "mediocre", "plain-1"))
    board = score_tracker(truths, several, "otb", draws=100)
    numbers = given.NUMBERS["got10k"]["edge"]["good_plus_mediocre_as_second_run_of_plain-1"]
    assert board.scores["got10k"]["AO"] == pytest.approx(numbers["AO"], abs=1e-12)
    first = {name: [rows] for name, rows in results.items()}
    once = score_tracker(truths, first, "otb", draws=100)
    for rule in set(RULES) - {"got10k"}:
        for measure in board.scores[rule].measures:
            assert board.scores[rule][measure] == once.scores[rule][measure]


def test_coverage_is_shown_where_trackingnets_rule_is_the_benchmarks_own():
    truths = given.truths("B", names=NAMES)
    board = score_tracker(truths, runs("good"), "trackingnet", ("ostrack", "trackingnet"), 100)
    for benchmark, rule, count in (("trackingnet_test", "trackingnet", 1), ("otb", "", 0)):
        table = markdown(Scores(benchmark, rule, truths, 3, {"t": board}, draws=100))
        assert table.count("| coverage ") == count


def test_a_sequence_that_its_rule_leaves_out_has_no_value():
    absent = np.array([1, 0, 0], bool)  # without the first frame, a tracker can miss everything
    truths = {name: Truth(np.tile([5.0, 5, 10, 10], (3, 1)), absent) for name in "ab"}
    results = {"a": [np.tile([500.0, 5, 10, 10], (3, 1))], "b": [truths["b"].boxes_xywh]}
    board = score_tracker(truths, results, "lasot", ("lasot_toolkit",), 100)
    scores = Scores("lasot_test", "lasot_toolkit", truths, 2, {"t": board}, draws=100)
    lines = csv_text(scores).splitlines()
    assert "t,lasot_toolkit,AUC,a,1,,," in lines
    assert any(line.startswith("t,lasot_toolkit,AUC,b,1,0.6") for line in lines)
    values = as_json(scores)["trackers"]["t"]["rules"]["lasot_toolkit"]["per_sequence"]["AUC"]
    assert values == [None, pytest.approx(2 / 3 * 20 / 21)]


def test_missing_sequences_are_never_left_out():
    truths = given.truths("B", names=NAMES)
    with pytest.raises(ValueError, match="1 of 3 sequences have no result"):
        score_tracker(truths, runs("good", NAMES[:2]), "otb")
    with pytest.raises(ValueError, match="0 of 0 sequences"):
        score_tracker({}, {}, "otb")


def test_what_does_not_exist_is_empty_in_every_form():
    truths = {"x": Truth(np.tile([5.0, 5, 10, 10], (4, 1)), attributes=("IV",))}
    bad = {"x": [np.array([[5, 5, 10, 10]] * 3 + [[np.nan] * 4])]}
    board = score_tracker(truths, bad, "otb", draws=100)
    scores = Scores("otb", "", truths, 1, {"t": board}, draws=100)
    table = markdown(scores)
    assert "| success AUC / AO        | OSTrack family               |      - |" in table
    assert "| got10k toolkit               |      - |" in table  # NaN, like the toolkit
    assert "LaSOT/TNL2K toolkit (MATLAB) |  95.24 |" in table  # one sequence has no interval
    assert "* t has no score by the rule of OSTrack family: x: row 4 is nan,nan" in table
    found = as_json(scores)["trackers"]["t"]["rules"]
    assert found["got10k"]["scores"]["AO"] == {"value": None, "low": None, "high": None}
    assert found["lasot_toolkit"]["attributes"]["IV"]["sequences"] == 1
    assert "t,got10k,AO,all,1,,,\n" in csv_text(scores)
    assert scoreboard.attributes(truths) == {"IV": ["x"]}
