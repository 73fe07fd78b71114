"""TrackingNet (Müller et al. 2018)."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import Record, first_box_only, list_images, read_video_boxes, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

NUM_CHUNKS = 12


@dataclasses.dataclass(frozen=True)
class TrackingNet:
    """`split` is "train" (the chunks that are there) or "test" (the first box only).

    Visible is every frame whose box has an area. Frames are numbered from 0 without padding.
    """

    split: str
    layout: ClassVar[str] = (
        "TRAIN_0 to TRAIN_11 and TEST, each with anno/VIDEO.txt and"
        " frames/VIDEO/0.jpg or frames/VIDEO.zip"
    )

    @property
    def chunks(self) -> tuple[str, ...]:
        """The folders that the split is made of."""
        train = tuple(f"TRAIN_{number}" for number in range(NUM_CHUNKS))
        return ("TEST",) if self.split == "test" else train

    def missing(self, store: Store) -> list[str]:
        """Chunks that are not there."""
        return sorted(set(self.chunks) - set(store.list()))

    def sources(self, store: Store) -> list[str]:
        """Annotation files without their suffix, chunk after chunk."""
        there = set(store.list())
        return [
            f"{chunk}/{file.removesuffix('.txt')}"
            for chunk in self.chunks
            if chunk in there
            for file in store.list(f"{chunk}/anno")
            if file.endswith(".txt")
        ]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The video."""
        chunk, name = source.split("/", 1)
        folder = f"{chunk}/frames/{name}"
        boxes_xywh = read_video_boxes(store, f"{chunk}/anno/{name}.txt")
        if self.split == "test":
            boxes_xywh = first_box_only(boxes_xywh, len(list_images(store, folder)))
        yield video(name, Frames(folder, "{}.jpg", first=0), boxes_xywh)
