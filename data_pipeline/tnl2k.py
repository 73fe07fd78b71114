"""TNL2K (Wang et al. 2021), followed by its first box; its sentences are not read."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import Record, list_images, one_box_per_image, read_video_boxes, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store


@dataclasses.dataclass(frozen=True)
class Tnl2k:
    """`split` is "train" or "test", the name of a folder; the test set may lie in the root.

    Visible is every frame whose box has an area. Frames have all kinds of names and formats, and
    are in lexicographic order.
    """

    split: str
    layout: ClassVar[str] = "{train,test}/SEQUENCE/{imgs/*, groundtruth.txt}"

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """Folders that have one of the two parts."""
        top = store.list()
        if self.split in top:
            paths = [f"{self.split}/{name}" for name in store.list(self.split)]
        else:
            paths = top if self.split == "test" and "train" not in top else []
        parts = ("groundtruth.txt", "imgs")
        return [path for path in paths if any(store.exists(f"{path}/{part}") for part in parts)]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        path = f"{source}/groundtruth.txt"
        names = list_images(store, f"{source}/imgs")
        boxes_xywh = one_box_per_image(read_video_boxes(store, path), names, store.where(path))
        frames = Frames(f"{source}/imgs", names=tuple(names))
        yield video(source.rpartition("/")[2], frames, boxes_xywh)
