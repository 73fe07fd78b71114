"""Writes `.pth.tar` files that `torch.load` reads, without PyTorch."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from esat_jax.atomic import complete_file
from esat_jax.torch_vocabulary import STORAGE_DTYPES

_ALIGNMENT = 64  # of each storage in the file, as PyTorch writes them
_LOCAL_HEADER_BYTES = 30
_STORAGE_NAMES = {
    np.dtype(dtype): name.removeprefix("torch.")
    for name, dtype in STORAGE_DTYPES.items()
    if name != "torch.storage.UntypedStorage"
}


def write_torch_file(path: str | Path, content: Mapping) -> None:
    """Writes nested dicts, lists, tuples, numbers, text and numpy arrays as `torch.save` does.

    Arrays become tensors, each with a storage of its own. The file appears when it is complete.

    Raises: ValueError for any other type of value, or an array type that PyTorch lacks.
    """
    pickled = _Pickler()
    pickled.write(content)
    with (
        complete_file(path) as part,
        part.open("wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        add = _member_writer(file, archive)
        add("archive/data.pkl", pickled.finish())
        add("archive/byteorder", b"little")
        for key, array in enumerate(pickled.arrays):
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            add(f"archive/data/{key}", little.reshape(-1).view(np.uint8).data)
        add("archive/version", b"3\n")


def _member_writer(
    file: io.BufferedWriter, archive: zipfile.ZipFile
) -> Callable[[str, bytes | memoryview], None]:
    """A function that adds a member whose bytes start at a multiple of 64."""

    def add(name: str, data: bytes | memoryview) -> None:
        info = zipfile.ZipInfo(name)
        start = file.tell() + _LOCAL_HEADER_BYTES + len(name) + 4
        padding = -start % _ALIGNMENT
        info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
        archive.writestr(info, data)

    return add


class _Pickler:
    """Writes pickle protocol 2: what PyTorch's own files use, and its safe reader accepts."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._out = io.BytesIO()
        self._out.write(b"\x80\x02")

    def finish(self) -> bytes:
        """The pickle, stopped."""
        return self._out.getvalue() + b"."

    def write(self, value: object) -> None:
        """Appends the opcodes that push the value."""
        out = self._out.write
        if value is None:
            out(b"N")
        elif isinstance(value, bool):
            out(b"\x88" if value else b"\x89")
        elif isinstance(value, int):
            self._int(value)
        elif isinstance(value, float):
            out(b"G" + struct.pack(">d", value))
        elif isinstance(value, str):
            text = value.encode("utf-8")
            out(b"X" + struct.pack("<I", len(text)) + text)
        elif isinstance(value, list):
            out(b"](")
            self._all(value)
            out(b"e")
        elif isinstance(value, tuple):
            out(b"(")
            self._all(value)
            out(b"t")
        elif isinstance(value, Mapping):
            out(b"}(")
            self._all(part for pair in value.items() for part in pair)
            out(b"u")
        elif isinstance(value, np.ndarray):
            self._tensor(value)
        else:
            raise ValueError(f"a torch file holds numbers, text and arrays, got {type(value)}")

    def _all(self, values: object) -> None:
        for value in values:
            self.write(value)

    def _int(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self._out.write(b"J" + struct.pack("<i", value))
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self._out.write(b"\x8a" + struct.pack("<B", len(raw)) + raw)

    def _global(self, module: str, name: str) -> None:
        self._out.write(f"c{module}\n{name}\n".encode("ascii"))

    def _tensor(self, array: np.ndarray) -> None:
        """`_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`."""
        if array.dtype.newbyteorder("=") not in _STORAGE_NAMES:
            raise ValueError(f"PyTorch has no tensors of type {array.dtype}")
        strides = [int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)]
        self._global("torch._utils", "_rebuild_tensor_v2")
        self._out.write(b"((")
        self.write("storage")
        self._global("torch", _STORAGE_NAMES[array.dtype.newbyteorder("=")])
        self._all([str(len(self.arrays)), "cpu", array.size])
        self._out.write(b"tQ")
        self._all([0, array.shape, tuple(strides), False])
        self._global("collections", "OrderedDict")
        self._out.write(b")RtR")
        self.arrays.append(array)
