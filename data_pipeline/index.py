"""One file per data set with the annotations of all its sequences, mapped into memory.

The file is arrays in NumPy's format, one after the other, and last a JSON object that says what
they were made from. Processes that open it share one copy in the page cache.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

FORMAT = 1  # another number, and every index is built anew


@dataclasses.dataclass(frozen=True)
class Entry:
    """One sequence: F boxes and flags, `facts` in JSON, places in an archive or None."""

    boxes_xywh: np.ndarray
    visible: np.ndarray
    facts: bytes
    members: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """S sequences with F frames in all. `file` is None if the index is only in memory.

    Attributes:
      boxes_xywh: float64 [F, 4] px; members: int64 [F, 4], or [0, 4] if nothing is in archives.
      starts, facts_starts: int64 [S + 1], where the frames and the facts of a sequence begin.
      visible: bool [F]. facts: uint8, JSON objects, one after the other.
      header: what the index was made from.
    """

    boxes_xywh: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    facts_starts: np.ndarray
    visible: np.ndarray
    facts: np.ndarray
    header: dict
    file: str | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __reduce__(self) -> tuple:
        if self.file is None:
            arrays = [getattr(self, name) for name in _ARRAYS]
            return Index, (*arrays, self.header)
        return _read_again, (self.file, self.header["made"])

    def entry(self, i: int) -> Entry:
        """Sequence `i`; its arrays are views of the index."""
        frames = slice(self.starts[i], self.starts[i + 1])
        facts = self.facts[self.facts_starts[i] : self.facts_starts[i + 1]].tobytes()
        members = self.members[frames] if len(self.members) else None
        return Entry(self.boxes_xywh[frames], self.visible[frames], facts, members)

    def name(self, i: int) -> str:
        """Name of sequence `i`."""
        return json.loads(self.entry(i).facts)["name"]

    def places(self, names: Collection[str]) -> np.ndarray:
        """Which sequences have one of these names, int64; found without reading all facts."""
        if not names:  # the empty pattern would match everywhere
            return np.zeros(0, np.int64)
        starts = (b'{"name": ' + json.dumps(name).encode() + b", " for name in names)
        pattern = b"|".join(map(re.escape, starts))
        found = [match.start() for match in re.finditer(pattern, self.facts.data)]
        return np.flatnonzero(np.isin(self.facts_starts[:-1], found))

    def lengths(self) -> np.ndarray:
        """Frames of each sequence, int64 [S]."""
        return np.diff(self.starts)

    def num_visible(self) -> np.ndarray:
        """Visible frames of each sequence, int64 [S]."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.add.reduceat(self.visible, self.starts[:-1], dtype=np.int64)


_ARRAYS = [field.name for field in dataclasses.fields(Index)][:6]


def make_index(entries: Iterable[Entry], header: dict) -> Index:
    """Puts sequences, each with at least one frame, into one index in memory."""
    entries = list(entries)
    in_archives = any(entry.members is not None for entry in entries)
    none = [np.full((0, 4), -1, np.int64)]
    members = [
        np.full((len(entry.visible), 4), -1) if entry.members is None else entry.members
        for entry in entries
        if in_archives
    ]
    facts = b"".join(entry.facts for entry in entries)
    origin = json.dumps(header)  # the same for processes that index the same files
    return Index(
        np.concatenate([np.zeros((0, 4)), *(entry.boxes_xywh for entry in entries)]),
        np.concatenate(none + members),
        np.cumsum([0, *(len(entry.visible) for entry in entries)], dtype=np.int64),
        np.cumsum([0, *(len(entry.facts) for entry in entries)], dtype=np.int64),
        np.concatenate([np.zeros(0, bool), *(entry.visible for entry in entries)]),
        np.frombuffer(facts, np.uint8),
        header | {"format": FORMAT, "made": hashlib.sha256(origin.encode()).hexdigest()},
    )


def write_index(index: Index, path: Path) -> Index:
    """Writes it under a temporary name, renames it, and returns the index as mapped from there.

    Raises: OSError if the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    header = np.frombuffer(json.dumps(index.header).encode(), np.uint8)
    try:
        with part.open("wb") as file:
            for array in (*(getattr(index, name) for name in _ARRAYS), header):
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return read_index(path)


def read_index(path: Path) -> Index:
    """Maps an index file into memory; only the header is read.

    Raises: ValueError if it is none, is damaged, or has another format; OSError if it is not there.
    """
    arrays = []
    with path.open("rb") as file:
        for _ in range(len(_ARRAYS) + 1):
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("it is not an index file")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start, size = file.tell(), int(np.prod(shape)) * dtype.itemsize
            mapped = np.memmap(file, dtype, "r", start, shape) if size else np.empty(shape, dtype)
            arrays.append(np.asarray(mapped))
            file.seek(start + size)
    *arrays, header = arrays
    header = json.loads(header.tobytes())
    index = Index(*arrays, header, os.fspath(path))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"it has another format than {FORMAT}")
    frames, facts = len(index.visible), len(index.facts)
    if index.starts[-1] != frames or index.facts_starts[-1] != facts:
        raise ValueError("its parts do not belong together")
    return index


def _read_again(file: str, made: str) -> Index:
    index = read_index(Path(file))
    if index.header["made"] != made:
        raise ValueError(f"{file} was rebuilt while it was in use, as the data set had changed.")
    return index
