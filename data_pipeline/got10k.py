"""GOT-10k (Huang et al. 2019)."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.annotations import check_length, has_area, parse_flags, parse_lines
from data_pipeline.records import (
    Record,
    first_box_only,
    list_images,
    read_split,
    read_video_boxes,
    video,
)
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

NUM_TRAIN = 9335


@dataclasses.dataclass(frozen=True)
class Got10k:
    """`split` is "train", "vottrain", "votval" (both parts of train), "val" or "test".

    Visible is a frame whose box has an area, that is not marked absent, and of which at least an
    eighth is uncovered. The test set has the first box only.
    """

    split: str
    layout: ClassVar[str] = (
        "{train,val,test}/list.txt, {train,val,test}/SEQUENCE/{00000001.jpg,"
        " groundtruth.txt, absence.label, cover.label}"
    )

    @property
    def _folder(self) -> str:
        return "train" if self.split in ("vottrain", "votval") else self.split

    def names(self, store: Store) -> list[str]:
        """Names of list.txt, of which vottrain and votval take the lines OSTrack takes.

        Those two leave out 1000 sequences for being in VOT, but count them from 0 where their
        names count from 1, so that most of them are still in. Results in papers have it so.
        """
        path = f"{self._folder}/list.txt"
        names = parse_lines(store.read_bytes(path), store.where(path))
        if self._folder == self.split:
            return names
        if len(names) != NUM_TRAIN:
            raise ValueError(
                f"{store.where(path)}: {self.split} is made of line numbers of the list of all "
                f"{NUM_TRAIN} sequences, got {len(names)} lines; fetch the official list again."
            )
        val = _line_numbers("got10k_votval.txt")
        if self.split == "votval":
            return [names[line] for line in sorted(val)]
        left_out = val | _line_numbers("got10k_vot_excluded.txt")
        return [name for line, name in enumerate(names) if line not in left_out]

    def missing(self, store: Store) -> list[str]:
        """Names of the listed sequences that are not there."""
        there = set(store.list(self._folder))
        return [name for name in self.names(store) if name not in there]

    def sources(self, store: Store) -> list[str]:
        """Folders of the listed sequences that are there."""
        if self._folder not in store.list():
            return []
        there = set(store.list(self._folder))
        return [f"{self._folder}/{name}" for name in self.names(store) if name in there]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        name = source.rpartition("/")[2]
        frames = Frames(source, "{:08d}.jpg", first=1)
        boxes_xywh = read_video_boxes(store, f"{source}/groundtruth.txt")
        if self.split == "test":
            num_frames = len(list_images(store, source))
            yield video(name, frames, first_box_only(boxes_xywh, num_frames))
            return
        absence, cover = (
            check_length(
                parse_flags(store.read_bytes(path), store.where(path)),
                boxes_xywh,
                store.where(path),
            )
            for path in (f"{source}/absence.label", f"{source}/cover.label")
        )
        visible = has_area(boxes_xywh) & (absence == 0) & (cover > 0)
        yield Record(name, frames, boxes_xywh, visible)


def _line_numbers(split: str) -> set[int]:
    return {int(number) for line in read_split(split) for number in line}
