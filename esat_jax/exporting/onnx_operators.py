"""What each operation of JAX that is not elementwise is in ONNX (opset 17).

All but `broadcast_in_dim` and `stop_gradient` take whole tensors, no side of 1 standing for more.
Parameters are those of jax.lax.
"""

import numpy as np
from jax.extend.core import JaxprEqn as Equation

from esat_jax.exporting.onnx_graph import Graph, Tensor, constant
from esat_jax.exporting.onnx_indexing import gather, scatter
from esat_jax.exporting.onnx_products import conv, dot_general


def _broadcast_in_dim(graph: Graph, equation: Equation, x: Tensor, *_: Tensor) -> Tensor:
    """New axes of side 1; they are repeated where an operator does not do it by itself."""
    shape = [1] * len(equation.params["shape"])
    for side, axis in zip(x.shape, equation.params["broadcast_dimensions"], strict=True):
        shape[axis] = side
    return graph.reshape(x, shape)


def _same(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return x


def _reshape(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.reshape(x, equation.outvars[0].aval.shape)


def _transpose(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.transpose(x, equation.params["permutation"])


def _slice(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    start, stop = equation.params["start_indices"], equation.params["limit_indices"]
    step = equation.params["strides"] or [1] * len(start)
    axes = [i for i in range(len(start)) if (start[i], stop[i], step[i]) != (0, x.shape[i], 1)]
    if not axes:
        return x
    numbers = ([values[i] for i in axes] for values in (start, stop, range(len(start)), step))
    inputs = [constant(np.array(values, np.int64)) for values in numbers]
    return graph.add("Slice", [x, *inputs], equation.outvars[0].aval.shape, x.dtype)


def _split(graph: Graph, equation: Equation, x: Tensor) -> list[Tensor]:
    sizes = constant(np.array(equation.params["sizes"], np.int64))
    shapes = [variable.aval.shape for variable in equation.outvars]
    dtypes = [x.dtype] * len(shapes)
    return graph.add_many("Split", [x, sizes], shapes, dtypes, axis=equation.params["axis"])


def _concatenate(graph: Graph, equation: Equation, *parts: Tensor) -> Tensor:
    shape, axis = equation.outvars[0].aval.shape, equation.params["dimension"]
    return graph.add("Concat", parts, shape, parts[0].dtype, axis=axis)


def _stack(graph: Graph, equation: Equation, *parts: Tensor) -> Tensor:
    shape, axis = equation.outvars[0].aval.shape, equation.params["axis"]
    slices = [graph.reshape(x, [*shape[:axis], 1, *shape[axis + 1 :]]) for x in parts]
    return graph.add("Concat", slices, shape, parts[0].dtype, axis=axis)


def _reduce_sum(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    axes = constant(np.array(equation.params["axes"], np.int64))
    return graph.add("ReduceSum", [x, axes], equation.outvars[0].aval.shape, x.dtype, keepdims=0)


def _reduce_max(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    axes, shape = list(equation.params["axes"]), equation.outvars[0].aval.shape
    return graph.add("ReduceMax", [x], shape, x.dtype, axes=axes, keepdims=0)


def _reduce_or(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.cast(_reduce_max(graph, equation, graph.cast(x, np.int32)), bool)


def _argmax(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    """The first of equal ones in both."""
    (axis,), out = equation.params["axes"], equation.outvars[0].aval
    index = graph.add("ArgMax", [x], out.shape, np.int64, axis=axis, keepdims=0)
    return graph.cast(index, out.dtype)


def _top_k(graph: Graph, equation: Equation, x: Tensor) -> list[Tensor]:
    """Best first; of equal ones those with the lower index, in both."""
    axis, k = equation.params["axis"], constant(np.array([equation.params["k"]], np.int64))
    values, index = (variable.aval for variable in equation.outvars)
    results = graph.add_many(
        "TopK", [x, k], [values.shape, index.shape], [x.dtype, np.int64], axis=axis, sorted=1
    )
    return [results[0], graph.cast(results[1], index.dtype)]


OPERATORS = {
    "argmax": _argmax,
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "conv_general_dilated": conv,
    "dot_general": dot_general,
    "gather": gather,
    "reduce_max": _reduce_max,
    "reduce_or": _reduce_or,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "scatter": scatter,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "stack": _stack,
    "stop_gradient": _same,
    "top_k": _top_k,
    "transpose": _transpose,
}
