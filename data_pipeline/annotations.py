"""Text files with boxes and flags, as the data sets and their users write them."""

import os
from pathlib import Path

import numpy as np

FIX = "Fetch the sequence again, or list it in config.data.skip_sequences."
_SHOWN = 60  # characters of a wrong line that a message quotes


def read_boxes(path: str | Path) -> np.ndarray:
    """Reads a file of boxes; see `parse_boxes`."""
    return parse_boxes(Path(path).read_bytes(), os.fspath(path))


def parse_boxes(data: bytes, where: str) -> np.ndarray:
    """One box a line, `x,y,w,h` in pixels with commas, tabs or spaces between -> float64 [F, 4].

    Four times `nan` is a frame without the target. Negative and zero sizes are kept as they are.
    The last line need not end in a line break.
    Args: where: the file's name, for messages.
    Raises: ValueError naming the line that is anything else.
    """
    boxes = []
    for number, line in enumerate(_lines(data, where), start=1):
        try:
            box = [float(field) for field in _fields(line)]
        except ValueError:
            box = []
        if len(box) != 4:
            raise ValueError(
                f"{where}:{number}: expected four numbers 'x,y,w,h' in pixels, "
                f"got {_quoted(line)}. {FIX}"
            )
        boxes.append(box)
    if not boxes:
        raise ValueError(f"{where}: expected one box per frame, the file is empty. {FIX}")
    boxes_xywh = np.array(boxes)
    finite = np.isfinite(boxes_xywh)
    wrong = ~(finite.all(axis=1) | np.isnan(boxes_xywh).all(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{where}:{row + 1}: a box is four finite numbers, or four nan if the target is "
            f"absent, got {_quoted(','.join(map(str, boxes[row])))}. {FIX}"
        )
    return boxes_xywh


def read_flags(path: str | Path) -> np.ndarray:
    """Reads a file of flags; see `parse_flags`."""
    return parse_flags(Path(path).read_bytes(), os.fspath(path))


def parse_flags(data: bytes, where: str) -> np.ndarray:
    """Whole numbers, one a line or all in one line -> int64 [F].

    Args: where: the file's name, for messages.
    Raises: ValueError naming the line that holds anything else.
    """
    flags = []
    for number, line in enumerate(_lines(data, where), start=1):
        try:
            flags += [int(field) for field in _fields(line)]
        except ValueError:
            raise ValueError(
                f"{where}:{number}: expected whole numbers, one per frame, got {_quoted(line)}. "
                f"{FIX}"
            ) from None
    if not flags:
        raise ValueError(f"{where}: expected one number per frame, the file is empty. {FIX}")
    return np.array(flags, np.int64)


def check_length(flags: np.ndarray, boxes_xywh: np.ndarray, where: str) -> np.ndarray:
    """Returns the flags. Raises: ValueError unless there is one for each box."""
    if len(flags) != len(boxes_xywh):
        raise ValueError(
            f"{where}: expected {len(boxes_xywh)} numbers, one per box, got {len(flags)}. {FIX}"
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
        raise ValueError(f"{where}: expected text, the file is binary or damaged. {FIX}") from None
    return text.rstrip().splitlines()


def _fields(line: str) -> list[str]:
    """Numbers of a line; an empty place between two commas stays, and is no number."""
    if "," in line:
        return line.strip().rstrip(",").split(",")
    return line.split()


def _quoted(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]} ...")
