"""Operations of JAX that ONNX (opset 17) computes element by element.

They take tensors whose sides of 1 are not repeated yet.
"""

from collections.abc import Callable

import numpy as np
from jax.extend.core import JaxprEqn as Equation

from esat_jax.exporting.onnx_graph import Graph, Tensor, require


def _elementwise(operator: str, **attributes: object) -> Callable[..., Tensor]:
    """An operator that broadcasts; its result has JAX's type."""

    def write(graph: Graph, equation: Equation, *inputs: Tensor) -> Tensor:
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        return graph.add(operator, inputs, shape, equation.outvars[0].aval.dtype, **attributes)

    return write


def _not_equal(graph: Graph, equation: Equation, a: Tensor, b: Tensor) -> Tensor:
    equal = _elementwise("Equal")(graph, equation, a, b)
    return graph.add("Not", [equal], equal.shape, bool)


def _logical(operator: str) -> Callable[..., Tensor]:
    def write(graph: Graph, equation: Equation, *inputs: Tensor) -> Tensor:
        require(all(x.dtype == bool for x in inputs), equation, "other types than bool")
        return _elementwise(operator)(graph, equation, *inputs)

    return write


def _rsqrt(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.add("Reciprocal", [graph.add("Sqrt", [x], x.shape, x.dtype)], x.shape, x.dtype)


def _square(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.add("Mul", [x, x], x.shape, x.dtype)


def _select(graph: Graph, equation: Equation, which: Tensor, *cases: Tensor) -> Tensor:
    require(which.dtype == bool, equation, "more than two cases")
    if cases[0].dtype != bool:
        return _elementwise("Where")(graph, equation, which, *cases[::-1])
    # onnxruntime has no Where of truth values.
    whether = graph.add("Not", [which], which.shape, bool)
    parts = [
        _elementwise("And")(graph, equation, *pair)
        for pair in zip((whether, which), cases, strict=True)
    ]
    return _elementwise("Or")(graph, equation, *parts)


def _convert(graph: Graph, equation: Equation, x: Tensor) -> Tensor:
    return graph.cast(x, equation.params["new_dtype"])


ELEMENTWISE = {
    "abs": _elementwise("Abs"),
    "add": _elementwise("Add"),
    "and": _logical("And"),
    "ceil": _elementwise("Ceil"),
    "convert_element_type": _convert,
    "div": _elementwise("Div"),
    "eq": _elementwise("Equal"),
    "erf": _elementwise("Erf"),
    "exp": _elementwise("Exp"),
    "floor": _elementwise("Floor"),
    "ge": _elementwise("GreaterOrEqual"),
    "gt": _elementwise("Greater"),
    "le": _elementwise("LessOrEqual"),
    "logistic": _elementwise("Sigmoid"),
    "lt": _elementwise("Less"),
    "max": _elementwise("Max"),
    "min": _elementwise("Min"),
    "mul": _elementwise("Mul"),
    "ne": _not_equal,
    "neg": _elementwise("Neg"),
    "not": _logical("Not"),
    "or": _logical("Or"),
    "rem": _elementwise("Mod", fmod=1),
    "rsqrt": _rsqrt,
    "select_n": _select,
    "sign": _elementwise("Sign"),
    "sqrt": _elementwise("Sqrt"),
    "square": _square,
    "sub": _elementwise("Sub"),
}
