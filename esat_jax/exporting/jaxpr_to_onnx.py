"""Functions of JAX as ONNX graphs: the operations that trackers use, and no others.

A function is traced with fixed shapes; what depends on constants alone is computed here. Indices
that the function makes are taken to lie in range, as those of `argmax` and `top_k` do.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
import onnx
from jax.extend import core

from esat_jax.exporting.onnx_elementwise import ELEMENTWISE
from esat_jax.exporting.onnx_graph import Graph, Tensor, constant
from esat_jax.exporting.onnx_operators import OPERATORS

_INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr",
            "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}  # fmt: skip


def convert(
    function: Callable,
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    outputs: Sequence[str],
    *,
    name: str = "graph",
) -> onnx.ModelProto:
    """The ONNX model of `function(constants, *inputs)`, whose tuple of results is `outputs`.

    Args:
      constants: by the names that they get in the file; kernels keep theirs unless two are equal.
      inputs: shapes and types by name, in order; those that no result needs are left out.
    Raises: ValueError for an operation that has no counterpart here.
    """
    traced = jax.make_jaxpr(function)(dict(constants), *inputs.values())
    graph = Graph()
    arguments = [Tensor(x.shape, np.dtype(x.dtype), name) for name, x in inputs.items()]
    leaves = [constant(constants[name], name) for name in sorted(constants)]
    results = _run(graph, traced, [*leaves, *arguments])
    shaped = [
        graph.expand(x, variable.aval.shape)
        for x, variable in zip(results, traced.jaxpr.outvars, strict=True)
    ]
    named = dict(zip(outputs, shaped, strict=True))
    return graph.model(name, arguments, named)


def _run(graph: Graph, closed: core.ClosedJaxpr, arguments: Sequence[Tensor]) -> list[Tensor]:
    """Writes the nodes of a traced function and returns its results."""
    variables = dict(zip(closed.jaxpr.invars, arguments, strict=True))
    consts = [constant(np.asarray(value)) for value in closed.consts]
    variables.update(zip(closed.jaxpr.constvars, consts, strict=True))

    def read(atom: core.Var | core.Literal) -> Tensor:
        if isinstance(atom, core.Literal):
            return constant(np.asarray(atom.val, atom.aval.dtype))
        return variables[atom]

    for equation in closed.jaxpr.eqns:
        operation, given = equation.primitive.name, [read(atom) for atom in equation.invars]
        if operation in _INLINED:
            body = equation.params[_INLINED[operation]]
            results = _run(graph, _closed(body), given)
        elif operation in ("broadcast_in_dim", "stop_gradient"):
            results = [OPERATORS[operation](graph, equation, *given)]
        elif all(x.array is not None for x in given):
            results = _computed(equation, given)
        elif operation in ELEMENTWISE:
            results = [ELEMENTWISE[operation](graph, equation, *given)]
        elif operation in OPERATORS:
            whole = [
                graph.expand(x, atom.aval.shape)
                for x, atom in zip(given, equation.invars, strict=True)
            ]
            results = OPERATORS[operation](graph, equation, *whole)
            results = results if isinstance(results, list) else [results]
        else:
            raise ValueError(
                f"the network's operation {operation!r} has no counterpart in ONNX here; "
                "add it to esat_jax/exporting/onnx_operators.py."
            )
        variables.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _closed(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> core.ClosedJaxpr:
    return jaxpr if hasattr(jaxpr, "consts") else core.ClosedJaxpr(jaxpr, ())


def _computed(equation: core.JaxprEqn, given: Sequence[Tensor]) -> list[Tensor]:
    """The results of an operation on constants."""
    arrays = [x.array for x in given]
    if equation.primitive.name in ELEMENTWISE:  # constants that are not repeated yet stay so
        rank = len(equation.outvars[0].aval.shape)
        shapes = [x.shape for x in arrays if x.ndim == rank]
        common = functools.reduce(np.broadcast_shapes, shapes, ())
        arrays = [np.broadcast_to(x, common) for x in arrays]
    else:
        shapes = [atom.aval.shape for atom in equation.invars]
        arrays = [np.broadcast_to(x, shape) for x, shape in zip(arrays, shapes, strict=True)]
    out = equation.primitive.bind(*map(jax.numpy.asarray, arrays), **equation.params)
    out = out if equation.primitive.multiple_results else [out]
    return [constant(np.asarray(value)) for value in out]
