"""Packed data sets: what `data_pipeline.shards` writes, opened as any other data set.

A record of a shard is one frame, see `packed_frame`. A shard's last record is its annotations.
"""

import dataclasses
import functools
import json
import os
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from data_pipeline.crop import Frame
from data_pipeline.fingerprint import CHANGED, fingerprint
from data_pipeline.index import read_index
from data_pipeline.packed_frame import PackedFrame, picture_file
from data_pipeline.sequences import Dataset, Frames, Sequence
from data_pipeline.stores import Store

FORMAT = 2
MANIFEST, ANNOTATIONS = "manifest.json", "annotations.index"
# Columns of the index's `members` with numbers of records, -1 for none: of the frame, and of the
# small part of it that is stored once more for template crops.
RECORD, NEAR = 0, 1
_OPEN_SHARDS = 512  # file descriptors a process keeps open; to open one takes as long as a crop


@dataclasses.dataclass(frozen=True, eq=False)
class PackedSequence(Sequence):
    """A sequence whose frames are records of a shard, `archive`; `source`: where it came from."""

    source: Sequence | None = None
    advice: ClassVar[str] = "Check the shards with launch.pack_dataset --verify."

    def frame_path(self, i: int) -> str:
        """The shard and the record's number in it."""
        return f"{self.archive}[{self.members[self._checked(i), RECORD]}]"

    def read_frame_bytes(self, i: int) -> bytes:
        """What is stored of frame `i`, counted from 0, as an image file. Raises: FrameError."""
        return picture_file(self._read_record(i, RECORD))

    def read_frame(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, as uint8 RGB. Raises: FrameError unless all of it is there."""
        frame = self.open_frame(i)
        return frame.region(slice(0, frame.height), slice(0, frame.width)).copy()

    def open_frame(self, i: int, *, reduced: bool = False, near: bool = False) -> Frame:
        """Frame `i`, counted from 0. Raises: FrameError, also when pixels are asked for."""
        near = near and self.members[self._checked(i), NEAR] >= 0
        whole, open_whole = self if near else self.source, None
        if whole is not None:
            open_whole = functools.partial(whole.open_frame, i, reduced=reduced)
        error = functools.partial(self._error, i)
        record = self._read_record(i, NEAR if near else RECORD)
        try:
            return PackedFrame(record, reduced=reduced, error=error, open_whole=open_whole)
        except ValueError as problem:
            raise error("damaged", str(problem)) from None

    def _read_record(self, i: int, column: int) -> bytes:
        number = int(self.members[self._checked(i), column])
        if number < 0:
            raise self._error(i, "missing", "the frame was not packed: its target was not visible")
        try:
            shard = open_shard(self.archive, os.getpid(), threading.get_ident())
            shard.seek(number)
            return shard.read()
        except (RuntimeError, IndexError, OSError) as problem:
            raise self._error(i, "damaged", f"the record cannot be read ({problem})") from None


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
        raise ValueError(
            f"{path} is no manifest of a packed data set ({problem}); pack it again."
        ) from None
    parts = {"settings", "annotations", "shards"}
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or parts - {*manifest}:
        raise ValueError(
            f"{path}: expected a manifest of format {FORMAT}; pack the data again, "
            "into another folder."
        )
    return manifest


@functools.lru_cache(maxsize=_OPEN_SHARDS)
def open_shard(path: str, process: int, thread: int) -> ArrayRecordReader:
    """A shard to read from; each thread of each process opens its own, since a reader has a place.

    Without threads of its own, it opens ten times faster.
    """
    del process, thread
    options = "readahead_buffer_size:0,max_parallelism:0"
    return ArrayRecordReader(path, options=options, file_reader_buffer_size=32768)
