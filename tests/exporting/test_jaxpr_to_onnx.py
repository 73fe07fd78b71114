"""Each operation as onnxruntime computes it, beside JAX itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime", reason="needs requirements-export.txt")
pytest.importorskip("onnx", reason="needs requirements-export.txt")

from esat_jax.exporting.jaxpr_to_onnx import convert  # noqa: E402
from esat_jax.exporting.onnx_graph import OPSET  # noqa: E402


def run(model, *inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [x.name for x in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def both(function, *inputs, constants=None):
    """What onnxruntime and JAX make of the inputs; `function` maps arrays to a tuple."""
    constants = constants or {}
    shapes = {f"x{i}": jax.ShapeDtypeStruct(x.shape, x.dtype) for i, x in enumerate(inputs)}
    expected = jax.device_get(function(constants, *map(jnp.asarray, inputs)))
    names = [f"y{i}" for i in range(len(expected))]
    return run(convert(function, constants, shapes, names), *inputs), expected


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


def take(axis):
    return lambda x, i: jnp.take_along_axis(x, i, axis=axis)


CASES = {
    "product with a kernel": (lambda x, y: x @ y, normal(2, 5, 7), normal(7, 3)),
    "product of patches": (
        lambda x, y: jnp.einsum("abhwc,hwcd->abd", x, y), normal(2, 3, 4, 4, 3), normal(4, 4, 3, 6),
    ),
    "query and key": (
        lambda x, y: jnp.einsum("bqhd,bkhd->bhqk", x, y), normal(2, 5, 3, 4), normal(2, 6, 3, 4),
    ),
    "weights and value": (
        lambda x, y: jnp.einsum("bhqk,bkhd->bqhd", x, y), normal(2, 3, 5, 6), normal(2, 6, 3, 4),
    ),
    "squared norms": (lambda x: jnp.einsum("bqhd,bqhd->bhq", x, x), normal(2, 5, 3, 4)),
    "sum of outer products": (lambda x, y: jnp.einsum("bhrx,br->bx", x, y), normal(2, 3, 4, 5),
                              normal(2, 4)),
    "half floats, accumulated in float32": (
        lambda x, y: jnp.einsum("ik,jk->ij", x, y, preferred_element_type=jnp.float32),
        normal(3, 300, dtype=np.float16), normal(4, 300, dtype=np.float16),
    ),
    "convolution": (
        lambda x, y: jax.lax.conv_general_dilated(
            x, y, (2, 1), ((1, 0), (2, 1)), rhs_dilation=(1, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC")),
        normal(2, 8, 9, 4), normal(3, 3, 4, 5),
    ),
    "tokens of a few cells": (take(1), normal(1, 9, 4), np.array([[[3], [0], [8], [8]]])),
    "one number of a row": (take(1), normal(1, 7), np.array([[6, 0, 2]])),
    "a few queries": (lambda x: x[:, jnp.array([4, 1])], normal(1, 5, 3, 4)),
    "numbers at places": (lambda x: x[np.arange(3), jnp.array([5, 0, 2])], normal(3, 6)),
    "rows written": (
        lambda x, i: jnp.zeros((2, 7, 3)).at[jnp.arange(2)[:, None], i].set(x),
        normal(2, 4, 3), np.array([[6, 0, 1, 3], [2, 5, 4, 0]]),
    ),
    "quotient and remainder": (
        lambda x: jnp.stack([x // 4, x % 4, x // -3], axis=1), np.arange(-9, 9, dtype=np.int32),
    ),
    "choice of truth values": (lambda x: jnp.where(x > 0, x < 1, x < -1), normal(4, 5)),
    "any": (lambda x: (x > 1).any(axis=(0, 2)), normal(4, 5, 3)),
    "logic": (lambda x: ~((x > 0) & (x < 1)) | (x != x[:1]) | (x >= 2) | (x <= -1), normal(4, 5)),
    "functions": (
        lambda x: (jnp.exp(-x), jax.lax.erf(x), jax.nn.sigmoid(x), jnp.sign(x), jnp.floor(x),
                   jnp.ceil(x), jnp.sqrt(abs(x)), jax.lax.rsqrt(abs(x)), jnp.square(x)),
        normal(4, 5),
    ),
    "clipping": (lambda x: jnp.clip(jax.nn.relu(x), 0.1, 0.9), normal(4, 5)),
    "softmax": (lambda x: jax.nn.softmax(x, axis=-1), normal(2, 3, 9)),
    "parts": (
        lambda x: (*jnp.split(x, [2, 5], axis=1), x[:, ::2, 1:3], x[:, None, 0],
                   jnp.concatenate([x, x[:, :1]], axis=1)),
        normal(2, 9, 4),
    ),
    "moved axes twice": (lambda x: x.transpose(2, 0, 1).transpose(1, 0, 2) + 1, normal(2, 3, 4)),
    "repeated rows": (lambda x: jnp.broadcast_to(x[:, None], (3, 4, 5)), normal(3, 5)),
    "repeated rows, added": (
        lambda x, y: (x[:, None, :] + y[None, :, :]).reshape(-1), normal(3, 5), normal(4, 5),
    ),
    "types": (lambda x: (x.astype(jnp.float32) / 255, x > 7, (x > 7).astype(jnp.float32)),
              np.arange(256, dtype=np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations(name):
    function, *inputs = CASES[name]
    inputs = [x.astype(np.int32) if x.dtype == np.int64 else x for x in inputs]

    def results(constants, *arrays):
        found = function(*arrays)
        return found if isinstance(found, tuple) else (found,)

    found, expected = both(results, *inputs)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)


def test_of_equal_scores_the_first_are_kept_and_the_first_wins():
    scores = np.repeat(np.array([[3.0, 7.0, 5.0]], np.float32), 20, axis=1)  # each 20 times
    order = np.random.default_rng(0).permutation(60)
    scores = scores[:, order]

    def best(constants, x):
        return (*jax.lax.top_k(x, 30), x.argmax(axis=1))

    found, expected = both(best, scores)
    sevens, fives = (np.flatnonzero(scores[0] == value) for value in (7, 5))
    np.testing.assert_array_equal(found[1][0], [*sevens, *fives[:10]])
    assert found[2][0] == sevens[0]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_constants_keep_their_names_and_what_follows_from_them_is_computed():
    constants = {"a/kernel": normal(4, 3), "a/bias": normal(1, 3), "unread": normal(9)}

    def layer(constants, x, unread):
        return (x @ constants["a/kernel"] + jax.lax.rsqrt(jnp.exp(constants["a/bias"])),)

    shape = jax.ShapeDtypeStruct((2, 4), np.float32)
    model = convert(layer, constants, {"x": shape, "unread": shape}, ["y"], name="layer")
    stored = {x.name for x in model.graph.initializer}
    assert "a/kernel" in stored
    assert not {"unread", "a/bias"} & stored
    assert [x.name for x in model.graph.input] == ["x"]
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Identity"]
    assert [opset.version for opset in model.opset_import] == [OPSET]
    x = normal(2, 4)
    (found,) = run(model, x)
    np.testing.assert_allclose(found, layer(constants, x, x)[0], rtol=1e-6)


def refused(function, *shape):
    inputs = {"x": jax.ShapeDtypeStruct(shape, np.float32)}
    with pytest.raises(ValueError) as error:  # noqa: PT011 the words are checked
        convert(lambda constants, x: (function(x),), {}, inputs, ["y"])
    return str(error.value)


def test_an_operation_without_a_counterpart_is_named():
    assert "the network's operation 'sort' has no counterpart" in refused(jnp.sort, 3)
    dilated = functools.partial(
        jax.lax.conv_general_dilated,
        rhs=jnp.ones((1, 1, 1)),
        window_strides=(1,),
        padding=((0, 0),),
        lhs_dilation=(2,),
    )
    assert "conv_general_dilated with input dilation" in refused(dilated, 1, 1, 5)
    batched = functools.partial(jnp.take_along_axis, indices=jnp.zeros((2, 1), int), axis=1)
    assert "gather with batching axes" in refused(batched, 2, 5)
    windows = jax.lax.GatherDimensionNumbers((0, 1), (), (0,))
    part = functools.partial(
        jax.lax.gather,
        start_indices=jnp.array([1]),
        dimension_numbers=windows,
        slice_sizes=(2, 5),
    )
    assert "gather with anything but whole rows" in refused(part, 4, 5)
