"""Writes and checks packed data sets: shards that are whole or absent, so a stopped run goes on."""

import contextlib
import dataclasses
import fcntl
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from data_pipeline.fingerprint import CHANGED, fingerprint
from data_pipeline.index import make_index, write_index
from data_pipeline.packed import ANNOTATIONS, FORMAT, MANIFEST, read_manifest
from data_pipeline.packing import PackRule, num_packed_frames
from data_pipeline.sequences import Dataset
from data_pipeline.shard_files import (
    file_facts,
    finished,
    note_path,
    read_annotations,
    write_json,
    write_shard,
)
from data_pipeline.workers import run_jobs

BEGUN = "packing.json"  # settings of a packing that is not finished
LOCK = ".packing.lock"

_LOG = logging.getLogger(__name__)


def pack_dataset(
    dataset: Dataset, root: Path, rule: PackRule, *, frames_per_shard: int, num_workers: int
) -> Iterator[dict]:
    """Packs a data set into the folder `root`, going on where an earlier run was stopped.

    Yields: a note for each shard as it is finished, or found finished: its file, bytes, sha256, the
      number of `frames` stored, and `problems`, a count per cause.
    Raises: ValueError if `root` holds a packing with other settings, or another process packs into
      it; OSError if it is full.
    """
    settings = make_settings(dataset, rule, frames_per_shard)
    with only_packer(root):
        yield from _pack(dataset, root, rule, settings, num_workers)


def _pack(
    dataset: Dataset, root: Path, rule: PackRule, settings: dict, num_workers: int
) -> Iterator[dict]:
    begin(root, settings)
    plan = plan_shards(dataset, settings["frames_per_shard"])
    paths = [root / f"shard-{number:05d}.array_record" for number in range(len(plan))]
    notes = {path.name: note for path in paths if (note := finished(path)) is not None}
    yield from notes.values()
    jobs = [
        (dataset, number, *plan[number], path, rule)
        for number, path in enumerate(paths)
        if path.name not in notes
    ]
    advice = "The same command goes on with the shards that are missing."
    for note in run_jobs(write_shard, jobs, num_workers, advice):
        notes[note["file"]] = note
        yield note
    entries = (entry for path in paths for entry in read_annotations(path))
    write_index(make_index(entries, {"packed": True}), root / ANNOTATIONS)
    annotations = {"file": ANNOTATIONS, **file_facts(root / ANNOTATIONS)}
    shards = [notes[path.name] for path in paths]
    write_json(
        root / MANIFEST,
        {"format": FORMAT, "settings": settings, "annotations": annotations, "shards": shards},
    )
    for path in (root / BEGUN, *map(note_path, paths)):
        path.unlink(missing_ok=True)


def verify(root: Path) -> Iterator[tuple[str, str]]:
    """Compares every file of a packed data set with its checksum; yields (file, what is wrong).

    What is wrong is "" for a file that is as it was written. Raises: ValueError without a manifest.
    """
    manifest = read_manifest(root)
    for note in (manifest["annotations"], *manifest["shards"]):
        try:
            found = file_facts(root / note["file"])
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


@contextlib.contextmanager
def only_packer(root: Path) -> Iterator[None]:
    """Makes the folder, and keeps other processes from packing into it at the same time.

    What a stopped run left half written is deleted, before and after.
    Raises: ValueError if another process packs into it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"another process packs into {root}; wait for it, or give another folder."
            ) from None
        except OSError as error:
            _LOG.warning("%s cannot be locked (%s): pack into it only once at a time", root, error)
        try:
            _remove_parts(root)
            yield
        finally:
            _remove_parts(root)
            (root / LOCK).unlink(missing_ok=True)


def _remove_parts(root: Path) -> None:
    for part in root.glob(".shard-*.part"):
        part.unlink()


def begin(root: Path, settings: dict) -> None:
    """Notes the settings in the folder. Raises: ValueError if it has others."""
    if (root / MANIFEST).exists():
        before = read_manifest(root)["settings"]
    elif (root / BEGUN).exists():
        before = _read_begun(root)
    else:
        write_json(root / BEGUN, settings)
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


def _read_begun(root: Path) -> dict:
    try:
        return json.loads((root / BEGUN).read_text())
    except ValueError as problem:
        raise ValueError(
            f"{root / BEGUN} is damaged ({problem}), so nobody knows what the shards beside it "
            f"were made with: delete {root} and pack again."
        ) from None


def plan_shards(dataset: Dataset, frames_per_shard: int) -> list[tuple[int, int]]:
    """Runs [first, last) of sequences that become a shard each, with whole sequences."""
    shards, first, frames = [], 0, 0
    for i, count in enumerate(num_packed_frames(dataset)):
        if frames and frames + count > frames_per_shard:
            shards.append((first, i))
            first, frames = i, 0
        frames += int(count)
    return [*shards, (first, len(dataset))] if len(dataset) else []
