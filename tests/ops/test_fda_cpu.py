"""The form for CPUs against the equations as `fda` writes them, which test_fda.py checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esat_jax.ops.fda import attend
from esat_jax.ops.fda_cpu import attend_by_head


def random_qkv(shape, size=1.0):
    return size * np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.1, 0.1), (0.0, 0.3), (0.5, 0.0)])
def test_equals_the_equations_for_vectors_of_any_length(alpha, beta):
    forces = {"alpha": alpha, "beta": beta, "delta": 1 / 64}
    for size, limit in ((0.1, 1e-6), (1.0, 1e-5), (12.0, 2e-3)):  # logits up to 1e4 are rounded
        qkv = random_qkv((2, 45, 3, 64), size)
        expected = attend(*qkv, **forces, implementation="xla")
        np.testing.assert_allclose(attend_by_head(*qkv, **forces), expected, atol=limit)


def test_derivatives_are_those_of_the_equations_to_the_bit():
    qkv = random_qkv((2, 20, 3, 8))

    def gradient(implementation):
        forces = {"alpha": 0.1, "beta": 0.2, "delta": 0.3, "implementation": implementation}
        return jax.jit(jax.grad(lambda qkv: (attend(*qkv, **forces) ** 2).sum()))(qkv)

    np.testing.assert_array_equal(gradient("auto"), gradient("xla"))


def test_auto_is_this_form_for_float32_on_a_cpu(monkeypatch):
    qkv = [jax.ShapeDtypeStruct((2, 40, 3, 64), jnp.float32)] * 3

    def program():
        return str(jax.make_jaxpr(lambda *qkv: attend(*qkv, alpha=0.1, beta=0.1, delta=0.1))(*qkv))

    maps, one_map = "f32[2,3,40,40]", "f32[2,40,40]"
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert one_map in program()
    assert maps not in program()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert maps in program()
    assert one_map not in program()
