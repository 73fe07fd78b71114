"""What a data set's reader yields, and what several readers do alike."""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from data_pipeline.annotations import FIX, AnnotationFault, has_area, parse_boxes
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One sequence as its annotation files describe it; the fields are those of `Sequence`."""

    name: str
    frames: Frames
    boxes_xywh: np.ndarray
    visible: np.ndarray
    is_video: bool = True


class Reader(Protocol):
    """One data set's layout on disk. Readers are frozen dataclasses: their repr tells them apart.

    Attributes: layout: what the files are expected to look like, for messages.
    """

    layout: str

    def sources(self, store: Store) -> list[str]:
        """What `read` can be called with: mostly the folders of the sequences that are there.

        Raises: ValueError or OSError if not even that can be told.
        """

    def read(self, store: Store, source: str) -> Iterable[Record | AnnotationFault]:
        """The sequences of a source, one for a video, and faults in parts that are left out.

        Raises: AnnotationFault, OSError if no more of the source can be used.
        """

    def missing(self, store: Store) -> list[str]:
        """What the complete data set has and this one has not; empty if there is no list of it."""


def read_video_boxes(store: Store, path: str) -> np.ndarray:
    """Reads a file of boxes from a store -> float64 [F, 4] px."""
    return parse_boxes(store.read_bytes(path), store.where(path))


def video(name: str, frames: Frames, boxes_xywh: np.ndarray) -> Record:
    """A video whose target is visible wherever its box has an area."""
    return Record(name, frames, boxes_xywh, has_area(boxes_xywh))


def list_images(store: Store, folder: str) -> list[str]:
    """Names of the images in a folder, in lexicographic order."""
    return [name for name in store.list(folder) if is_image(name)]


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image, and not of one that the system hides."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts 2.jpg before 10.jpg: digits count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def one_box_per_image(boxes_xywh: np.ndarray, names: list[str], where: str) -> np.ndarray:
    """Returns the boxes. Raises: AnnotationFault unless there is one for each image, in order."""
    if len(boxes_xywh) != len(names):
        raise AnnotationFault(
            "wrong count",
            f"{where}: expected one box for each of the {len(names)} images of the sequence, got "
            f"{len(boxes_xywh)}; {_odd_image(names, len(boxes_xywh))}. {FIX}",
        )
    return boxes_xywh


def _odd_image(names: list[str], num_boxes: int) -> str:
    """Which image is missing or surplus, as far as names and numbers tell."""
    if not names:
        return "there is no image"
    missing = _left_out(names)
    if len(missing) == num_boxes - len(names):
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        return f"{missing[0]}{more} missing"
    if num_boxes > len(names):
        return f"the last image is {names[-1]}"
    return f"{names[num_boxes]} is the first image without one"


def _left_out(names: list[str]) -> list[str]:
    """Names whose numbers these leave out: of 1.jpg and 3.jpg, 2.jpg; [] if they have no number."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    if None in parts or len({part.group(1, 3) for part in parts}) > 1:
        return []
    numbers = {int(part[2]) for part in parts}
    before, digits, after = parts[0].groups()
    return [
        f"{before}{number:0{len(digits)}d}{after}"
        for number in range(min(numbers), max(numbers))
        if number not in numbers
    ]


def first_box_only(boxes_xywh: np.ndarray, num_frames: int) -> np.ndarray:
    """Boxes of a test video whose truth is kept secret after frame 0: NaN [F, 4] from there."""
    boxes_all = np.full((max(num_frames, len(boxes_xywh)), 4), np.nan)
    boxes_all[: len(boxes_xywh)] = boxes_xywh
    return boxes_all


def read_split(name: str) -> list[list[str]]:
    """Words of each line of a file in `splits/`, comments left out."""
    text = (Path(__file__).parent / "splits" / name).read_text()
    return [line.split() for line in text.splitlines() if not line.startswith("#")]
