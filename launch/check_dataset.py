r"""Finds what is wrong with the data sets on a disk, and says what to do about it.

python -m launch.check_dataset --root=/data --datasets=lasot_train,got10k_train --frames=exists

Prints a line per finding: FAULT should be repaired, note is good to know. --frames=exists looks for
missing, empty and superfluous frames and into the first frame of each video; decode looks into
every frame, which takes hours for large sets; none reads annotations only. --datasets takes the
names of data_pipeline/datasets.py, or NAME:PATH for a folder or zip archive that is elsewhere.
The exit status is 0 if there is no fault, else 1.
"""

import collections
import concurrent.futures
import os

import cv2
from absl import app, flags
from tqdm import tqdm

from data_pipeline.datasets import REGISTRY
from data_pipeline.doctor import FRAME_CHECKS, Finding, examine_dataset, examine_sequence
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

_PARTS_OF_OTHERS = {"got10k_vottrain", "got10k_votval", "stills_pseudo"}


def examine(name: str, *, required: bool) -> int | None:
    """Prints what is found in one data set and returns the number of faults.

    A set that is not there at all is a fault if `required`, else None is returned.
    """
    try:
        dataset, findings = examine_dataset(name, _ROOT.value)
    except ValueError as error:
        if required:
            _print(f"FAULT {name}: {error}")
        return 1 if required else None
    look = concurrent.futures.ThreadPoolExecutor(_THREADS.value)
    with look, tqdm(total=len(dataset), desc=name, unit="sequence", disable=None) as progress:
        jobs = (look.submit(examine_sequence, sequence, _FRAMES.value) for sequence in dataset)
        waiting: collections.deque = collections.deque()
        for job in jobs:
            waiting.append(job)
            while len(waiting) > 4 * _THREADS.value:  # so that no set is held in memory
                findings += waiting.popleft().result()
                progress.update()
        for job in waiting:
            findings += job.result()
            progress.update()
    num_frames = int(dataset.lengths.sum())
    return _report(name, findings, f"{len(dataset):,} sequences, {num_frames:,} frames")


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


def _print(text: str) -> None:
    """Bytes of file names that are no UTF-8 become escapes."""
    print(text.encode("utf-8", "backslashreplace").decode(), flush=True)


def main(argv: list[str]) -> int:
    """Examines the data sets one after the other."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; data sets are named by --datasets")
    cv2.utils.logging.setLogLevel(0)  # damaged images are told of here
    names, required = _DATASETS.value, True
    if names == ["all"]:
        names, required = [name for name in REGISTRY if name not in _PARTS_OF_OTHERS], False
    faults = [examine(name, required=required) for name in names]
    if all(count is None for count in faults):
        root = _ROOT.value or os.environ.get("ESAT_DATA", "")
        raise ValueError(f"no data set is in {root!r}; give --root, or --datasets=NAME:PATH.")
    return 1 if any(faults) else 0


if __name__ == "__main__":
    errors.run(main)
