"""Matrix products and convolutions of JAX in ONNX. Parameters are those of jax.lax."""

import math
from collections.abc import Sequence

import numpy as np
from jax.extend.core import JaxprEqn as Equation

from esat_jax.exporting.onnx_graph import Graph, Tensor, constant, require


def dot_general(graph: Graph, equation: Equation, a: Tensor, b: Tensor) -> Tensor:
    """A matrix product, the side computed as rows that has to be moved less."""
    (sum_a, sum_b), (batch_a, batch_b) = equation.params["dimension_numbers"]
    out = equation.outvars[0].aval
    a, b = (graph.cast(x, out.dtype) for x in (a, b))  # as it accumulates
    pairs = sorted(zip(sum_a, sum_b, strict=True))  # the same product in any order
    sum_a, sum_b = [i for i, _ in pairs], [j for _, j in pairs]
    free_a = [i for i in range(len(a.shape)) if i not in {*sum_a, *batch_a}]
    free_b = [i for i in range(len(b.shape)) if i not in {*sum_b, *batch_b}]
    if not free_a and not free_b:
        a, b = (
            graph.transpose(x, [*batch, *rest])
            for x, batch, rest in ((a, batch_a, sum_a), (b, batch_b, sum_b))
        )
        product = graph.add("Mul", [a, b], a.shape, out.dtype)
        axes = constant(np.arange(len(batch_a), len(a.shape)))
        return graph.add("ReduceSum", [product, axes], out.shape, out.dtype, keepdims=0)
    rows = (a, batch_a, free_a, sum_a), (b, batch_b, free_b, sum_b)
    if _moved(*rows[0], first=True) + _moved(*rows[1], first=False) <= (
        _moved(*rows[1], first=True) + _moved(*rows[0], first=False) + math.prod(out.shape)
    ):
        return graph.reshape(_matmul(graph, *rows, out.dtype), out.shape)
    product = _matmul(graph, *rows[::-1], out.dtype)
    count = len(batch_a)
    shape = [*out.shape[:count], *(b.shape[i] for i in free_b), *(a.shape[i] for i in free_a)]
    order = [*range(count), *range(count + len(free_b), len(shape))]
    return graph.transpose(
        graph.reshape(product, shape), [*order, *range(count, count + len(free_b))]
    )


Operand = tuple[Tensor, Sequence[int], Sequence[int], Sequence[int]]  # batch, free, summed axes


def _moved(
    x: Tensor, batch: Sequence[int], free: Sequence[int], summed: Sequence[int], *, first: bool
) -> int:
    """Elements that a transpose moves before `x` is the first or second factor of a product."""
    order = [*batch, *free, *summed] if first else [*batch, *summed, *free]
    moves = x.array is None and order != sorted(order)
    return math.prod(x.shape) if moves else 0


def _matmul(graph: Graph, a: Operand, b: Operand, dtype: np.dtype) -> Tensor:
    """[*batch, free of a, free of b], where several free axes may be one."""
    matrices = []
    for (x, batch, free, summed), first in ((a, True), (b, False)):
        order = [*batch, *free, *summed] if first else [*batch, *summed, *free]
        sides = [[x.shape[i] for i in axes] for axes in (batch, free, summed)]
        # A product without batch axes takes any number of rows' axes.
        rows = sides[1] if first and not batch else [math.prod(sides[1])]
        columns = [math.prod(sides[2])]
        shape = [*sides[0], *rows, *columns] if first else [*sides[0], *columns, *rows]
        matrices.append(graph.reshape(graph.transpose(x, order), shape))
    shape = [*matrices[0].shape[:-1], matrices[1].shape[-1]]
    return graph.add("MatMul", matrices, shape, dtype)


def conv(graph: Graph, equation: Equation, x: Tensor, kernel: Tensor) -> Tensor:
    """A convolution, its axes in the order of ONNX: batch, channels, rows, columns."""
    params, out = equation.params, equation.outvars[0].aval
    numbers = params["dimension_numbers"]
    plain = set(params["lhs_dilation"]) == {1} and params["batch_group_count"] == 1
    require(plain, equation, "input dilation or batch groups")
    first, last = zip(*params["padding"], strict=True)
    x, kernel = graph.transpose(x, numbers.lhs_spec), graph.transpose(kernel, numbers.rhs_spec)
    result = graph.add(
        "Conv",
        [graph.cast(x, out.dtype), graph.cast(kernel, out.dtype)],
        [out.shape[i] for i in numbers.out_spec],
        out.dtype,
        pads=[*first, *last],
        strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return graph.transpose(result, np.argsort(numbers.out_spec))
