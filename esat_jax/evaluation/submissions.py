"""Archives for the servers of GOT-10k and TrackingNet: made from results, and examined.

GOT-10k takes SEQUENCE/SEQUENCE_001.txt and SEQUENCE/SEQUENCE_time.txt, TrackingNet SEQUENCE.txt at
the archive's root. Both read commas. What they cannot read they leave out or score as zero, mostly
without a word.
"""

import collections
import dataclasses
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from esat_jax.atomic import complete_file
from esat_jax.evaluation.benchmarks import find_benchmark
from esat_jax.evaluation.result_files import find_results, find_times
from esat_jax.evaluation.result_rows import split_rows
from esat_jax.evaluation.submission_rows import Finding, box_findings, time_findings

SERVERS = ("got10k_test", "trackingnet_test")
_OLDEST = (1980, 1, 1, 0, 0, 0)  # the time of all entries: the same results make the same archive
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


class SubmissionError(ValueError):
    """An archive that was not made, as the server could not use it; `findings` say why."""

    def __init__(self, findings: list["Finding"]) -> None:
        faults = sum(finding.fault for finding in findings)
        super().__init__(f"the results have {faults} faults; no archive was written.")
        self.findings = findings


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What the server expects. frames: {sequence: how many}; given_xywh: {sequence: first box}."""

    frames: Mapping[str, int]
    given_xywh: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def make_submission(
    results: str | Path, benchmark: str, expected: Expected, output: str | Path
) -> list[Finding]:
    """Writes the archive of the results in a folder, which stays as it is; returns its notes.

    Numbers are copied digit for digit; only what separates them becomes commas.
    Raises: SubmissionError if `check_submission` finds a fault; then nothing is written.
    """
    with complete_file(output) as part:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in _entries(results, benchmark, expected):
                info = zipfile.ZipInfo(name, _OLDEST)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, content)
        findings = check_submission(part, benchmark, expected)
        if any(finding.fault for finding in findings):
            raise SubmissionError(findings)
    return findings


def _entries(results: str | Path, benchmark: str, expected: Expected) -> Iterator[tuple[str, str]]:
    boxes = find_results(results, benchmark, expected.frames)
    times = find_times(results, benchmark, expected.frames)
    form = _form(benchmark)
    for name, runs in boxes.items():
        for run, (where, read) in runs.items():
            yield form.boxes.format(sequence=name, run=run), _with_commas(read(), where)
        if form.times and name in times:
            where, read = times[name]
            yield form.times.format(sequence=name), _with_commas(read(), where)


def _with_commas(data: bytes, where: str) -> str:
    return "".join(f"{','.join(fields)}\n" for fields in split_rows(data, where))


def check_submission(path: str | Path, benchmark: str, expected: Expected) -> list[Finding]:
    """Everything in an archive that the server would refuse, pass over or misread.

    Kinds: archive, surplus, duplicate, nested, missing, encoding, separator, columns, short, long,
    nan, infinite, negative, zero, times, first box (a note). Nothing is fixed.
    """
    data = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return list(_check_archive(archive, benchmark, expected))
    except zipfile.BadZipFile:
        return [Finding("archive", Path(path).name, "it is no zip archive, or was cut short")]


@dataclasses.dataclass(frozen=True)
class _Form:
    """Paths in the archive; `times` is "" where the server wants none. wrapped: see `_place`."""

    boxes: str
    times: str
    wrapped: bool


def _form(benchmark: str) -> _Form:
    tag = find_benchmark(benchmark).tag
    if tag == "got10k":
        folder = "{sequence}/{sequence}_"
        return _Form(f"{folder}{{run:03d}}.txt", f"{folder}time.txt", wrapped=True)
    if tag == "trackingnet":
        return _Form("{sequence}.txt", "", wrapped=False)
    raise ValueError(f"{benchmark} has no server; there are {', '.join(SERVERS)}.")


def _check_archive(
    archive: zipfile.ZipFile, benchmark: str, expected: Expected
) -> Iterator[Finding]:
    form = _form(benchmark)
    infos = [info for info in archive.infolist() if not info.is_dir()]
    for name, count in collections.Counter(info.filename for info in infos).items():
        if count > 1:
            yield Finding("duplicate", name, f"it is {count} times in the archive")
    known = _known_files(form, expected)
    found: dict[str, dict[int, str]] = collections.defaultdict(dict)  # sequence: run or 0: path
    for path in dict.fromkeys(info.filename for info in infos):
        name, run = known.get(PurePosixPath(path).name, ("", 0))
        if not name or any(part in _JUNK for part in PurePosixPath(path).parts):
            yield Finding("surplus", path, _why_surplus(path, form, expected))
            continue
        other = found[name].setdefault(run, path)
        if other != path:
            yield Finding("duplicate", path, f"sequence {name} is also in {other}")
    yield from _check_places(form, found)
    for name in expected.frames:
        yield from _check_sequence(archive, form, name, found.get(name, {}), expected)


def _known_files(form: _Form, expected: Expected) -> dict[str, tuple[str, int]]:
    """File names without folders -> (sequence, run); run 0 are the times."""
    known = {}
    for name in expected.frames:
        for run in range(1, 10 if form.times else 2):
            path = form.boxes.format(sequence=name, run=run)
            known[PurePosixPath(path).name] = name, run
        if form.times:
            known[PurePosixPath(form.times.format(sequence=name)).name] = name, 0
    return known


def _why_surplus(path: str, form: _Form, expected: Expected) -> str:
    if any(part in _JUNK for part in PurePosixPath(path).parts):
        return "a file of the operating system, not of a sequence"
    if "\\" in path:
        return "folders are separated by backslashes, which are part of the name on the server"
    # TrackingNet's server takes every path that has SEQUENCE.txt in it, and none if there are two.
    mixed_up = [name for name in expected.frames if not form.times and f"{name}.txt" in path]
    if mixed_up:
        return f"the server takes it for {mixed_up[0]}, finds two files and scores none"
    shown = form.boxes.format(sequence="SEQUENCE", run=1)
    return f"it belongs to no sequence; files are called {shown}"


def _check_places(form: _Form, found: Mapping[str, Mapping[int, str]]) -> Iterator[Finding]:
    """Each file lies where it belongs, or all of them in one folder more, which GOT-10k allows."""
    wraps = collections.Counter()
    for name, paths in found.items():
        for run, path in paths.items():
            right = (form.boxes if run else form.times).format(sequence=name, run=run)
            wrap = path.removesuffix(right).strip("/") if path.endswith(f"/{right}") else None
            if path == right:
                wraps[""] += 1
            elif form.wrapped and wrap is not None and "/" not in wrap:
                wraps[wrap] += 1
            else:
                yield Finding("nested", path, f"expected at {right}")
    for wrap, count in wraps.most_common()[1:]:
        yield Finding("nested", f"{wrap}/", f"{count} files lie here, others elsewhere")
    if wraps and (wrap := wraps.most_common(1)[0][0]):
        yield Finding("nested", f"{wrap}/", "a folder around all, which is allowed", fault=False)


def _check_sequence(
    archive: zipfile.ZipFile,
    form: _Form,
    name: str,
    paths: Mapping[int, str],
    expected: Expected,
) -> Iterator[Finding]:
    frames, runs = expected.frames[name], [run for run in paths if run]
    if 1 not in runs:
        yield Finding("missing", name, f"{form.boxes.format(sequence=name, run=1)} is not there")
    for run in runs:
        data = _content(archive, paths[run])
        if isinstance(data, Finding):
            yield data
        else:
            yield from box_findings(data, paths[run], frames, expected.given_xywh.get(name))
    if form.times and runs:
        if 0 not in paths:
            yield Finding("times", name, f"{form.times.format(sequence=name)} is missing")
            return
        data = _content(archive, paths[0])
        if isinstance(data, Finding):
            yield data
        else:
            yield from time_findings(data, paths[0], frames, len(runs))


def _content(archive: zipfile.ZipFile, path: str) -> bytes | Finding:
    try:
        return archive.read(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        return Finding("archive", path, f"the entry is damaged or encrypted ({error})")
