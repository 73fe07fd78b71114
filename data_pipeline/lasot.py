"""LaSOT (Fan et al. 2019) and its extension LaSOT_ext (Fan et al. 2021)."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.annotations import check_length, has_area, parse_flags
from data_pipeline.records import Record, read_split, read_video_boxes
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

EXT_CLASSES = (
    *("atv", "badminton", "cosplay", "dancingshoe", "footbag", "frisbee", "jianzi", "lantern"),
    *("misc", "opossum", "paddle", "raccoon", "rhino", "skatingshoe", "wingsuit"),
)


@dataclasses.dataclass(frozen=True)
class Lasot:
    """`split` is "train", "test" or "ext".

    Visible is a frame whose box has an area and that is neither occluded nor out of view.
    """

    split: str
    layout: ClassVar[str] = (
        "CLASS/CLASS-1/{img/00000001.jpg, groundtruth.txt, full_occlusion.txt,"
        " out_of_view.txt}, or CLASS.zip"
    )

    def names(self) -> list[str]:
        """Names in order: 1120 train, 280 test or 150 ext."""
        if self.split == "ext":
            return [f"{kind}-{number}" for kind in EXT_CLASSES for number in range(1, 11)]
        test = {kind: numbers for kind, *numbers in read_split("lasot_test.txt")}
        if self.split == "test":
            return [f"{kind}-{number}" for kind in test for number in test[kind]]
        kept_back = {f"{kind}-{number}" for kind in test for number in test[kind]}
        names = [f"{kind}-{number}" for kind in test for number in range(1, 21)]
        return [name for name in names if name not in kept_back]

    def missing(self, store: Store) -> list[str]:
        """Names of the sequences that are not there."""
        there = {path.rpartition("/")[2] for path in self.sources(store)}
        return [name for name in self.names() if name not in there]

    def sources(self, store: Store) -> list[str]:
        """Folders of the sequences that are there, in folders of their classes or not."""
        names = self.names()
        top = store.list()
        paths = {name: name for name in top}
        for kind in {name.rpartition("-")[0] for name in names}.intersection(top):
            paths |= {name: f"{kind}/{name}" for name in store.list(kind)}
        return [paths[name] for name in names if name in paths]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence; frames without a box at its end (monkey-17 has some) are left out."""
        boxes_xywh = read_video_boxes(store, f"{source}/groundtruth.txt")
        visible = has_area(boxes_xywh)
        for flag in ("full_occlusion", "out_of_view"):
            path = f"{source}/{flag}.txt"
            flags = parse_flags(store.read_bytes(path), store.where(path))
            visible &= check_length(flags, boxes_xywh, store.where(path)) == 0
        frames = Frames(f"{source}/img", "{:08d}.jpg", first=1)
        yield Record(source.rpartition("/")[2], frames, boxes_xywh, visible)
