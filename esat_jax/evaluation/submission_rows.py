"""What is wrong with the files of a submission, read as the servers read them: commas only."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from esat_jax.evaluation.result_rows import box_flaws, parse_number, quoted, row_count

FASTEST, SLOWEST = 1e-4, 10.0  # seconds per frame that are believed in the median
LONGEST = 600.0  # and of any frame, the first one and its compilation included
_NEAR = 1.5  # px between the given box and the first row; more is told
_SEPARATORS = {"\t": "tabs", ";": "semicolons", " ": "spaces"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something to repair, or, if not `fault`, good to know. where: a path or a sequence."""

    kind: str
    where: str
    text: str
    fault: bool = True


def box_findings(
    data: bytes, where: str, frames: int, given_xywh: np.ndarray | None = None
) -> Iterator[Finding]:
    """Examines a file of boxes of a sequence with so many frames; given_xywh: its first box [4]."""
    rows = _rows(data, where, 4)
    if isinstance(rows, Finding):
        yield rows
        return
    for flaw in box_flaws(rows, frames):
        yield Finding(flaw.kind, where, flaw.text)
    if given_xywh is not None and not (np.abs(rows[0] - given_xywh) <= _NEAR).all():
        numbers = [",".join(f"{number:g}" for number in box) for box in (rows[0], given_xywh)]
        text = f"row 1 is {numbers[0]}, the given box is {numbers[1]}"
        yield Finding("first box", where, text, fault=False)


def time_findings(data: bytes, where: str, frames: int, runs: int) -> Iterator[Finding]:
    """Examines a file of times: a row for each frame, a column for each run, in seconds."""
    seconds = _rows(data, where, runs)
    if isinstance(seconds, Finding):
        yield dataclasses.replace(seconds, kind="times") if seconds.kind == "columns" else seconds
        return
    if len(seconds) != frames:
        yield Finding("times", where, f"{row_count(len(seconds))} for {frames} frames")
    believed = (seconds >= 0) & (seconds <= LONGEST)
    if not believed.all():
        row = int(np.argmin(believed.all(axis=1)))
        times = ",".join(f"{time:g}" for time in seconds[row])
        text = f"row {row + 1} is {times}; seconds per frame are 0 to {LONGEST:g}"
        yield Finding("times", where, text)
        return
    typical = float(np.median(seconds))
    if not FASTEST <= typical <= SLOWEST:
        text = f"the median is {typical:g}; seconds per frame are {FASTEST:g} to {SLOWEST:g}"
        yield Finding("times", where, text)


def _rows(data: bytes, where: str, columns: int) -> np.ndarray | Finding:
    """Rows of numbers [rows, columns], or what is in the way."""
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        return Finding("encoding", where, "it is no plain text: save it as UTF-8 without a mark")
    try:
        lines = data.decode("utf-8").rstrip().splitlines()
    except UnicodeDecodeError:
        return Finding("encoding", where, "it is no text")
    numbers = []
    for number, line in enumerate(lines, start=1):
        fields = line.split(",")
        try:
            numbers.append(list(map(parse_number, fields)))
        except ValueError:
            numbers.append([])
        if len(numbers[-1]) != columns:
            return _wrong_row(where, number, line, columns)
    if not numbers:
        return Finding("columns", where, "it is empty")
    return np.array(numbers)


def _wrong_row(where: str, number: int, line: str, columns: int) -> Finding:
    for separator, name in _SEPARATORS.items():
        # Spaces after commas do no harm.
        if separator in line.strip() and "," not in line:
            text = f"row {number} is separated by {name}: {quoted([line])}; the server reads commas"
            return Finding("separator", where, text)
    form = "x,y,w,h" if columns == 4 else f"{columns} number{'s' * (columns > 1)}"
    return Finding("columns", where, f"row {number} is {quoted([line])}, expected {form}")
