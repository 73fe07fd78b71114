"""Packed data sets: what `data_pipeline.packing` writes, opened as any other data set.

A record of a shard is one frame: which part of it is stored (see `Place`), and that part as a JPEG
of which any region is decoded alone. A shard's last record is its annotations.
"""

import dataclasses
import functools
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data_pipeline.crop import Frame
from data_pipeline.decoding import DecodedFrame, decode_image
from data_pipeline.fingerprint import CHANGED, fingerprint
from data_pipeline.index import read_index
from data_pipeline.sequences import Dataset, FrameError, Frames, Sequence
from data_pipeline.stores import Store
from data_pipeline.tiled_jpeg import TiledJpeg

FORMAT = 1
MANIFEST, ANNOTATIONS = "manifest.json", "annotations.index"
RECORD = 0  # column of the index's `members` with the record's number; -1: no pixels are stored
_OPEN_SHARDS = 256  # file descriptors a process keeps open
_HEAD = struct.Struct("<7I")  # the numbers of a place, and whether a tiled JPEG follows


@dataclasses.dataclass(frozen=True)
class Place:
    """The stored part of a frame of `height` x `width` px.

    It begins in the corner (x0, y0) and has `part_height` x `part_width` px.
    """

    x0: int
    y0: int
    part_height: int
    part_width: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The frame's rows that are stored."""
        return slice(self.y0, self.y0 + self.part_height)

    @property
    def columns(self) -> slice:
        """The frame's columns that are stored."""
        return slice(self.x0, self.x0 + self.part_width)


def join_record(place: Place, picture: bytes, *, tiled: bool) -> bytes:
    """A frame as a record: the stored part as a tiled JPEG, or else the frame's file as it was."""
    return _HEAD.pack(*dataclasses.astuple(place), tiled) + picture


def split_record(record: bytes) -> tuple[Place, memoryview, bool]:
    """What `join_record` joined. Raises: ValueError if the record is too short for it."""
    if len(record) <= _HEAD.size:
        raise ValueError(f"the record of {len(record)} bytes is no packed frame")
    *place, tiled = _HEAD.unpack_from(record)
    return Place(*place), memoryview(record)[_HEAD.size :], bool(tiled)


class PackedFrame:
    """A frame of which a part is stored; see `crop.Frame`."""

    def __init__(
        self,
        record: bytes,
        *,
        reduced: bool,
        error: Callable[[str, str], Exception],
        open_source: Callable[[], Frame] | None,
    ) -> None:
        """Args:
        error: makes what is raised, from a cause and a sentence's part.
        open_source: opens the frame in the data set that was packed, for pixels not stored.
        """
        self.place, picture, tiled = split_record(record)
        self.height, self.width = self.place.height, self.place.width
        self.reduced = reduced and tiled
        self._stored = TiledJpeg(picture) if tiled else DecodedFrame(decode_image(picture))
        self._error, self._open_source = error, open_source

    def holds(self, rows: slice, columns: slice) -> bool:
        """Whether all of the frame's `[rows, columns]` is stored."""
        return _holds(self.place.rows, rows) and _holds(self.place.columns, columns)

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """See `crop.Frame`. Raises: what `error` makes, if some of it is not stored."""
        place = self.place
        if not self.holds(rows, columns):
            if self._open_source is not None:
                return self._open_source().region(rows, columns, shrink)
            raise self._error(
                "partly packed",
                f"rows {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop} "
                f"are wanted, and rows {place.rows.start} to {place.rows.stop} and columns "
                f"{place.columns.start} to {place.columns.stop} are packed",
            )
        rows = slice(rows.start - place.y0, rows.stop - place.y0)
        columns = slice(columns.start - place.x0, columns.stop - place.x0)
        try:
            return self._stored.region(rows, columns, shrink)
        except ValueError as problem:
            raise self._error("damaged", str(problem)) from None


