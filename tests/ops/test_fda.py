"""FDA against Eq. 5-7 written out pair by pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esat_jax.ops.fda import attend, attention_rows, fda_logits

FORCES = [(0.0, 0.0, 0.1), (0.1, 0.1, 1 / 8), (1.0, 0.1, 0.05), (0.0, 1.0, 0.2), (0.7, 0.0, 0.02)]


def random_qkv(seed=0, shape=(2, 5, 3, 8)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, *shape)).astype(np.float32)


def pairwise_attention(query, key, value, alpha, beta, delta):
    """Eq. 5-7 with the two halves of Eq. 5, one pair at a time, float64; the map and the output."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    batch, tokens, heads, depth = query.shape
    weights = np.zeros((batch, heads, query.shape[1], key.shape[1]))
    half = depth // 2
    for b, h, i in np.ndindex(batch, heads, tokens):
        logits = []
        for j in range(key.shape[1]):
            q, k = query[b, i, h], key[b, j, h]
            distance = np.sum((q[:half] - k[:half]) ** 2) + np.sum((q[half:] - k[half:]) ** 2)
            repulsive = distance * delta
            attractive = np.exp(-repulsive)
            logits.append(q @ k / np.sqrt(depth) + alpha * attractive - beta * repulsive)
        weights[b, h, i] = np.exp(logits - np.max(logits)) / np.exp(logits - np.max(logits)).sum()
    return weights, np.einsum("bhqk,bkhd->bqhd", weights, value)


@pytest.mark.parametrize(("alpha", "beta", "delta"), FORCES)
def test_logits_equal_equations_5_to_7(alpha, beta, delta):
    query, key, _ = random_qkv()
    logits = jax.jit(fda_logits)(query, key, alpha=alpha, beta=beta, delta=delta)
    for b, h, i, j in np.ndindex(logits.shape):
        q, k = query[b, i, h].astype(np.float64), key[b, j, h].astype(np.float64)
        repulsion = delta * (np.sum((q[:4] - k[:4]) ** 2) + np.sum((q[4:] - k[4:]) ** 2))
        expected = q @ k / np.sqrt(8) + alpha * np.exp(-repulsion) - beta * repulsion
        np.testing.assert_allclose(logits[b, h, i, j], expected, atol=1e-5)


@pytest.mark.parametrize(("alpha", "beta", "delta"), FORCES)
def test_output_and_rows_equal_the_pairwise_attention(alpha, beta, delta):
    query, key, value = random_qkv(1)
    forces = {"alpha": alpha, "beta": beta, "delta": delta}
    weights, expected = pairwise_attention(query, key, value, **forces)
    np.testing.assert_allclose(attend(query, key, value, **forces), expected, atol=1e-5)
    rows = attention_rows(query[:, [3, 0]], key, **forces)
    np.testing.assert_allclose(rows, weights[:, :, [3, 0]], atol=1e-5)


@pytest.mark.parametrize(("alpha", "beta", "delta"), FORCES)
def test_gradients_equal_finite_differences_of_the_pairwise_attention(alpha, beta, delta):
    qkv = random_qkv(2, (1, 4, 2, 6))
    probe = np.random.default_rng(3).normal(size=qkv[0].shape)

    def loss(qkv):
        return jnp.sum(attend(*qkv, alpha=alpha, beta=beta, delta=delta) * probe)

    gradient, step = jax.grad(loss)(jnp.array(qkv)), 1e-6
    for at in np.ndindex(qkv.shape):
        values = []
        for sign in (1, -1):
            moved = qkv.astype(np.float64)
            moved[at] += sign * step
            values.append(np.sum(pairwise_attention(*moved, alpha, beta, delta)[1] * probe))
        np.testing.assert_allclose(gradient[at], (values[0] - values[1]) / (2 * step), atol=1e-5)


def test_identical_tokens_feel_no_repulsion_and_give_finite_gradients():
    token = np.full((1, 3, 1, 4), 7.3, np.float32)
    logits = fda_logits(token, token, alpha=0.5, beta=0.5, delta=1.0)
    np.testing.assert_allclose(logits, 4 * 7.3**2 / 2 + 0.5, rtol=1e-5)
    gradient = jax.grad(lambda x: attend(x, x, x, alpha=0.5, beta=0.5, delta=1.0).sum())(token)
    assert np.isfinite(gradient).all()


def test_bfloat16_inputs_accumulate_in_float32():
    query, key, value = (jnp.array(x, jnp.bfloat16) for x in random_qkv(4, (1, 64, 2, 64)))
    forces = {"alpha": 0.1, "beta": 0.1, "delta": 1 / 64}
    exact = pairwise_attention(*(np.asarray(x, np.float32) for x in (query, key, value)), **forces)
    out = attend(query, key, value, **forces)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(np.float32), exact[1], atol=8e-3)
    np.testing.assert_allclose(attention_rows(query, key, **forces), exact[0], atol=1e-5)


@pytest.mark.parametrize(("depth", "fused"), [(64, True), (48, False), (8, False)])
def test_auto_is_the_kernel_where_it_can_run(monkeypatch, depth, fused):
    shape, dtype = (2, 40, 3, depth), jnp.bfloat16
    qkv = [jax.ShapeDtypeStruct(shape, dtype)] * 3

    def program():
        return str(jax.make_jaxpr(lambda *qkv: attend(*qkv, alpha=0.1, beta=0.1, delta=0.1))(*qkv))

    map_type = "f32[2,3,40,40]"  # an attention map [B, H, N, N]
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert map_type in program()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    text = program()
    assert ("pallas_call" in text) == fused
    assert (map_type not in text) == fused


def test_the_kernel_is_refused_where_it_cannot_run(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    query = jnp.ones((1, 4, 2, 64), jnp.bfloat16)
    with pytest.raises(ValueError, match=r"needs a GPU, 16-bit floats .* got cpu, bfloat16 and 64"):
        attend(query, query, query, implementation="fused")


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"\(1, 4, 2, 8\) and \(1, 5, 2, 8\)"):
        fda_logits(np.ones((1, 4, 2, 8)), np.ones((1, 5, 2, 8)), alpha=0.1, beta=0.1, delta=0.1)
    with pytest.raises(ValueError, match=r"\(1, 5, 2, 8\)"):
        attend(np.ones((1, 4, 2, 8)), np.ones((1, 4, 2, 8)), np.ones((1, 5, 2, 8)))
