r"""Finds what is wrong with the data sets on a disk, and says what to do about it.

python -m launch.check_dataset --root=/data --datasets=lasot_train,got10k_train --frames=exists

Prints a line per finding: FAULT should be repaired, note is good to know. --frames=exists looks for
missing, empty and superfluous frames, and into the first frame of each video and every photograph;
decode looks into every frame, which takes hours for large sets; none reads annotations only.
--datasets takes the names of data_pipeline/datasets.py, or NAME:PATH for a folder or zip archive
that is elsewhere; without it, every folder of --root that has a data set's name is looked at.
The exit status is 0 if there is no fault, else 1.
"""

import collections
import concurrent.futures
import itertools
import os

import cv2
from absl import app, flags
from tqdm import tqdm

from data_pipeline.datasets import REGISTRY, present_datasets
from data_pipeline.doctor import (
    FRAME_CHECKS,
    Finding,
    examine_dataset,
    examine_together,
    group_stills,
)
from data_pipeline.index_cache import NoSequences
from data_pipeline.sequences import Dataset
from launch import errors

_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_DATASETS = flags.DEFINE_list(
    "datasets", ["all"], "Names, or NAME:PATH; all takes every set that lies in --root."
)
_FRAMES = flags.DEFINE_enum("frames", "exists", FRAME_CHECKS, "How closely frames are looked at.")
_SHOWN = flags.DEFINE_integer("shown", 10, "Findings of a kind to print.", lower_bound=1)
_THREADS = flags.DEFINE_integer(
    "threads", min(16, os.cpu_count() or 1), "Sequences to look at at a time.", lower_bound=1
)

_PARTS_OF_OTHERS = {"got10k_vottrain", "got10k_votval", "stills_pseudo", "stills_regions"}


def examine_all(root: str) -> int:
    """Examines the data sets whose folders are in the root, and returns the number of faults."""
    names, others = present_datasets(root)
    names = [name for name in names if name not in _PARTS_OF_OTHERS]
    if not names:
        folders = sorted({known.folder for known in REGISTRY.values() if known.folder})
        raise ValueError(
            f"no data set is in {root!r}: expected one of the folders {', '.join(folders)}, or "
            f"stills.jsonl, and there is {', '.join(others) or 'no folder'}; give --root, or "
            "--datasets=NAME:PATH."
        )
    faults = sum(
        examine_folder(list(group))
        for _, group in itertools.groupby(names, lambda name: REGISTRY[name].folder)
    )
    if others:
        _print(
            f"note not looked at, as no data set has such a name: {', '.join(others)}; "
            "give --datasets=NAME:PATH."
        )
    return faults


def examine_folder(names: list[str]) -> int:
    """Examines the data sets of one folder, of which one must be there, and returns the faults."""
    faults, absent = 0, {}
    for name in names:
        try:
            faults += examine(name)
        except NoSequences as error:
            absent[name] = error
        except ValueError as error:
            faults += _fail(name, error)
    if len(absent) == len(names):
        return _fail(", ".join(names), absent[names[0]])
    for name, error in absent.items():
        _print(f"note {name}: {error}")
    return faults


def examine(name: str) -> int:
    """Prints what is found in one data set and returns the number of faults.

    Raises: ValueError if it is not there, or in another layout.
    """
    dataset, findings = examine_dataset(name, _ROOT.value)
    groups = group_stills(dataset)
    look = concurrent.futures.ThreadPoolExecutor(_THREADS.value)
    with look, tqdm(total=len(groups), desc=name, unit="sequence", disable=None) as progress:
        jobs = (look.submit(_examine_group, dataset, group) for group in groups)
        waiting: collections.deque = collections.deque()
        for job in jobs:
            waiting.append(job)
            while len(waiting) > 4 * _THREADS.value:  # so that no set is held in memory
                findings += waiting.popleft().result()
                progress.update()
        for job in waiting:
            findings += job.result()
            progress.update()
    return _report(name, findings, _size(dataset, groups))


def _examine_group(dataset: Dataset, group: list[int]) -> list[Finding]:
    return examine_together([dataset[i] for i in group], _FRAMES.value)


def _size(dataset: Dataset, groups: list[list[int]]) -> str:
    """What the data set has, and how much of it was looked into."""
    if len(dataset) and not dataset[0].is_video:
        num_frames = len(groups)
        size = f"{len(dataset):,} boxes on {num_frames:,} photographs"
    else:
        num_frames = int(dataset.lengths.sum())
        size = f"{len(dataset):,} sequences, {num_frames:,} frames"
    decoded = {"none": 0, "exists": len(groups), "decode": num_frames}[_FRAMES.value]
    return f"{size}, {decoded:,} of them decoded"


def _report(name: str, findings: list[Finding], size: str) -> int:
    faults = sum(finding.fault for finding in findings)
    counts = collections.Counter((finding.fault, finding.kind) for finding in findings)
    printed: collections.Counter = collections.Counter()
    for finding in sorted(findings, key=lambda finding: (not finding.fault, finding.kind)):
        key = (finding.fault, finding.kind)
        printed[key] += 1
        word = "FAULT" if finding.fault else "note"
        if printed[key] <= _SHOWN.value:
            _print(f"{word} {name} {finding.sequence}: {finding.text}".replace(" :", ":"))
        elif printed[key] == counts[key]:
            _print(f"{word} {name}: {counts[key] - _SHOWN.value} more of kind '{finding.kind}'.")
    _print(f"{name}: {size}, {faults} faults, {len(findings) - faults} notes.")
    return faults


def _fail(name: str, error: ValueError) -> int:
    _print(f"FAULT {name}: {error}")
    return 1


def _print(text: str) -> None:
    """Bytes of file names that are no UTF-8 become escapes."""
    print(text.encode("utf-8", "backslashreplace").decode(), flush=True)


def main(argv: list[str]) -> int:
    """Examines the data sets one after the other."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; data sets are named by --datasets")
    cv2.utils.logging.setLogLevel(0)  # damaged images are told of here
    if not _DATASETS.value:
        raise app.UsageError("--datasets names no data set: give names, or all")
    if _DATASETS.value == ["all"]:
        root = _ROOT.value or os.environ.get("ESAT_DATA", "")
        return int(examine_all(root) > 0)
    faults = 0
    for name in _DATASETS.value:
        try:
            faults += examine(name)
        except ValueError as error:
            faults += _fail(name, error)
    return int(faults > 0)


if __name__ == "__main__":
    errors.run(main)
