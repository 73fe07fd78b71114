"""The fused kernels against the XLA form: interpreted everywhere, compiled where there is a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esat_jax.ops.fda import attend
from esat_jax.ops.fda_gpu import fused_attend

FORCES = [
    (0.0, 0.0, 0.0),
    (0.1, 0.1, 1 / 64),
    (1.0, 0.1, 0.05),
    (0.0, 1.0, 1 / 64),
    (0.5, 0.0, 0.1),
]


def compare(shape, forces, interpret, size=1.0, tolerance=1e-2):
    """Output and gradients in float64-free terms: the XLA form on the same values in float32."""
    rng = np.random.default_rng(0)
    qkv = [jnp.array(size * rng.normal(size=shape), jnp.bfloat16) for _ in range(3)]
    probe = jnp.array(rng.normal(size=shape), jnp.bfloat16)
    forces = dict(zip(("alpha", "beta", "delta"), forces, strict=True))

    def fused(*qkv):
        return fused_attend(*qkv, **forces, interpret=interpret)

    def exact(*qkv):
        with jax.default_matmul_precision("highest"):
            return attend(*qkv, **forces, implementation="xla")

    out, pull = jax.vjp(fused, *qkv)
    wide = [x.astype(jnp.float32) for x in qkv]
    expected, pull_exact = jax.vjp(exact, *wide)
    pairs = zip(
        (out, *pull(probe)), (expected, *pull_exact(probe.astype(jnp.float32))), strict=True
    )
    for got, want in pairs:
        assert got.dtype == jnp.bfloat16
        error = np.linalg.norm(got.astype(np.float32) - want) / np.linalg.norm(want)
        assert error < tolerance  # bfloat16 holds 8 bits


@pytest.mark.parametrize("forces", FORCES)
@pytest.mark.parametrize("tokens", [64, 100])
def test_interpreted_kernels_equal_the_xla_form(tokens, forces):
    compare((1, tokens, 2, 32), forces, interpret=True)


def test_tiles_over_the_end_stay_finite_where_all_logits_are_very_low():
    compare((1, 40, 2, 32), (0.1, 1.0, 1.0), interpret=True, size=4.0, tolerance=2e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("forces", FORCES)
@pytest.mark.parametrize(
    "shape", [(2, 720, 12, 64), (3, 427, 6, 64), (2, 65, 2, 64), (1, 31, 3, 32)]
)
def test_compiled_kernels_equal_the_xla_form(shape, forces):
    compare(shape, forces, interpret=False)


@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [720, 427])  # cuDNN refuses odd lengths
def test_without_forces_the_chosen_attention_equals_the_xla_form(tokens):
    rng = np.random.default_rng(0)
    qkv = [jnp.array(rng.normal(size=(2, tokens, 6, 64)), jnp.bfloat16) for _ in range(3)]
    with jax.default_matmul_precision("highest"):
        wide = attend(*(x.astype(jnp.float32) for x in qkv), implementation="xla")
    got = attend(*qkv, implementation="auto")
    assert got.dtype == jnp.bfloat16
    assert np.linalg.norm(got.astype(np.float32) - wide) < 1e-2 * np.linalg.norm(wide)
