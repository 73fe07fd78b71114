"""Files of a data set, in a folder or in zip archives that stay packed.

An archive NAME.zip stands for the folder NAME: `airplane/airplane-1/groundtruth.txt` is found in
`airplane.zip`, whether or not its entries repeat the `airplane/`. So does a data set that is one
archive. Archives are read with `os.pread`, so a store can be pickled, forked and used by threads.
"""

import dataclasses
import functools
import io
import os
import stat
import struct
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

MEMBER_COLUMNS = 4  # offset of the entry's header, packed size, CRC-32, compression method
_ENCRYPTED = -1  # in place of a compression method
_OPEN_ARCHIVES = 256  # file descriptors a process keeps open


@dataclasses.dataclass(frozen=True)
class Store:
    """The files below `root`: a folder, an archive, or a folder inside an archive."""

    root: str

    def where(self, path: str) -> str:
        """The full path, for messages; bytes that are no text are shown as escapes."""
        full = os.path.join(self.root, path) if path else self.root
        return os.fsencode(full).decode("utf-8", "backslashreplace")

    def read_bytes(self, path: str) -> bytes:
        """The content of a file. Raises: OSError, also for a damaged entry of an archive."""
        try:  # most frames are on the disk, and a network disk is asked for them only once
            with open(os.path.join(self.root, path), "rb") as stream:
                return stream.read()
        except (FileNotFoundError, NotADirectoryError):
            file, inner = self.locate(path)
            if inner is None:
                raise
        member = _directory(file, *_stamp(file)).members.get(inner)
        if member is None:
            raise FileNotFoundError(f"{self.where(path)}: no such file in the archive.")
        return self.read_member(file, np.array(member.place), path)

    def read_member(self, archive: str, member: np.ndarray, path: str) -> bytes:
        """The content of an archive's entry, int64 [4], without a look at the archive's directory.

        Args: archive: its path; path: the entry's path in this store, for messages.
        Raises: OSError if the entry is damaged, encrypted or packed in a way zlib cannot read.
        """
        offset, size, crc, method = (int(number) for number in member)
        where = self.where(path)
        if offset < 0:
            raise FileNotFoundError(f"{where}: no such file in the archive.")
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            kind = "encrypted" if method == _ENCRYPTED else f"packed with method {method}"
            raise OSError(f"{where}: the entry is {kind}; pack it again without, as zip -0 does.")
        file = _opened(archive)  # held here: another thread may drop it from the cache
        header = os.pread(file.fileno(), 30, offset)
        if len(header) < 30 or header[:4] != b"PK\3\4":
            raise OSError(f"{where}: the archive is damaged here; fetch it again.")
        start = offset + 30 + sum(struct.unpack("<HH", header[26:]))
        data = os.pread(file.fileno(), size, start)
        try:
            content = zlib.decompress(data, -15) if method == zipfile.ZIP_DEFLATED else data
        except zlib.error:
            content = None
        if content is None or zlib.crc32(content) != crc:
            raise OSError(f"{where}: the entry is damaged (its checksum differs); fetch it again.")
        return content

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        file, inner = self.locate(path)
        if inner is None:
            return os.path.exists(file)
        directory = _directory(file, *_stamp(file))
        return inner in directory.members or inner in directory.folders

    def list(self, path: str = "") -> list[str]:
        """Sorted names in a folder, an archive under the name of the folder it stands for.

        Raises: OSError if there is no such folder, or its archive is damaged.
        """
        file, inner = self.locate(path)
        if inner is None:
            names = os.listdir(file)
        else:
            names = _directory(file, *_stamp(file)).folders.get(inner)
            if names is None:
                raise FileNotFoundError(f"{self.where(path)}: no such folder in the archive.")
        return sorted({name.removesuffix(".zip") for name in names if not name.startswith(".")})

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each file in a folder, when unpacked. Raises: OSError."""
        file, inner = self.locate(folder)
        if inner is None:
            with os.scandir(file) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        members = _directory(file, *_stamp(file)).members
        prefix = f"{inner}/" if inner else ""
        return {
            name: members[prefix + name].size
            for name in self.list(folder)
            if prefix + name in members
        }

    def find_members(self, folder: str, names: tuple[str, ...]) -> tuple[str, np.ndarray] | None:
        """The archive that holds a folder and where its files are, int64 [F, 4]; missing ones -1.

        None if the folder lies on the disk.
        """
        file, inner = self.locate(folder)
        if inner is None:
            return None
        members = _directory(file, *_stamp(file)).members
        missing = (-1,) * MEMBER_COLUMNS
        prefix = f"{inner}/" if inner else ""
        found = [members.get(prefix + name) for name in names]
        rows = [missing if member is None else member.place for member in found]
        return file, np.array(rows, np.int64).reshape(-1, MEMBER_COLUMNS)

    def locate(self, path: str) -> tuple[str, str | None]:
        """The file or folder on disk, and what it is called inside, if that is an archive."""
        full = os.path.normpath(os.path.join(self.root, path))
        if os.path.isdir(full) or (os.path.isfile(full) and not full.endswith(".zip")):
            return full, None
        head, inner = full, ""
        while head != os.path.dirname(head):
            for archive in (head, f"{head}.zip"):
                if archive.endswith(".zip") and os.path.isfile(archive):
                    return archive, inner
            if os.path.isdir(head):
                break
            head, tail = os.path.split(head)
            inner = f"{tail}/{inner}" if inner else tail
        return full, None


class WatchedStore(Store):
    """Notes in `touched` every file, folder and archive it was asked for, for `changed`."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        object.__setattr__(self, "touched", set())

    def read_bytes(self, path: str) -> bytes:
        """As in a Store."""
        self.locate(path)
        return super().read_bytes(path)

    def locate(self, path: str) -> tuple[str, str | None]:
        """As in a Store."""
        file, inner = super().locate(path)
        self.touched.add(file)
        return file, inner

    def stamps(self) -> list[tuple[str, int, int]]:
        """(path, size in bytes, time of change in ns) of all that was touched, sorted."""
        return [(path, *_stamp(path)) for path in sorted(self.touched)]


