"""Text files with boxes and flags, as the data sets and their users write them."""

import math
import os
from pathlib import Path

import numpy as np

FIX = "Fetch the sequence again, or list it in config.data.skip_sequences."
_TOO_LARGE = 2**63  # for int64
_SHOWN = 60  # characters of a wrong line that a message quotes


class AnnotationFault(ValueError):
    """Annotations that cannot be used.

    Attributes: cause, what they are counted under; part, where in a reader's source they are, if
      the rest of it can be used.
    """

    def __init__(self, cause: str, message: str, part: str = "") -> None:
        super().__init__(message)
        self.cause, self.part = cause, part


def read_boxes(path: str | Path) -> np.ndarray:
    """Reads a file of boxes; see `parse_boxes`."""
    return parse_boxes(Path(path).read_bytes(), os.fspath(path))


def parse_boxes(data: bytes, where: str) -> np.ndarray:
    """One box a line, `x,y,w,h` in pixels with commas, tabs or spaces between -> float64 [F, 4].

    Four times `nan` is a frame without the target. Negative and zero sizes are kept as they are.
    The last line need not end in a line break.
    Args: where: the file's name, for messages.
    Raises: AnnotationFault naming the line that is anything else.
    """
    boxes = []
    for number, line in enumerate(_lines(data, where), start=1):
        try:
            box = [float(field) for field in _fields(line)]
        except ValueError:
            box = []
        if len(box) != 4:
            polygon = " (eight are a polygon: write the box around it)" * (len(box) == 8)
            raise AnnotationFault(
                "damaged box",
                f"{where}:{number}: expected four numbers 'x,y,w,h' in pixels, "
                f"got {_quoted(line)}{polygon}. {FIX}",
            )
        boxes.append(box)
    if not boxes:
        raise AnnotationFault(
            "empty file", f"{where}: expected one box per frame, the file is empty. {FIX}"
        )
    boxes_xywh = np.array(boxes)
    finite = np.isfinite(boxes_xywh)
    wrong = ~(finite.all(axis=1) | np.isnan(boxes_xywh).all(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise AnnotationFault(
            "damaged box",
            f"{where}:{row + 1}: a box is four finite numbers, or four nan if the target is "
            f"absent, got {_quoted(','.join(map(str, boxes[row])))}. {FIX}",
        )
    return boxes_xywh


def parse_json_box(row: object) -> np.ndarray:
    """A box of a JSON file: four finite numbers [x, y, w, h], then perhaps names -> float64 [4].

    Raises: ValueError, without the file's name, for anything else, such as a fifth number.
    """
    numbers, names = (row[:4], row[4:]) if isinstance(row, list) else ([], [])
    is_box = len(numbers) == 4 and all(type(number) in (int, float) for number in numbers)
    if not (is_box and all(map(_is_finite, numbers)) and all(isinstance(n, str) for n in names)):
        raise ValueError(f"a box is four finite numbers [x, y, w, h], got {_quoted(str(row))}")
    return np.array(numbers, np.float64)


def read_flags(path: str | Path) -> np.ndarray:
    """Reads a file of flags; see `parse_flags`."""
    return parse_flags(Path(path).read_bytes(), os.fspath(path))


def parse_flags(data: bytes, where: str) -> np.ndarray:
    """Whole numbers, one a line or all in one line -> int64 [F].

    Args: where: the file's name, for messages.
    Raises: AnnotationFault naming the line that holds anything else.
    """
    flags = []
    for number, line in enumerate(_lines(data, where), start=1):
        try:
            values = [int(field) for field in _fields(line)]
        except ValueError:
            values = [_TOO_LARGE]
        if any(abs(value) >= _TOO_LARGE for value in values):
            raise AnnotationFault(
                "damaged flag",
                f"{where}:{number}: expected whole numbers, one per frame, got {_quoted(line)}. "
                f"{FIX}",
            )
        flags += values
    if not flags:
        raise AnnotationFault(
            "empty file", f"{where}: expected one number per frame, the file is empty. {FIX}"
        )
    return np.array(flags, np.int64)


def check_length(flags: np.ndarray, boxes_xywh: np.ndarray, where: str) -> np.ndarray:
    """Returns the flags. Raises: AnnotationFault unless there is one for each box."""
    if len(flags) != len(boxes_xywh):
        raise AnnotationFault(
            "wrong count",
            f"{where}: expected {len(boxes_xywh)} numbers, one per box, got {len(flags)}. {FIX}",
        )
    return flags


def has_area(boxes_xywh: np.ndarray) -> np.ndarray:
    """Boxes [..., 4] with a positive width and height -> bool [...]; NaN has none."""
    return (boxes_xywh[..., 2] > 0) & (boxes_xywh[..., 3] > 0)


def parse_lines(data: bytes, where: str) -> list[str]:
    """The lines of a list of names, without empty ones. Raises: ValueError if it is no text."""
    return [line.strip() for line in _lines(data, where) if line.strip()]


def _lines(data: bytes, where: str) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationFault(
            "damaged file", f"{where}: expected text, the file is binary or damaged. {FIX}"
        ) from None
    return text.rstrip().splitlines()


def _fields(line: str) -> list[str]:
    """Numbers of a line; an empty place between two commas stays, and is no number."""
    if "," in line:
        return line.strip().rstrip(",").split(",")
    return line.split()


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _quoted(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]} ...")
