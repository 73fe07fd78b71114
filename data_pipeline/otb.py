"""OTB-100 (Wu et al. 2015)."""

import dataclasses
import re
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import Record, read_split, read_video_boxes, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

FIRST_FRAME = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300}  # others 1
LEFT_OUT = {"Tiger1": 5}  # frames at the beginning that nobody evaluates
PATTERN = {"Board": "{:05d}.jpg", "KiteSurf": "{:04d}.png"}  # others {:04d}.jpg


@dataclasses.dataclass(frozen=True)
class Otb:
    """The 100 sequences. Visible is every frame whose box has an area."""

    layout: ClassVar[str] = (
        "NAME/{img/0001.jpg, groundtruth_rect.txt}, Jogging and Skating2 with"
        " groundtruth_rect.1.txt and .2.txt"
    )

    def names(self) -> list[str]:
        """The 100 names."""
        return [name for line in read_split("otb100.txt") for name in line]

    def missing(self, store: Store) -> list[str]:
        """Names of the sequences that are not there."""
        there = set(self.sources(store))
        return [name for name in self.names() if name not in there]

    def sources(self, store: Store) -> list[str]:
        """Names of the sequences that are there."""
        there = set(store.list())
        return [name for name in self.names() if _folder(name)[0] in there]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        folder, target = _folder(source)
        boxes_xywh = read_video_boxes(store, f"{folder}/groundtruth_rect{target}.txt")
        left_out = LEFT_OUT.get(source, 0)
        first = FIRST_FRAME.get(source, 1) + left_out
        frames = Frames(f"{folder}/img", PATTERN.get(source, "{:04d}.jpg"), first)
        yield video(source, frames, boxes_xywh[left_out:])


def _folder(name: str) -> tuple[str, str]:
    """Folder of a sequence, and what its box file has before the suffix: Jogging_2 -> .2"""
    folder, target = re.fullmatch(r"(.+?)(?:_(\d))?", name).groups()
    return folder, f".{target}" if target else ""
