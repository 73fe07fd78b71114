"""Batch statistics of groups, as each GPU of the original has its own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esat_jax.models.batch_norm import BatchNorm
from esat_jax.sharding import batch_sharded, make_mesh, replicated


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


def test_devices_exchange_statistics_once_forward_and_once_backward():
    norm, mesh = BatchNorm(), make_mesh()
    x = jax.ShapeDtypeStruct((16, 4, 4, 3), jnp.float32, sharding=batch_sharded(mesh))
    variables = jax.eval_shape(lambda x: norm.init(jax.random.key(0), x, train=True), x)

    def step(variables, x):
        def run(x):
            return norm.apply(variables, x, train=True, mutable="batch_stats")

        out, pull, updated = jax.vjp(run, x, has_aux=True)
        return pull(out**3), updated  # backward depends on forward

    split, whole = batch_sharded(mesh), replicated(mesh)
    jitted = jax.jit(step, in_shardings=(whole, split), out_shardings=(split, whole))
    compiled = jitted.lower(variables, x).compile()
    assert mesh.size == 8
    assert len(re.findall(r" all-reduce(?:-start)?\(", compiled.as_text())) == 2


def test_variance_is_exact_far_from_zero_once_the_running_mean_is_there():
    rng = np.random.default_rng(1)
    x = (1e4 + rng.normal(0, 1, (8, 5, 5, 3))).astype(np.float32)
    variables = {
        "params": {"scale": np.ones(3), "bias": np.zeros(3)},
        "batch_stats": {"mean": np.full(3, 1e4 + 2, np.float32), "var": np.ones(3)},
    }
    _, updated = BatchNorm(momentum=0.0).apply(variables, x, train=True, mutable="batch_stats")
    expected = np.float64(x).reshape(-1, 3)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], expected.var(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_output_and_gradient_are_exact_where_the_running_mean_is_three_deviations_off(groups):
    rng = np.random.default_rng(2)
    x = rng.normal(5, 2, (8, 5, 5, 3)).astype(np.float32)
    cotangent = rng.normal(0, 1, x.shape).astype(np.float32)
    scale = np.array([0.5, 1, 2], np.float32)
    variables = {
        "params": {"scale": scale, "bias": np.zeros(3)},
        "batch_stats": {"mean": np.full(3, -1, np.float32), "var": np.ones(3)},
    }
    norm = BatchNorm(groups=groups)
    out, pull = jax.vjp(lambda x: norm.apply(variables, x, train=True, mutable="batch_stats")[0], x)
    outputs, gradients, places = [], [], (0, 1, 2)
    for part, given in zip(*(np.split(np.float64(v), groups) for v in (x, cotangent)), strict=True):
        deviation = np.sqrt(part.var(places) + 1e-5)
        unit = (part - part.mean(places)) / deviation
        common = given.mean(places) + unit * (given * unit).mean(places)
        outputs.append(unit * scale)
        gradients.append(scale / deviation * (given - common))
    np.testing.assert_allclose(out, np.concatenate(outputs), atol=2e-5)
    np.testing.assert_allclose(pull(cotangent)[0], np.concatenate(gradients), atol=1e-5)
