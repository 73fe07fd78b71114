"""The schedule of candidate elimination against the original's values and its own promises."""

import numpy as np
import pytest

from esat_jax.keep_ratio import keep_ratios, quantised_keep_ratio, scheduled_keep_ratio
from parity import FIXTURES, read_config

OSTRACK = {"layers": (3, 6, 9), "keep_ratio": (0.7,) * 3, "start_epoch": 20, "warm_epochs": 80}
GOT10K = OSTRACK | {"warm_epochs": 50}


def test_the_exact_schedule_equals_the_original():
    fixture = np.load(FIXTURES / "head.npz")
    ours = [scheduled_keep_ratio(OSTRACK, epoch) for epoch in fixture["keep_rate_epoch"]]
    np.testing.assert_allclose(ours, fixture["keep_rate"], rtol=1e-12)


@pytest.mark.parametrize(
    ("ce", "values"),
    [
        (OSTRACK, {19: 1, 20: 1, 21: 0.999884, 50: 0.907403, 99: 0.700116, 100: 0.7, 300: 0.7}),
        (GOT10K, {30: 0.971353, 40: 0.896353, 50: 0.803647, 60: 0.728647, 70: 0.7, 100: 0.7}),
    ],
)
def test_the_exact_schedule_has_the_published_values(ce, values):
    for epoch, value in values.items():
        assert scheduled_keep_ratio(ce, epoch) == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize("ce", [OSTRACK, GOT10K])
@pytest.mark.parametrize("number", [2, 3, 6, 8])
def test_quantised_ratios_are_few_fall_only_and_stay_near_the_schedule(ce, number):
    ce = ce | {"max_ratios": number}
    ours = np.array([quantised_keep_ratio(ce, epoch) for epoch in range(1, 301)])
    exact = np.array([scheduled_keep_ratio(ce, epoch) for epoch in range(1, 301)])
    assert len(set(ours)) == number
    assert (np.diff(ours) <= 0).all()
    assert np.abs(ours - exact).max() <= 0.3 / (number - 1) / 2 + 1e-12
    assert (ours[exact == 1] == 1).all()
    assert (ours[exact == 0.7] == 0.7).all()
    assert keep_ratios(ce, 300) == sorted(set(ours), reverse=True)
    assert keep_ratios(ce, 20) == [1.0]


def test_one_value_is_the_last_ratio_and_trackers_without_elimination_keep_all():
    assert keep_ratios(OSTRACK | {"max_ratios": 1}, 300) == [0.7]
    without = OSTRACK | {"layers": (), "keep_ratio": (), "max_ratios": 6}
    assert keep_ratios(without, 300) == [1.0]
    assert scheduled_keep_ratio(without, 300) == 1
    assert keep_ratios(OSTRACK | {"keep_ratio": (1.0,) * 3, "max_ratios": 6}, 300) == [1.0]


def test_no_warm_up_switches_at_once():
    at_once = OSTRACK | {"warm_epochs": 0, "start_epoch": 5, "max_ratios": 6}
    assert [quantised_keep_ratio(at_once, epoch) for epoch in (4, 5)] == [1, 0.7]


@pytest.mark.parametrize("number", [0, 9])
def test_a_number_of_ratios_out_of_bounds_is_refused(number):
    with pytest.raises(ValueError, match=f"ce.max_ratios is 1 to 8, got {number}"):
        quantised_keep_ratio(OSTRACK | {"max_ratios": number}, 1)


@pytest.mark.parametrize("name", ["esat_vit_b384", "esat_hivit_b384"])
def test_the_configurations_need_at_most_eight_programs(name):
    config = read_config(name)
    ratios = keep_ratios(config.ce, config.optim.epochs)
    assert len(ratios) == (6 if config.ce.layers else 1)
