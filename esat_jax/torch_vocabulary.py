"""The names a PyTorch checkpoint may mention, and what each becomes: numpy arrays, not tensors."""

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

from esat_jax.inert_pickle import Global, Inert, PickleError, Vocabulary

STORAGE_DTYPES = {
    "torch.FloatStorage": np.float32,
    "torch.DoubleStorage": np.float64,
    "torch.HalfStorage": np.float16,
    "torch.BFloat16Storage": ml_dtypes.bfloat16,
    "torch.LongStorage": np.int64,
    "torch.IntStorage": np.int32,
    "torch.ShortStorage": np.int16,
    "torch.CharStorage": np.int8,
    "torch.ByteStorage": np.uint8,
    "torch.BoolStorage": np.bool_,
    "torch.ComplexFloatStorage": np.complex64,
    "torch.ComplexDoubleStorage": np.complex128,
    "torch.storage.UntypedStorage": np.uint8,
}
_DTYPE_NAMES = (
    "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128"
)
_CONSTANTS = frozenset([*STORAGE_DTYPES, *(f"torch.{name}" for name in _DTYPE_NAMES.split())])
# What settings and statistics beside the weights are made of; nobody needs their content.
_LABELLED = frozenset(
    {
        "argparse.Namespace",
        "builtins.set",
        "__builtin__.set",
        "torch.Size",
        "torch.device",
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "_codecs.encode",  # how protocol 2 writes bytes
    }
)
_MAX_DIMENSIONS = 64  # numpy's limit

StorageOpener = Callable[[str, np.dtype, int], np.ndarray | None]


def make_vocabulary(open_storage: StorageOpener) -> Vocabulary:
    """The vocabulary of files that trackers save with PyTorch.

    Args:
      open_storage: (key, dtype, number of values) -> the values, 1-D; None where only the keys
        and sizes are wanted, then tensors come back as `Inert`.
    """

    def persistent(pid: object) -> "_Storage":
        return _make_storage(pid, open_storage)

    return Vocabulary(_CONSTRUCTORS, _CONSTANTS, _is_inert, persistent)


def _is_inert(name: Global) -> bool:
    """Classes of the OSTrack family's training code (`lib.*`), and plain things they hold."""
    in_lib = name.module == "lib" or name.module.startswith("lib.")
    return in_lib or str(name) in _LABELLED


class _Storage:
    """The values that tensors are views of; None while only sizes are collected."""

    def __init__(self, values: np.ndarray | None) -> None:
        self.values = values


def _make_storage(pid: object, open_storage: StorageOpener) -> _Storage:
    """A storage from torch's id ("storage", type, key, device, count[, view])."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise PickleError("the pickle refers to an outside object that is not a torch storage")
    _, kind, key, _, count = pid[:5]
    dtype = STORAGE_DTYPES.get(str(kind)) if isinstance(kind, Global) else None
    if dtype is None:
        raise PickleError(f"storages of type {str(kind)[:100]!r} are not read")
    if not isinstance(key, str) or not _is_size(count):
        raise PickleError("a storage's key is not text or its size is not a number")
    if len(pid) == 6 and pid[5] is not None:
        raise PickleError("storages that are views of others (torch before 0.4) are not read")
    return _Storage(open_storage(key, np.dtype(dtype), count))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _rebuild_tensor(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object = False,
    hooks: object = None,
    metadata: object = None,
) -> np.ndarray | Inert:
    """A view of the storage; whether it needs a gradient, and hooks, are dropped."""
    if not isinstance(storage, _Storage):
        raise PickleError("a tensor is built on something that is not a storage")
    if metadata:  # "conj", "neg": the values differ from those stored
        raise PickleError("a tensor is stored conjugated or negated, which is not read")
    if storage.values is None:
        return Inert("torch.Tensor")
    fits = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    if not fits or len(size) > _MAX_DIMENSIONS or not all(map(_is_size, (offset, *size, *stride))):
        raise PickleError("a tensor's offset, shape or strides are not sizes")
    count, values = math.prod(size), storage.values
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > values.size or (count and last >= values.size):
        raise PickleError(
            f"a tensor of shape {size} reaches beyond the {values.size} values of its storage"
        )
    strides = tuple(step * values.itemsize if count else 0 for step in stride)
    start = values[offset if count else 0 :]
    return np.lib.stride_tricks.as_strided(start, size, strides, writeable=False)


def _rebuild_parameter(data: object, *_: object) -> object:
    return data


def _plain_dict(items: object = ()) -> dict:
    """An OrderedDict without attributes: dicts keep their order."""
    if not isinstance(items, list | tuple):
        raise PickleError("an OrderedDict is built from something that is not a list")
    return dict(_pair(item) for item in items)


def _pair(item: object) -> tuple[str, object]:
    is_pair = isinstance(item, list | tuple) and len(item) == 2
    if not is_pair or not isinstance(item[0], str | int):
        raise PickleError("an OrderedDict is built from something that is not pairs")
    return item[0], item[1]


_CONSTRUCTORS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": _plain_dict,
}
