"""UAV123 (Müller et al. 2016)."""

import dataclasses
import re
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.records import Record, read_video_boxes, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

# The frame that a sequence begins with, where it is not 1: several are cut from one video.
FIRST_FRAME = {
    **{"bird1_2": 775, "bird1_3": 1573, "car1_2": 751, "car1_3": 1627, "car6_2": 487},
    **{"car6_3": 1807, "car6_4": 2953, "car6_5": 3925, "car8_2": 1357, "car16_2": 415},
    **{"group1_2": 1333, "group1_3": 2515, "group1_4": 3925, "group2_2": 907, "group2_3": 1771},
    **{"group3_2": 1567, "group3_3": 2827, "group3_4": 4369, "person2_2": 1189},
    **{"person4_2": 1501, "person5_2": 877, "person7_2": 1249, "person8_2": 1075},
    **{"person12_2": 601, "person14_2": 847, "person14_3": 1813, "person17_2": 1501},
    **{"person19_2": 1243, "person19_3": 2791, "truck4_2": 577, "uav1_2": 1555, "uav1_3": 2473},
}


@dataclasses.dataclass(frozen=True)
class Uav123:
    """The 123 sequences, named uav_NAME. Visible is every frame whose box has an area."""

    layout: ClassVar[str] = "data_seq/UAV123/VIDEO/000001.jpg and anno/UAV123/NAME.txt"

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """Names of the sequences: those of the annotation files, with uav_ before them."""
        files = store.list("anno/UAV123")
        return [f"uav_{file.removesuffix('.txt')}" for file in files if file.endswith(".txt")]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        name = source.removeprefix("uav_")
        boxes_xywh = read_video_boxes(store, f"anno/UAV123/{name}.txt")
        folder = f"data_seq/UAV123/{re.sub(r'_[0-9]+$', '', name)}"
        frames = Frames(folder, "{:06d}.jpg", FIRST_FRAME.get(name, 1))
        yield video(source, frames, boxes_xywh)
