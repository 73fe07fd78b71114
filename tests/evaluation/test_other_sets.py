"""Scores of the original codes on further sets and trackers, of which two decimals were kept."""

import pytest

import score_fixtures as given
from esat_jax.evaluation import got10k, lasot_toolkit, ostrack, pytracking, trackingnet

KEYS = ("AUC", "P20", "NP20")
TRACKERS = ("perfect", "good", "mediocre", "bad_zeroed")
PERCENT = {
    ("lasot_toolkit", "", "B"): (
        *((80.47, 96.71, 96.71), (61.72, 93.58, 86.23), (35.19, 62.04, 34.98)),
        (10.36, 28.36, 17.47),
    ),
    ("ostrack", "otb", "B"): (
        *((92.95, 96.31, 100.0), (71.92, 93.10, 89.23), (39.92, 51.37, 27.44)),
        (11.43, 15.83, 8.34),
    ),
    ("pytracking", "otb", "B"): (
        *((82.21, 85.13, 100.0), (63.10, 81.92, 89.36), (35.74, 48.67, 36.48)),
        (9.14, 14.99, 18.97),
    ),
    ("ostrack", "uav", "U"): (
        *((91.21, 100.0, 100.0), (70.55, 96.88, 89.38), (39.38, 56.85, 29.23)),
        (11.36, 21.31, 10.13),
    ),
    ("pytracking", "uav", "U"): (
        *((80.47, 100.0, 100.0), (61.72, 96.88, 89.52), (35.19, 65.33, 38.27)),
        (9.06, 31.65, 20.76),
    ),
}


@pytest.mark.parametrize(("rule", "tag", "kind"), PERCENT)
def test_one_pass_evaluation(rule, tag, kind):
    modules = {"ostrack": ostrack, "pytracking": pytracking}
    for tracker, expected in zip(TRACKERS, PERCENT[rule, tag, kind], strict=True):
        results = given.results(kind, tracker)
        if rule == "lasot_toolkit":
            scores = lasot_toolkit.score(given.truths(kind), results)
        else:
            scores = modules[rule].score(given.truths(kind, flags=False), results, tag)
        assert [100 * scores[key] for key in KEYS] == pytest.approx(expected, abs=0.0051)


def test_the_default_score_of_the_tnl2k_script():
    for tracker, expected in zip(given.TRACKERS, (96.71, 76.57, 43.66, 19.17), strict=False):
        scores = lasot_toolkit.score(given.truths("B"), given.results("B", tracker))
        assert 100 * scores["NP_mean"] == pytest.approx(expected, abs=0.0051)


def test_servers():
    truths, results = given.truths("B"), given.results("B", "mediocre")
    scores = trackingnet.score(truths, results)
    found = [scores[key] for key in ("Success", "Precision", "NormPrecision", "Coverage")]
    assert found == pytest.approx([0.37763, 0.53539, 0.31562, 0.99880], abs=5.1e-6)
    scores = got10k.score(truths, results)
    found = [scores[key] for key in ("AO", "SR50", "SR75")]
    assert found == pytest.approx([0.3947, 0.3580, 0.0357], abs=5.1e-5)
