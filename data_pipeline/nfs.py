"""NfS (Kiani Galoogahi et al. 2017) at 30 frames a second, in pytracking's conversion."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import Record, read_video_boxes, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store


@dataclasses.dataclass(frozen=True)
class Nfs:
    """The 100 sequences, named nfs_NAME. Visible is every frame whose box has an area."""

    layout: ClassVar[str] = "sequences/NAME/00001.jpg and anno/nfs_NAME.txt"

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """Names of the annotation files."""
        files = store.list("anno")
        return [file.removesuffix(".txt") for file in files if file.endswith(".txt")]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        boxes_xywh = read_video_boxes(store, f"anno/{source}.txt")
        frames = Frames(f"sequences/{source.removeprefix('nfs_')}", "{:05d}.jpg", first=1)
        yield video(source, frames, boxes_xywh)