def changed(stamps: list[tuple[str, int, int]]) -> bool:
    """Whether a file or folder is not as it was when `WatchedStore.stamps` was called."""
    return any(_stamp(path) != (size, time) for path, size, time in stamps)


def open_store(root: str | os.PathLike) -> Store:
    """The files below a folder or in an archive.

    Raises: ValueError if there is neither.
    """
    store = Store(os.path.abspath(root))
    try:
        store.list()
    except OSError as error:
        raise ValueError(f"{store.where('')}: no such folder or zip archive ({error}).") from None
    return store


def is_folder(store: Store, path: str) -> bool:
    """Whether this is no file; a folder or archive that cannot be read is a folder."""
    try:
        store.list(path)
    except (FileNotFoundError, NotADirectoryError):  # what an archive says of a file, and a disk
        return False
    except OSError:
        return True
    return True


class _Member(NamedTuple):
    place: tuple[int, int, int, int]
    size: int


@dataclasses.dataclass(frozen=True)
class _Directory:
    members: dict[str, _Member]
    folders: dict[str, set[str]]


@functools.lru_cache(maxsize=4)
def _directory(archive: str, size: int, time: int) -> _Directory:
    """What an archive holds. Size and time are there to forget it when the archive changed."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise OSError(f"{archive}: the archive is damaged ({error}); fetch it again.") from None
    entries = [entry for entry in entries if not entry.filename.startswith("__MACOSX/")]
    stem = os.path.basename(archive).removesuffix(".zip")
    repeats_stem = {entry.filename.split("/")[0] for entry in entries} == {stem}
    members, folders = {}, {"": set()}
    for entry in entries:
        name = entry.filename.removeprefix(f"{stem}/") if repeats_stem else entry.filename
        name, is_folder = name.rstrip("/"), name.endswith("/")
        if not name:
            continue
        if is_folder:
            folders.setdefault(name, set())
        else:
            method = _ENCRYPTED if entry.flag_bits & 1 else entry.compress_type
            place = (entry.header_offset, entry.compress_size, entry.CRC, method)
            members[name] = _Member(place, entry.file_size)
        _add_to_parents(folders, name)
    _opened.cache_clear()  # the name may be that of another file now
    return _Directory(members, folders)


def _add_to_parents(folders: dict[str, set[str]], name: str) -> None:
    while name:
        parent, _, last = name.rpartition("/")
        known = folders.setdefault(parent, set())
        if last in known:
            return
        known.add(last)
        name = parent


def _stamp(path: str) -> tuple[int, int]:
    """(size in bytes, time of change in ns); a folder has no size, what is not there has -1, -1."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return (0 if stat.S_ISDIR(status.st_mode) else status.st_size), status.st_mtime_ns


@functools.lru_cache(maxsize=_OPEN_ARCHIVES)
def _opened(archive: str) -> io.BufferedReader:
    return open(archive, "rb")  # closed when the cache lets go of it
