"""Writes and checks packed data sets: shards that are whole or absent, so a stopped run goes on."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_pipeline.fingerprint import CHANGED, fingerprint
from data_pipeline.index import Entry, Index, make_index, write_index
from data_pipeline.packed import ANNOTATIONS, FORMAT, MANIFEST, RECORD, read_manifest
from data_pipeline.packing import PackRule, num_packed_frames, pack_frame, packed_frames
from data_pipeline.sequences import Dataset, FrameError
from data_pipeline.stores import MEMBER_COLUMNS

BEGUN = "packing.json"  # settings of a packing that is not finished
_SHOWN_PROBLEMS = 20
_ARRAYS = ("boxes_xywh", "visible", "members", "starts", "facts_starts", "facts")


def pack_dataset(
    dataset: Dataset, root: Path, rule: PackRule, *, frames_per_shard: int, num_workers: int
) -> Iterator[dict]:
    """Packs a data set into the folder `root`, going on where an earlier run was stopped.

    Yields: a note for each shard as it is finished, or found finished: its file, bytes, sha256, the
      number of `frames` stored, and `problems`, a count per cause.
    Raises: ValueError if `root` holds a packing with other settings; OSError if it is full.
    """
    settings = make_settings(dataset, rule, frames_per_shard)
    begin(root, settings)
    plan = plan_shards(dataset, frames_per_shard)
    paths = [root / f"shard-{number:05d}.array_record" for number in range(len(plan))]
    notes = {path.name: note for path in paths if (note := finished(path)) is not None}
    yield from notes.values()
    jobs = [
        (dataset, number, *plan[number], path, rule)
        for number, path in enumerate(paths)
        if path.name not in notes
    ]
    for note in _run(jobs, num_workers):
        notes[note["file"]] = note
        yield note
    entries = (entry for path in paths for entry in _read_annotations(path))
    write_index(make_index(entries, {"packed": True}), root / ANNOTATIONS)
    annotations = {"file": ANNOTATIONS, **_fingerprint(root / ANNOTATIONS)}
    shards = [notes[path.name] for path in paths]
    _write_json(
        root / MANIFEST,
        {"format": FORMAT, "settings": settings, "annotations": annotations, "shards": shards},
    )
    for path in (root / BEGUN, *map(_note_path, paths)):
        path.unlink(missing_ok=True)


def verify(root: Path) -> Iterator[tuple[str, str]]:
    """Compares every file of a packed data set with its checksum; yields (file, what is wrong).

    What is wrong is "" for a file that is as it was written. Raises: ValueError without a manifest.
    """
    manifest = read_manifest(root)
    for note in (manifest["annotations"], *manifest["shards"]):
        try:
            found = _fingerprint(root / note["file"])
        except OSError as error:
            yield note["file"], f"cannot be read ({error.strerror})"
            continue
        same = found["bytes"] == note["bytes"] and found["sha256"] == note["sha256"]
        size = f"has {found['bytes']} bytes instead of {note['bytes']}"
        yield note["file"], "" if same else size if found["bytes"] != note["bytes"] else "changed"


def make_settings(dataset: Dataset, rule: PackRule, frames_per_shard: int) -> dict:
    """All that decides what the shards hold; a run goes on only with the same."""
    settings = {
        "dataset": dataset.name.partition(":")[0],  # the place may change
        "num_sequences": len(dataset),
        "num_frames": int(num_packed_frames(dataset).sum()),
        "frames_per_shard": frames_per_shard,
        **fingerprint(dataset),
        **dataclasses.asdict(rule),
    }
    return json.loads(json.dumps(settings))  # as it will be read again: with lists for tuples


def begin(root: Path, settings: dict) -> None:
    """Notes the settings in the folder, which is made. Raises: ValueError if it has others."""
    root.mkdir(parents=True, exist_ok=True)
    for part in root.glob(".shard-*.part"):  # of a run that was stopped
        part.unlink()
    if (root / MANIFEST).exists():
        before = read_manifest(root)["settings"]
    elif (root / BEGUN).exists():
        before = json.loads((root / BEGUN).read_text())
    else:
        _write_json(root / BEGUN, settings)
        return
    if before != settings:
        changed = sorted(key for key in settings if settings[key] != before.get(key))
        were = ", ".join(
            CHANGED.get(key, f"{key} {before.get(key)} (now {settings[key]})") for key in changed
        )
        raise ValueError(
            f"{root} holds a packing with other settings: {were}. "
            "Give those again, or another folder."
        )


def plan_shards(dataset: Dataset, frames_per_shard: int) -> list[tuple[int, int]]:
    """Runs [first, last) of sequences that become a shard each, with whole sequences."""
    shards, first, frames = [], 0, 0
    for i, count in enumerate(num_packed_frames(dataset)):
        if frames and frames + count > frames_per_shard:
            shards.append((first, i))
            first, frames = i, 0
        frames += int(count)
    return [*shards, (first, len(dataset))] if len(dataset) else []


def finished(path: Path) -> dict | None:
    """The note of a shard that is whole, from its own file or the manifest; else None."""
    if not path.exists():
        return None
    note = None
    with contextlib.suppress(OSError, ValueError):
        notes = read_manifest(path.parent)["shards"]
        note = next((n for n in notes if n["file"] == path.name), None)
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(_note_path(path).read_text())
    whole = note is not None and note["bytes"] == path.stat().st_size
    return note if whole else None


def write_shard(
    dataset: Dataset, number: int, first: int, last: int, path: Path, rule: PackRule
) -> dict:
    """Packs sequences [first, last) into shard `number`, and returns the note of it.

    The file takes its name when it is whole, and counts as finished once its note is beside it.
    """
    cv2.setNumThreads(1)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    writer = ArrayRecordWriter(str(part), "group_size:1,uncompressed")
    entries, problems, count = [], [], 0
    try:
        for i in range(first, last):
            sequence = dataset[i]
            facts = {"name": sequence.name, "is_video": sequence.is_video}
            boxes_xywh = np.full((len(sequence), 4), np.nan)
            members = np.full((len(sequence), MEMBER_COLUMNS), -1)
            for frame in packed_frames(sequence):
                try:
                    record, boxes_xywh[frame] = pack_frame(sequence, int(frame), rule)
                except FrameError as error:
                    problems.append((error.cause, str(error)))
                    continue
                writer.write(record)
                members[frame, RECORD] = count
                count += 1
            visible = sequence.visible & (members[:, RECORD] >= 0)
            facts = json.dumps(facts | {"source": i, "shard": number}).encode()
            entries.append(Entry(boxes_xywh, visible, facts, members))
        writer.write(_annotations(entries))
        writer.close()
        note = {
            "file": path.name,
            **_fingerprint(part),
            "frames": count,
            "problems": dict(Counter(cause for cause, _ in problems)),
            "examples": [message for _, message in problems[:_SHOWN_PROBLEMS]],
        }
        part.replace(path)
    finally:
        if writer.is_open():
            writer.close()
        part.unlink(missing_ok=True)
    _write_json(_note_path(path), note)
    return note


def _run(jobs: list[tuple], num_workers: int) -> Iterator[dict]:
    """Writes the shards, as many at once as there are workers; 0 is this process."""
    if not num_workers:
        yield from (write_shard(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, context, signal.signal, (signal.SIGINT, signal.SIG_DFL)
    ) as pool:
        futures = [pool.submit(write_shard, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.BrokenExecutor as error:
            raise ChildProcessError(
                f"a worker process ended suddenly ({error}); with less memory use fewer workers. "
                "The same command goes on with the shards that are missing."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _annotations(entries: list[Entry]) -> bytes:
    """The sequences of a shard as a record."""
    index, buffer = make_index(entries, {}), io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(index, name) for name in _ARRAYS})
    return buffer.getvalue()


def _read_annotations(path: Path) -> Iterator[Entry]:
    """The sequences of a shard, from its last record."""
    reader = ArrayRecordReader(str(path))
    record = reader.read([reader.num_records() - 1])[0]
    reader.close()
    with np.load(io.BytesIO(record)) as arrays:
        index = Index(**arrays, header={})
    return (index.entry(i) for i in range(len(index)))


def _note_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _fingerprint(path: Path) -> dict:
    with path.open("rb") as file:
        return {
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _write_json(path: Path, content: dict) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, indent=1))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
