"""Operations on a batch that is split over eight devices: equal, and nothing is gathered."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from esat_jax.models import candidates
from esat_jax.ops.fda_gpu import fused_attend
from esat_jax.ops.per_device import per_device

FORCES = {"alpha": 0.1, "beta": 0.1, "delta": 1 / 32}
RNG = np.random.default_rng(0)
TOKENS = RNG.normal(size=(8, 16, 4)).astype(np.float32)
SCORES = RNG.random((8, 16)).astype(np.float32)
CELLS = np.argsort(RNG.random((8, 16)), axis=1)
QKV = [jnp.array(RNG.normal(size=(8, 20, 2, 32)), jnp.bfloat16) for _ in range(3)]


def attention_gradients(*qkv):
    attend = functools.partial(fused_attend, **FORCES, interpret=True)
    loss = lambda *qkv: (per_device(attend, *qkv).astype(jnp.float32) ** 2).sum()  # noqa: E731
    return per_device(attend, *qkv), *jax.grad(loss, argnums=(0, 1, 2))(*qkv)


def elimination(tokens, cells, scores):
    eliminate = functools.partial(candidates.eliminate, keep=5)
    restore = functools.partial(candidates.restore, num_search=16)
    return per_device(restore, *per_device(eliminate, tokens, cells, scores))


@pytest.mark.parametrize(
    ("function", "arrays"),
    [(attention_gradients, QKV), (elimination, (TOKENS, CELLS, SCORES))],
)
def test_split_batches_give_the_same_and_nothing_is_gathered(function, arrays):
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))

    def on_mesh(*arrays):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return function(*arrays)

    def gathers(function):
        compiled = jax.jit(function, in_shardings=split).lower(*arrays).compile()
        return compiled, len(re.findall(r" all-gather(?:-start)?\(", compiled.as_text()))

    _, expected = gathers(function)
    assert expected > 0  # what the compiler does when it knows of no mesh
    compiled, number = gathers(on_mesh)
    assert number == 0
    placed = jax.device_put(tuple(arrays), split)
    for got, want in zip(compiled(*placed), jax.jit(function)(*arrays), strict=True):
        np.testing.assert_array_equal(np.float32(got), np.float32(want))