@dataclasses.dataclass(frozen=True, eq=False)
class PackedSequence(Sequence):
    """A sequence whose frames are records of a shard, `archive`; `source`: where it came from."""

    source: Sequence | None = None

    def frame_path(self, i: int) -> str:
        """The shard and the record's number in it."""
        return f"{self.archive}[{self.members[self._checked(i), RECORD]}]"

    def read_frame_bytes(self, i: int) -> bytes:
        """The JPEG of what is stored of frame `i`, counted from 0. Raises: FrameError."""
        return bytes(split_record(self._read_record(i))[1])

    def read_frame(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, as uint8 RGB. Raises: FrameError unless all of it is there."""
        frame = self.open_frame(i)
        return frame.region(slice(0, frame.height), slice(0, frame.width)).copy()

    def open_frame(self, i: int, *, reduced: bool = False) -> Frame:
        """Frame `i`, counted from 0. Raises: FrameError, also when pixels are asked for."""
        open_source = None
        if self.source is not None:
            open_source = functools.partial(self.source.open_frame, i, reduced=reduced)
        error = functools.partial(self._error, i)
        try:
            record = self._read_record(i)
            return PackedFrame(record, reduced=reduced, error=error, open_source=open_source)
        except FrameError:
            raise
        except ValueError as problem:
            raise self._error(i, "damaged", str(problem)) from None

    def _read_record(self, i: int) -> bytes:
        number = int(self.members[self._checked(i), RECORD])
        if number < 0:
            raise self._error(i, "missing", "the frame was not packed: its target was not visible")
        try:
            return open_shard(self.archive, os.getpid()).read([number])[0]
        except (RuntimeError, IndexError, OSError) as problem:
            raise self._error(i, "damaged", f"the record cannot be read ({problem})") from None

    def _error(self, i: int, cause: str, what: str) -> FrameError:
        return FrameError(
            f"{self.frame_path(i)}: {what}; it is frame {i} (from 0) of sequence {self.name} of "
            f"{self.dataset}. Check the shards with launch.pack_dataset --verify.",
            cause,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class PackedDataset(Dataset):
    """A packed data set; `source`: the one that was packed, if it is at hand."""

    shards: tuple[str, ...] = ()
    source: Dataset | None = None

    def __getitem__(self, i: int) -> PackedSequence:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} sequences, got index {i}.")
        entry = self.index.entry(int(self.kept[i]))
        facts = json.loads(entry.facts)
        shard = self.store.where(self.shards[facts["shard"]])
        source = None if self.source is None else self.source[facts["source"]]
        return PackedSequence(
            *(self.name, facts["name"], entry.boxes_xywh, entry.visible, Frames(""), self.store),
            *(facts["is_video"], shard, entry.members, source),
        )


def is_packed(root: str | Path) -> bool:
    """Whether a folder holds a whole packed data set."""
    return (Path(root) / MANIFEST).is_file()


def open_packed(root: str | Path, source: Dataset | None = None) -> PackedDataset:
    """Opens what launch.pack_dataset wrote.

    Args: source: the data set that was packed, to read what is not stored of its frames.
    Raises: ValueError if it is not such a folder, or not whole, or `source` is another data set, or
      has changed since.
    """
    manifest = read_manifest(root)
    for note in (manifest["annotations"], *manifest["shards"]):
        _check_file(Path(root) / note["file"], note["bytes"])
    try:
        index = read_index(Path(root) / ANNOTATIONS)
    except (OSError, ValueError) as problem:
        raise ValueError(
            f"{Path(root) / ANNOTATIONS}: {problem}; run launch.pack_dataset again, it only makes "
            "what is missing."
        ) from None
    settings = manifest["settings"]
    if source is not None:
        _check_source(root, settings, source)
    shards = tuple(shard["file"] for shard in manifest["shards"])
    store = Store(os.path.abspath(root))
    return PackedDataset(settings["dataset"], store, index, np.arange(len(index)), shards, source)


def _check_file(path: Path, size: int) -> None:
    """Raises: ValueError unless the file is there with its size."""
    try:
        found = path.stat().st_size
    except OSError as error:
        what = f"cannot be had ({error.strerror})"
    else:
        what = f"has {found} bytes instead of {size}"
        if found == size:
            return
    raise ValueError(
        f"{path} {what}; run launch.pack_dataset again with the same flags, it only makes what is "
        "missing."
    )


def _check_source(root: str | Path, settings: dict, source: Dataset) -> None:
    """Raises: ValueError unless `source` is what was packed with these settings."""
    packed_from = settings["dataset"], settings["num_sequences"], settings["max_target"]
    if packed_from != (source.name.partition(":")[0], len(source), None):
        raise ValueError(
            f"{root} was packed from {packed_from[1]} sequences of {packed_from[0]} with "
            f"max_target {packed_from[2]}; {source.name} with {len(source)} cannot stand in for it."
        )
    now = fingerprint(source)
    changed = [CHANGED[key] for key in now if settings.get(key) != now[key]]
    if changed:
        raise ValueError(
            f"{source.name} is not as it was packed into {root}: {' and '.join(changed)}; pack it "
            "again, into another folder."
        )


def read_manifest(root: str | Path) -> dict:
    """What a packed data set consists of. Raises: ValueError with what to do."""
    path = Path(root) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(
            f"{path} is not there: this is no packed data set, or one whose packing was stopped; "
            "run launch.pack_dataset again to go on."
        ) from None
    except ValueError as problem:
        raise ValueError(f"{path} is no manifest of a packed data set ({problem}).") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a manifest of format {FORMAT}; pack the data again.")
    return manifest


@functools.lru_cache(maxsize=_OPEN_SHARDS)
def open_shard(path: str, process: int) -> ArrayRecordReader:
    """A shard to read from; each process opens its own, since readers have threads."""
    del process
    options = "readahead_buffer_size:0"
    return ArrayRecordReader(path, options=options, file_reader_buffer_size=32768)


def _holds(stored: slice, wanted: slice) -> bool:
    return stored.start <= wanted.start and wanted.stop <= stored.stop
