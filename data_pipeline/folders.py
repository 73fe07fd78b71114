"""The plain form for one's own videos: a folder with images and one text file a sequence."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import (
    Record,
    list_images,
    natural_key,
    one_box_per_image,
    read_video_boxes,
    video,
)
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store


@dataclasses.dataclass(frozen=True)
class Folders:
    """Images in the order of the numbers in their names, and one box for each; `nan` is absent."""

    layout: ClassVar[str] = "NAME/img/*.jpg and NAME/groundtruth.txt with a line x,y,w,h an image"

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """Folders that have one of the two parts."""
        parts = ("img", "groundtruth.txt")
        return [
            name for name in store.list() if any(store.exists(f"{name}/{part}") for part in parts)
        ]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        path = f"{source}/groundtruth.txt"
        names = sorted(list_images(store, f"{source}/img"), key=natural_key)
        boxes_xywh = one_box_per_image(read_video_boxes(store, path), names, store.where(path))
        yield video(source, Frames(f"{source}/img", names=tuple(names)), boxes_xywh)
