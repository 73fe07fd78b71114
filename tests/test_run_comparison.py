import numpy as np
import pytest

from esat_jax.bootstrap import paired_bootstrap, verdict
from esat_jax.run_comparison import compare_runs


def made_up(rng, num_seeds, num_items, *, gain, seed_noise, run_noise=0.05):
    """Two rows whose true difference is `gain`: hard items for all, good seeds for one row."""
    items = rng.normal(0.6, 0.2, num_items)
    rows = []
    for mean in (gain, 0.0):
        seeds = rng.normal(mean, seed_noise / np.sqrt(2), (num_seeds, 1))
        rows.append(items + seeds + rng.normal(0, run_noise, (num_seeds, num_items)))
    return rows


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("seed_noise", [0.0, 0.02])
def test_the_interval_covers_the_true_difference_nineteen_times_of_twenty(num_seeds, seed_noise):
    rng = np.random.default_rng(num_seeds)
    covered = []
    for number in range(200):
        a, b = made_up(rng, num_seeds, 40, gain=0.01, seed_noise=seed_noise)
        _, low, high = compare_runs(a, b, draws=400, seed=number)
        covered.append(low <= 0.01 <= high)
    assert np.mean(covered) >= 0.92


def test_items_alone_would_call_the_luck_of_three_seeds_a_difference():
    rng = np.random.default_rng(1)
    wrong = {"items": 0, "both": 0}
    for number in range(200):
        a, b = made_up(rng, 3, 40, gain=0.0, seed_noise=0.03)
        _, *bounds = paired_bootstrap(a.mean(axis=0), b.mean(axis=0), 500, number)
        wrong["items"] += verdict(*bounds) == "difference"
        _, *bounds = compare_runs(a, b, draws=400, seed=number)
        wrong["both"] += verdict(*bounds) == "difference"
    assert wrong["items"] > 70
    assert wrong["both"] <= 16


def test_a_difference_that_every_seed_shows_is_found():
    rng = np.random.default_rng(2)
    a, b = made_up(rng, 3, 400, gain=0.03, seed_noise=0.003)
    difference, low, high = compare_runs(a, b)
    assert difference == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
    assert verdict(low, high) == "difference"
    backwards = compare_runs(b, a)
    assert backwards[0] == pytest.approx(-difference, abs=1e-12)
    np.testing.assert_allclose(backwards[1:], [-high, -low], atol=2e-3)


def test_of_one_seed_it_is_the_paired_bootstrap_of_the_items():
    a, b = made_up(np.random.default_rng(3), 1, 50, gain=0.02, seed_noise=0.01)
    expected = paired_bootstrap(a[0], b[0], 2_000, 4)
    assert compare_runs(a, b, 2_000, 4) == pytest.approx(expected, abs=1e-12)


def test_with_hardly_any_noise_of_items_it_is_students_interval():
    a = 0.5 + np.array([[0.010], [0.013], [0.031]]) + np.zeros((3, 20))
    b = np.full((3, 20), 0.5)
    difference, low, high = compare_runs(a, b, draws=200_000)
    half = 4.302653 * np.std([0.010, 0.013, 0.031], ddof=1) / np.sqrt(3)  # t of 2 degrees, 97.5 %
    assert difference == pytest.approx(0.018, abs=1e-12)
    np.testing.assert_allclose([low, high], [0.018 - half, 0.018 + half], rtol=0.03)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3, 3)), ((2, 3), (2, 4)), ((3,), (3,)), ((0, 3), (0, 3))]
)
def test_other_seeds_or_items_are_refused(a, b):
    with pytest.raises(ValueError, match="the same seeds and items"):
        compare_runs(np.zeros(a), np.zeros(b))
