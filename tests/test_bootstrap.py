import numpy as np
import pytest

from esat_jax.bootstrap import bootstrap_mean, paired_bootstrap, resampled_means, verdict


def test_the_interval_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(0.6, 0.2, 400)
    mean, low, high = bootstrap_mean(values, draws=20_000)
    error = values.std() / np.sqrt(400)
    assert mean == pytest.approx(values.mean(), abs=1e-12)
    np.testing.assert_allclose([low - mean, high - mean], [-1.96 * error, 1.96 * error], atol=1e-3)


def test_the_interval_covers_the_truth_nineteen_times_of_twenty():
    rng = np.random.default_rng(2)
    hits = sum(
        low <= 0.3 <= high
        for _, low, high in (bootstrap_mean(rng.beta(3, 7, 60), 500, i) for i in range(400))
    )
    assert 0.91 <= hits / 400 <= 0.97


def test_pairs_tell_apart_what_single_intervals_cannot():
    rng = np.random.default_rng(3)
    hardness = rng.uniform(0.2, 0.9, 100)
    a, b = hardness + rng.normal(0.02, 0.02, 100), hardness
    assert bootstrap_mean(a)[1] < bootstrap_mean(b)[2]  # the single intervals overlap
    difference, low, high = paired_bootstrap(a, b)
    assert difference == pytest.approx(np.mean(a - b), abs=1e-12)
    assert low > 0
    assert verdict(low, high) == "difference"
    assert paired_bootstrap(b, a) == pytest.approx((-difference, -high, -low), abs=1e-12)
    same = paired_bootstrap(a, rng.permutation(a))
    assert verdict(*same[1:]) == "noise"


def test_weights_pool_and_leave_out():
    values, weights = np.array([0.2, 0.8, np.nan]), np.array([3.0, 1.0, 0.0])
    mean, low, high = bootstrap_mean(values, weights=weights)
    assert mean == pytest.approx(0.35, abs=1e-12)
    assert (low, high) == pytest.approx((0.2, 0.8), abs=1e-12)
    difference, *_ = paired_bootstrap(values, np.array([0.1, 0.1, 0.4]), a_weights=weights)
    assert difference == pytest.approx(0.35 - 0.2, abs=1e-12)


def test_the_resamples_depend_on_the_seed_and_the_number_of_sequences_only():
    values = np.random.default_rng(4).random((30, 2))
    both = resampled_means(values, 100, seed=5)
    np.testing.assert_allclose(both[:, 1], resampled_means(values[:, 1], 100, seed=5), rtol=1e-12)
    assert np.abs(both - resampled_means(values, 100, seed=6)).max() > 1e-3


def test_nothing_is_known_of_one_sequence_or_of_nan():
    assert bootstrap_mean(np.array([0.5])) == pytest.approx((0.5, np.nan, np.nan), nan_ok=True)
    assert np.isnan(bootstrap_mean(np.array([0.5, np.nan, 0.1]))).all()
    assert np.isnan(bootstrap_mean(np.array([]))).all()
    assert verdict(np.nan, np.nan) == "noise"
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired_bootstrap(np.zeros(2), np.zeros(3))
