"""Batch statistics of groups, as each GPU of the original has its own."""

import jax
import numpy as np
import pytest

from esat_jax.models.batch_norm import BatchNorm


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_each_group_is_normalised_by_itself_and_the_first_one_moves_the_running_statistics(groups):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (8, 5, 5, 3)).astype(np.float32)
    scale, bias, mean, var = (rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    variables = {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": mean, "var": var},
    }
    norm = BatchNorm(groups=groups)
    run = jax.jit(lambda x: norm.apply(variables, x, train=True, mutable="batch_stats"))
    got, updated = run(x)
    parts = np.split(np.float64(x), groups)
    expected = [
        (part - part.mean((0, 1, 2))) / np.sqrt(part.var((0, 1, 2)) + 1e-5) * scale + bias
        for part in parts
    ]
    np.testing.assert_allclose(got, np.concatenate(expected), atol=1e-5)
    first = parts[0].reshape(-1, 3)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.9 * mean + 0.1 * first.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 * var + 0.1 * first.var(0, ddof=1), rtol=1e-5)
    at_test = norm.apply(variables, x, train=False)
    np.testing.assert_allclose(
        at_test, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, rtol=1e-4, atol=1e-5
    )
