"""Reads the files of `torch.save` without PyTorch and without running anything in them.

Both forms are read: the zip archive of torch 1.6 and later, and the stream of pickles before it.
Tensors become read-only numpy arrays over the mapped file, so unused ones cost nothing.
"""

import io
import mmap
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from esat_jax import inert_pickle
from esat_jax.inert_pickle import PickleError
from esat_jax.torch_vocabulary import make_vocabulary

_LEGACY_VERSION = 1001
# A pickle of torch's magic number 0x1950A86A20F9469CFC6C.
_LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_ZIP_START = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member; ends in the lengths of name and extra


def read_torch_file(path: str | Path) -> object:
    """Reads a `.pth`, `.pt` or `.pth.tar` file.

    Returns: what was saved, from dicts, lists, tuples, numbers, text and, for tensors, numpy arrays
      (read-only; bfloat16 as in ml_dtypes). Objects of the training code that saved the file
      (`lib.*`, argparse.Namespace, numpy values) come back as labels without content, `Inert`.
    Raises: ValueError for a file that is not one, is damaged, or asks for anything else, such as
      `os.system`. FileNotFoundError if there is none.
    """
    path = Path(path)
    with path.open("rb") as file:
        start = file.read(len(_LEGACY_START))
        if not start:
            raise ValueError(f"{path}: the file is empty; expected a PyTorch checkpoint.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            if start.startswith(_ZIP_START):
                return _read_zip(file, mapped)
            if start == _LEGACY_START:
                return _read_legacy(mapped)
            raise PickleError("it is neither a zip archive nor a stream that torch.save writes")
        except PickleError as error:
            raise ValueError(f"{path}: not read as a PyTorch checkpoint: {error}.") from None


def _read_zip(file: io.BufferedReader, mapped: mmap.mmap) -> object:
    """The archive has `<root>/data.pkl`, and `<root>/data/<key>` for each storage."""
    members = _zip_members(file, len(mapped))
    pickles = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise PickleError(f"the archive has {len(pickles)} members <folder>/data.pkl instead of 1")
    root = pickles[0].split("/")[0]
    if f"{root}/constants.pkl" in members:
        raise PickleError("it is a TorchScript program; save the model's state_dict() instead")

    def content(name: str) -> np.ndarray:
        if name not in members:
            raise PickleError(f"the archive has no member {name[:100]!r}")
        return _zip_content(mapped, members[name])

    order = f"{root}/byteorder"  # files before torch 2.1 have none, they are little-endian
    swap = order in members and content(order).tobytes() == b"big"

    def open_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        return _values(key, content(f"{root}/data/{key}"), dtype, count, swap)

    pickled = io.BytesIO(content(pickles[0]).tobytes())
    return inert_pickle.load(pickled, make_vocabulary(open_storage))


def _values(key: str, raw: np.ndarray, dtype: np.dtype, count: int, swap: bool) -> np.ndarray:
    """Bytes [count * itemsize] -> values [count] in this machine's byte order."""
    if raw.size != count * dtype.itemsize:
        claimed = f"{count} values of {dtype.itemsize} bytes"
        raise PickleError(f"storage {key[:100]!r} claims {claimed} and has {raw.size} bytes")
    return raw.view(dtype).byteswap() if swap else raw.view(dtype)


def _zip_members(file: io.BufferedReader, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's table of contents, checked against the size of the file."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise PickleError(f"the archive's table of contents is damaged ({error})") from None
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise PickleError("the archive has two members of one name")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise PickleError("the archive is compressed, which torch.save never does")
    if sum(info.file_size for info in infos) > file_bytes:
        raise PickleError("the archive's members claim more bytes than the file has")
    return members


def _zip_content(mapped: mmap.mmap, info: zipfile.ZipInfo) -> np.ndarray:
    """A member's bytes, uint8, checked against its checksum if it has one."""
    header = mapped[info.header_offset : info.header_offset + _LOCAL_HEADER.size]
    if len(header) < _LOCAL_HEADER.size or not header.startswith(_ZIP_START):
        raise PickleError(f"the archive has no member where it says {info.filename[:100]!r} is")
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if start + info.file_size > len(mapped):
        raise PickleError(f"member {info.filename[:100]!r} reaches beyond the end of the file")
    raw = np.frombuffer(mapped, np.uint8, count=info.file_size, offset=start)
    if info.CRC and zlib.crc32(raw) != info.CRC:  # 0: saved without checksums
        raise PickleError(f"member {info.filename[:100]!r} is damaged (wrong checksum)")
    return raw


def _read_legacy(mapped: mmap.mmap) -> object:
    """Pickles of a magic number, a version, the platform, the object and the storage keys.

    The storages follow, each an int64 count and its values. Where they lie depends on their
    types, which the object tells: so it is read twice.
    """
    sizes: dict[str, tuple[np.dtype, int]] = {}

    def note_size(key: str, dtype: np.dtype, count: int) -> None:
        if sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise PickleError(f"storage {key[:100]!r} has two types or sizes")

    sizing = make_vocabulary(note_size)
    inert_pickle.load(mapped, sizing)  # the magic number, known to be there
    if inert_pickle.load(mapped, sizing) != _LEGACY_VERSION:
        raise PickleError(f"the stream's format version is not {_LEGACY_VERSION}")
    platform = inert_pickle.load(mapped, sizing)
    swap = isinstance(platform, dict) and platform.get("little_endian") is False
    start = mapped.tell()
    inert_pickle.load(mapped, sizing)
    keys = inert_pickle.load(mapped, sizing)
    if not isinstance(keys, list) or len(keys) != len(sizes) or set(keys) != set(sizes):
        raise PickleError("the stream's list of storages differs from those its tensors use")
    storages = {}
    for key in keys:
        dtype, count = sizes[key]
        header, num_bytes = mapped.read(8), count * dtype.itemsize
        stored = int.from_bytes(header, "big" if swap else "little")
        if stored != count or mapped.tell() + num_bytes > len(mapped):
            raise PickleError(
                f"storage {key[:100]!r} claims {count} values and has {stored}, or reaches beyond "
                "the end of the file"
            )
        raw = np.frombuffer(mapped, np.uint8, count=num_bytes, offset=mapped.tell())
        storages[key] = _values(key, raw, dtype, count, swap)
        mapped.seek(num_bytes, io.SEEK_CUR)
    mapped.seek(start)
    return inert_pickle.load(mapped, make_vocabulary(lambda key, *_: storages[key]))
