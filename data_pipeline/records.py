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
    """Returns the boxes. Raises: AnnotationFault unless there is one for each image."""
    if len(boxes_xywh) != len(names):
        raise AnnotationFault(
            "wrong count",
            f"{where}: expected one box for each of the {len(names)} images of the sequence, got "
            f"{len(boxes_xywh)}. {FIX}",
        )
    return boxes_xywh


def first_box_only(boxes_xywh: np.ndarray, num_frames: int) -> np.ndarray:
    """Boxes of a test video whose truth is kept secret after frame 0: NaN [F, 4] from there."""
    boxes_all = np.full((max(num_frames, len(boxes_xywh)), 4), np.nan)
    boxes_all[: len(boxes_xywh)] = boxes_xywh
    return boxes_all


def read_split(name: str) -> list[list[str]]:
    """Words of each line of a file in `splits/`, comments left out."""
    text = (Path(__file__).parent / "splits" / name).read_text()
    return [line.split() for line in text.splitlines() if not line.startswith("#")]
