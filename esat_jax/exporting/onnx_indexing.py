"""Gather and scatter of JAX in ONNX, which read and write whole rows of a table.

A row is as long as the last axes that are taken whole. Parameters are those of jax.lax.
"""

import math
from collections.abc import Sequence

import numpy as np
from jax.extend.core import JaxprEqn as Equation

from esat_jax.exporting.onnx_graph import Graph, Tensor, constant, require


def gather(graph: Graph, equation: Equation, x: Tensor, start: Tensor) -> Tensor:
    """Rows of `x`, as long as its last axes that are taken whole."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    shape = equation.outvars[0].aval.shape
    require(not numbers.operand_batching_dims, equation, "batching axes")
    window = [i for i in range(len(x.shape)) if i not in numbers.collapsed_slice_dims]
    at = dict(zip(window, numbers.offset_dims, strict=True))  # axis of x -> of the result
    last = 0
    for axis in reversed(range(len(x.shape))):
        whole = sizes[axis] == x.shape[axis] and axis not in numbers.start_index_map
        if not whole or at.get(axis) != len(shape) - last - 1:
            break
        last += 1
    rows, row = x.shape[: len(x.shape) - last], x.shape[len(x.shape) - last :]
    require(set(sizes[: len(rows)]) <= {1}, equation, "anything but whole rows")
    leading = shape[: len(shape) - last]
    batch = [i for i in range(len(leading)) if i not in numbers.offset_dims]
    index = _row_index(graph, start, numbers.start_index_map, rows, leading, batch)
    table = graph.reshape(x, [math.prod(rows), *row])
    return graph.add("Gather", [table, graph.expand(index, leading)], shape, x.dtype, axis=0)


def scatter(graph: Graph, equation: Equation, x: Tensor, start: Tensor, updates: Tensor) -> Tensor:
    """Rows of `x` replaced, as long as its last axes."""
    numbers = equation.params["dimension_numbers"]
    count = len(start.shape) - 1
    rows, row = x.shape[: len(numbers.inserted_window_dims)], updates.shape[count:]
    require(
        not numbers.operand_batching_dims
        and tuple(numbers.inserted_window_dims) == tuple(range(len(rows)))
        and tuple(numbers.update_window_dims) == tuple(range(count, len(updates.shape)))
        and row == x.shape[len(rows) :],
        equation,
        "anything but whole rows",
    )
    leading = start.shape[:-1]
    index = _row_index(
        graph, start, numbers.scatter_dims_to_operand_dims, rows, leading, range(count)
    )
    table = graph.reshape(x, [math.prod(rows), *row])
    places = graph.reshape(index, [math.prod(leading), 1])
    updates = graph.reshape(updates, [math.prod(leading), *row])
    written = graph.add("ScatterND", [table, places, updates], table.shape, x.dtype)
    return graph.reshape(written, x.shape)


def _row_index(
    graph: Graph,
    start: Tensor,
    axes: Sequence[int],
    rows: Sequence[int],
    leading: Sequence[int],
    batch: Sequence[int],
) -> Tensor:
    """Numbers of rows, int64, of the rank of `leading`: `start` [..., len(axes)] as one number.

    Args: axes: of `rows` that the columns of `start` count; batch: of `leading` that `start` has.
    """
    shape = [leading[i] if i in batch else 1 for i in range(len(leading))]
    total = constant(np.zeros([1] * len(leading), np.int64))
    for column, axis in enumerate(axes):
        if rows[axis] == 1:
            continue
        bounds = [constant(np.array([n], np.int64)) for n in (column, column + 1, -1)]
        part = start
        if start.shape[-1] > 1:
            part = graph.add("Slice", [start, *bounds], [*start.shape[:-1], 1], start.dtype)
        part = graph.reshape(graph.cast(part, np.int64), shape)
        step = math.prod(rows[axis + 1 :])
        if step > 1:
            part = graph.add("Mul", [part, constant(np.int64(step))], shape, np.int64)
        total = (
            part if total.array is not None else graph.add("Add", [total, part], shape, np.int64)
        )
    return total
