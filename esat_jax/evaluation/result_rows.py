"""Text of results: rows of numbers, whatever separates them, and what is wrong with boxes."""

import dataclasses
import re
from collections.abc import Collection, Iterator

import numpy as np

_SEPARATORS = re.compile(r"\s*[,;]\s*|\s+")
_QUOTED = 60  # characters of a wrong row that a message quotes
_NAMED = 3  # sequences that a message names


@dataclasses.dataclass(frozen=True)
class Flaw:
    """Something wrong with boxes: its kind, such as "short", and what exactly."""

    kind: str
    text: str


def split_rows(data: bytes, where: str) -> list[list[str]]:
    """The fields of every row; commas, semicolons, tabs or spaces may separate them.

    Empty lines at the end are no rows.
    Args: where: the file's name, for messages.
    Raises: ValueError if the file is no text, or has no row.
    """
    return [_fields(line) for line in _lines(data, where)]


def parse_numbers(data: bytes, where: str, columns: int | None = None) -> np.ndarray:
    """Rows of numbers -> float64 [rows, columns]; `nan` and `inf` are numbers.

    Args: columns: how many each row has; by default as many as the first.
    Raises: ValueError naming the first row that has something else.
    """
    lines = _lines(data, where)
    columns = columns or len(_fields(lines[0]))
    try:  # NumPy's reader is five times as fast, but knows one separator and tells little
        numbers = np.loadtxt(lines, delimiter=_delimiter(lines[0]), comments=None, ndmin=2)
        if numbers.shape == (len(lines), columns):  # it passes over empty lines
            return numbers
    except ValueError:
        pass  # the reader below says where, if it cannot read it either
    rows = []
    for number, fields in enumerate(map(_fields, lines), start=1):
        try:
            rows.append(list(map(parse_number, fields)))
        except ValueError:
            rows.append([])
        if len(rows[-1]) != columns:
            form = "four numbers x,y,w,h" if columns == 4 else f"{columns} numbers"
            raise ValueError(f"{where}:{number}: expected {form}, got {quoted(fields)}.")
    return np.array(rows)


def parse_number(field: str) -> float:
    """One number. Raises: ValueError, also for 1_000, which Python alone takes for a number."""
    if "_" in field:
        raise ValueError(f"{field!r} is no number.")
    return float(field)


def parse_boxes(data: bytes, where: str) -> np.ndarray:
    """Rows `x,y,w,h` in px -> float64 [rows, 4]. Raises: as `parse_numbers`."""
    return parse_numbers(data, where, 4)


def box_flaws(boxes_xywh: np.ndarray, num_frames: int) -> Iterator[Flaw]:
    """What is wrong with the boxes [rows, 4] of a sequence; nothing if it yields nothing.

    Kinds: short, long, nan, infinite, negative, zero. Each is told once, with its first row.
    """
    rows = len(boxes_xywh)
    if rows != num_frames:
        kind = "short" if rows < num_frames else "long"
        yield Flaw(kind, f"{row_count(rows)} for {num_frames} frames")
    sizes = boxes_xywh[:, 2:]
    for kind, found, what in (
        ("nan", np.isnan(boxes_xywh), "NaN"),
        ("infinite", np.isinf(boxes_xywh), "infinite numbers"),
        ("negative", sizes < 0, "a negative width or height"),
        ("zero", sizes == 0, "a width or height of zero"),
    ):
        bad = np.flatnonzero(found.any(axis=1))
        if len(bad):
            box = ",".join(f"{number:g}" for number in boxes_xywh[bad[0]])
            number = f"row {bad[0] + 1}" if len(bad) == 1 else f"{len(bad)} rows"
            first = "" if len(bad) == 1 else f", the first is row {bad[0] + 1}"
            yield Flaw(kind, f"{number} with {what}{first}: {box}")


def row_count(rows: int) -> str:
    """How many rows, in words."""
    return "1 row" if rows == 1 else f"{rows} rows"


def quoted(fields: Collection[str]) -> str:
    """The fields of a row as a message quotes them."""
    text = ",".join(fields)
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]} ...")


def shortened(names: Collection[str], shown: int = _NAMED) -> str:
    """The first names, and how many there are more."""
    text = ", ".join(list(names)[:shown])
    return text + f" and {len(names) - shown} more" * (len(names) > shown)


def _lines(data: bytes, where: str) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(f"{where}: expected text with a row per frame, the file is binary.")
    lines = text.rstrip().splitlines()
    if not lines:
        raise ValueError(f"{where}: expected a row per frame, the file is empty.")
    return lines


def _fields(line: str) -> list[str]:
    return _SEPARATORS.split(line.strip().rstrip(",;").rstrip())


def _delimiter(line: str) -> str | None:
    """What separates the numbers of a line; None is white space."""
    return next((separator for separator in ",;" if separator in line), None)
