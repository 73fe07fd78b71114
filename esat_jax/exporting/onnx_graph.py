"""ONNX graphs, written node by node: what `jaxpr_to_onnx` writes a function of JAX with."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from jax.extend.core import JaxprEqn as Equation
from onnx import helper, numpy_helper

OPSET = 17
_IR_VERSION = 8  # the one of opset 17, which old runtimes read too


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph, or a constant.

    Attributes:
      shape: sides of 1 stand for any length, as operators broadcast; see `Graph.expand`.
      name: empty for a constant that has none of its own.
      array: the value of a constant, else None.
      source, permutation: the tensor that this one is a transpose of, or None and ().
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    name: str = ""
    array: np.ndarray | None = None
    source: "Tensor | None" = None
    permutation: tuple[int, ...] = ()


def constant(array: np.ndarray, name: str = "") -> Tensor:
    """A constant; it gets into the file if a node reads it."""
    array = np.asarray(array)
    return Tensor(array.shape, array.dtype, name, array)


class Graph:
    """Nodes so far. The same operator on the same tensors is written once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._constant_names: dict[tuple, str] = {}
        self._written: dict[tuple, str] = {}

    def add(
        self,
        operator: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int],
        dtype: np.dtype,
        **attributes: object,
    ) -> Tensor:
        """Writes a node with one result of the given shape and type."""
        return self.add_many(operator, inputs, [shape], [dtype], **attributes)[0]

    def add_many(
        self,
        operator: str,
        inputs: Sequence[Tensor],
        shapes: Sequence[Sequence[int]],
        dtypes: Sequence[np.dtype],
        **attributes: object,
    ) -> list[Tensor]:
        """Writes a node with several results."""
        names = [self._name(tensor) for tensor in inputs]
        # The type tells casts apart, whose attribute is a number of ONNX.
        key = (operator, *names, str(sorted(attributes.items())), str(dtypes))
        if key not in self._written:
            name = f"{operator}_{len(self._nodes)}"
            outputs = [name, *(f"{name}_{i}" for i in range(1, len(shapes)))]
            self._nodes.append(helper.make_node(operator, names, outputs, name, **attributes))
            self._written[key] = name
        name = self._written[key]
        names = [name, *(f"{name}_{i}" for i in range(1, len(shapes)))]
        return [
            Tensor(tuple(shape), np.dtype(dtype), name)
            for name, shape, dtype in zip(names, shapes, dtypes, strict=True)
        ]

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The elements of `x`, row by row, in another shape."""
        shape = tuple(int(side) for side in shape)
        if shape == x.shape:
            return x
        if x.array is not None:
            return constant(x.array.reshape(shape), x.name)
        return self.add("Reshape", [x, constant(np.array(shape, np.int64))], shape, x.dtype)

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """Axis `permutation[i]` of `x` becomes axis i; transposes of transposes become one."""
        permutation = tuple(int(axis) for axis in permutation)
        if x.source is not None:
            permutation = tuple(x.permutation[axis] for axis in permutation)
            x = x.source
        if permutation == tuple(range(len(x.shape))):
            return x
        if x.array is not None:
            return constant(x.array.transpose(permutation), x.name and f"{x.name}/transposed")
        shape = [x.shape[axis] for axis in permutation]
        out = self.add("Transpose", [x], shape, x.dtype, perm=list(permutation))
        return dataclasses.replace(out, source=x, permutation=permutation)

    def expand(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """`x` with its sides of 1 repeated to `shape`."""
        shape = tuple(int(side) for side in shape)
        if shape == x.shape:
            return x
        if x.array is not None:
            return constant(np.broadcast_to(x.array, shape))
        return self.add("Expand", [x, constant(np.array(shape, np.int64))], shape, x.dtype)

    def cast(self, x: Tensor, dtype: np.dtype) -> Tensor:
        """The numbers of `x` in another type."""
        dtype = np.dtype(dtype)
        if dtype == x.dtype:
            return x
        if x.array is not None:
            return constant(x.array.astype(dtype), x.name)
        return self.add("Cast", [x], x.shape, dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def model(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Mapping[str, Tensor],
    ) -> onnx.ModelProto:
        """The checked model; inputs, nodes and constants that no output needs are left out."""
        for output, tensor in outputs.items():
            self._nodes.append(helper.make_node("Identity", [self._name(tensor)], [output], output))
        needed, nodes = set(outputs), []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(node.input)
        graph = helper.make_graph(
            nodes[::-1],
            name,
            [_value_info(x.name, x) for x in inputs if x.name in needed],
            [_value_info(output, tensor) for output, tensor in outputs.items()],
            [
                numpy_helper.from_array(np.ascontiguousarray(array), constant_name)
                for constant_name, array in self._constants.items()
                if constant_name in needed
            ],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        model.producer_name = "esat-jax"
        onnx.checker.check_model(model, full_check=True)
        return model

    def _name(self, tensor: Tensor) -> str:
        """Its name in the file; constants of one value have one."""
        if tensor.array is None:
            return tensor.name
        array = np.ascontiguousarray(tensor.array)
        key = (array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._constant_names:
            name = tensor.name or f"constant_{len(self._constants)}"
            name = f"{name}_{len(self._constants)}" if name in self._constants else name
            self._constant_names[key], self._constants[name] = name, array
        return self._constant_names[key]


def require(met: bool, equation: Equation, what: str) -> None:
    """Raises ValueError for an operation of JAX with `what`, unless `met`."""
    if not met:
        raise ValueError(f"the network's {equation.primitive.name} with {what} is not written here")


def _value_info(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    return helper.make_tensor_value_info(name, kind, tensor.shape)
