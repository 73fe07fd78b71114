r"""Makes the archive that the server of GOT-10k or TrackingNet scores, and examines such archives.

python -m launch.submit --benchmark=got10k_test --root=/data --results=runs/got10k/esat \
    --output=esat_got10k.zip
python -m launch.submit --benchmark=trackingnet_test --root=/data --check=somebody.zip

The servers say little or nothing about files they cannot read. Every finding is a line: FAULT must
be repaired, note is good to know. An archive with faults is not written; the results stay as they
are in any case. Sequences and their numbers of frames come from the data set, or from a file
with a line NAME,FRAMES a sequence, --frames. The exit status is 0 if there is no fault, else 1.
"""

import collections
from pathlib import Path

from absl import app, flags

from data_pipeline.datasets import REGISTRY, make_dataset
from esat_jax.evaluation.result_rows import split_rows
from esat_jax.evaluation.submission_rows import Finding
from esat_jax.evaluation.submissions import (
    SERVERS,
    Expected,
    SubmissionError,
    check_submission,
    make_submission,
)
from launch import errors

_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, f"{' or '.join(SERVERS)}, or NAME:PATH for a folder elsewhere."
)
_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_FRAMES = flags.DEFINE_string("frames", None, "Without the data set: a file of NAME,FRAMES lines.")
_RESULTS = flags.DEFINE_string("results", None, "Folder of one tracker's results.")
_OUTPUT = flags.DEFINE_string("output", None, "The archive to make.")
_CHECK = flags.DEFINE_string("check", None, "The archive to examine.")
_SHOWN = flags.DEFINE_integer("shown", 5, "Findings of a kind to print.", lower_bound=1)
flags.mark_flag_as_required("benchmark")


def read_frames(path: str) -> dict[str, int]:
    """{sequence: frames} of a file of lines `NAME,FRAMES`. Raises: ValueError for another line."""
    frames = {}
    for number, fields in enumerate(split_rows(Path(path).read_bytes(), path), start=1):
        if len(fields) != 2 or not fields[1].isdecimal() or fields[0] in frames:
            raise ValueError(
                f"{path}:{number}: expected NAME,FRAMES once for each sequence, "
                f"got {','.join(fields)!r}."
            )
        frames[fields[0]] = int(fields[1])
    return frames


def find_expected(name: str) -> Expected:
    """What the server expects, from --frames or the data set."""
    if _FRAMES.value:
        return Expected(read_frames(_FRAMES.value))
    dataset = make_dataset(name, _ROOT.value)
    total = REGISTRY[name.partition(":")[0]].total
    if total is not None and len(dataset) != total:
        print(
            f"note: the data set here has {len(dataset)} of its {total} sequences; the server "
            "wants all, and only these are looked at."
        )
    lengths = dict(zip(dataset.names, map(int, dataset.lengths), strict=True))
    return Expected(lengths, {sequence.name: sequence.boxes_xywh[0] for sequence in dataset})


def print_findings(findings: list[Finding]) -> int:
    """Prints them by kind, faults first, and returns how many faults there are."""
    counts = collections.Counter((finding.fault, finding.kind) for finding in findings)
    printed: collections.Counter = collections.Counter()
    for finding in sorted(findings, key=lambda finding: (not finding.fault, finding.kind)):
        key = finding.fault, finding.kind
        printed[key] += 1
        word = "FAULT" if finding.fault else "note"
        if printed[key] <= _SHOWN.value:
            print(f"{word} {finding.kind}: {finding.where}: {finding.text}")
        elif printed[key] == counts[key]:
            print(f"{word} {finding.kind}: {counts[key] - _SHOWN.value} more.")
    return sum(finding.fault for finding in findings)


def main(argv: list[str]) -> int:
    """Makes or examines an archive, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if bool(_CHECK.value) == bool(_RESULTS.value and _OUTPUT.value):
        raise ValueError("give either --check=ZIP, or --results=FOLDER and --output=ZIP.")
    name, path = _BENCHMARK.value, _CHECK.value or _OUTPUT.value
    key = name.partition(":")[0]
    if key not in SERVERS:
        raise ValueError(f"{key} has no server; --benchmark is {' or '.join(SERVERS)}.")
    expected = find_expected(name)
    try:
        if _CHECK.value:
            findings = check_submission(path, key, expected)
        else:
            findings = make_submission(_RESULTS.value, key, expected, path)
    except SubmissionError as error:
        print_findings(error.findings)
        raise
    faults = print_findings(findings)
    print(f"{path}: {len(expected.frames)} sequences of {key} expected, {faults} faults.")
    return 1 if faults else 0


if __name__ == "__main__":
    errors.run(main)
