"""One shard of a packed data set: written as a whole or not at all, noted, and read again."""

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_pipeline.index import Entry, Index, make_index
from data_pipeline.packed import NEAR, RECORD, read_manifest
from data_pipeline.packing import PackRule, pack_frame, packed_frames
from data_pipeline.sequences import Dataset, FrameError
from data_pipeline.stores import MEMBER_COLUMNS

_SHOWN_PROBLEMS = 20
_ARRAYS = ("boxes_xywh", "visible", "members", "starts", "facts_starts", "facts")


def write_shard(
    dataset: Dataset, number: int, first: int, last: int, path: Path, rule: PackRule
) -> dict:
    """Packs sequences [first, last) into shard `number`, and returns the note of it.

    The file takes its name when it is whole, and counts as finished once its note is beside it.
    """
    cv2.setNumThreads(1)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    writer = ArrayRecordWriter(str(part), "group_size:1,uncompressed")
    entries, problems, frames, written = [], [], 0, 0
    try:
        for i in range(first, last):
            sequence = dataset[i]
            facts = {"name": sequence.name, "is_video": sequence.is_video}
            boxes_xywh = np.full((len(sequence), 4), np.nan)
            members = np.full((len(sequence), MEMBER_COLUMNS), -1)
            for frame in packed_frames(sequence):
                try:
                    records, boxes_xywh[frame] = pack_frame(sequence, int(frame), rule)
                except FrameError as error:
                    problems.append((error.cause, str(error)))
                    continue
                for column, record in zip((RECORD, NEAR), records, strict=False):
                    writer.write(record)
                    members[frame, column] = written
                    written += 1
                frames += 1
            visible = sequence.visible & (members[:, RECORD] >= 0)
            facts = json.dumps(facts | {"source": i, "shard": number}).encode()
            entries.append(Entry(boxes_xywh, visible, facts, members))
        writer.write(_annotations(entries))
        writer.close()
        note = {
            "file": path.name,
            **file_facts(part),
            "frames": frames,
            "problems": dict(Counter(cause for cause, _ in problems)),
            "examples": [message for _, message in problems[:_SHOWN_PROBLEMS]],
        }
        _to_disk(part)
        part.replace(path)
    finally:
        if writer.is_open():
            writer.close()
        part.unlink(missing_ok=True)
    write_json(note_path(path), note)
    return note


def finished(path: Path) -> dict | None:
    """The note of a shard that is whole, from its own file or the manifest; else None."""
    if not path.exists():
        return None
    note = None
    with contextlib.suppress(OSError, ValueError):
        notes = read_manifest(path.parent)["shards"]
        note = next((n for n in notes if n["file"] == path.name), None)
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(note_path(path).read_text())
    whole = note is not None and note["bytes"] == path.stat().st_size
    return note if whole else None


def _annotations(entries: list[Entry]) -> bytes:
    """The sequences of a shard as a record."""
    index, buffer = make_index(entries, {}), io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(index, name) for name in _ARRAYS})
    return buffer.getvalue()


def read_annotations(path: Path) -> Iterator[Entry]:
    """The sequences of a shard, from its last record. Raises: ValueError if it is damaged."""
    try:
        with contextlib.closing(ArrayRecordReader(str(path))) as reader:
            last = reader.num_records() - 1
            record = reader.read([last])[0] if last >= 0 else b""
        with np.load(io.BytesIO(record)) as arrays:
            index = Index(**arrays, header={})
    except (RuntimeError, IndexError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        raise ValueError(
            f"{path} is damaged: delete it and pack again with the same flags."
        ) from None
    return (index.entry(i) for i in range(len(index)))


def note_path(path: Path) -> Path:
    """Where the note of a shard lies until all shards are there."""
    return path.with_suffix(".json")


def file_facts(path: Path) -> dict:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _to_disk(path: Path) -> None:
    """Waits until a file is on the disk, so that its name never stands for less after a crash."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: dict) -> None:
    """Writes JSON to a file that is whole or not there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, indent=1))
        _to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
