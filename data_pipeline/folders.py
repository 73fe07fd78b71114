"""The plain form for one's own videos: a folder with images and one text file a sequence."""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.annotations import AnnotationFault
from data_pipeline.records import (
    Record,
    list_images,
    natural_key,
    one_box_per_image,
    read_video_boxes,
    video,
)
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store, is_folder

_PARTS = ("img", "groundtruth.txt")
_SHOWN_PARTS = 5


@dataclasses.dataclass(frozen=True)
class Folders:
    """Images in the order of the numbers in their names, and one box for each; `nan` is absent."""

    layout: ClassVar[str] = "NAME/img/*.jpg and NAME/groundtruth.txt with a line x,y,w,h an image"

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """All folders; one that is no sequence is told when it is read."""
        return [name for name in store.list() if name != "__MACOSX" and is_folder(store, name)]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """The sequence."""
        _check_parts(store, source)
        path = f"{source}/groundtruth.txt"
        names = sorted(list_images(store, f"{source}/img"), key=natural_key)
        boxes_xywh = one_box_per_image(read_video_boxes(store, path), names, store.where(path))
        yield video(source, Frames(f"{source}/img", names=tuple(names)), boxes_xywh)


def _check_parts(store: Store, source: str) -> None:
    """Raises: AnnotationFault unless the folder has both parts of a sequence."""
    there = store.list(source)
    lacking = [part for part in _PARTS if part not in there]
    if not lacking:
        return
    shown = ", ".join(there[:_SHOWN_PARTS]) + (", ..." * (len(there) > _SHOWN_PARTS))
    raise AnnotationFault(
        "no sequence" if len(lacking) == len(_PARTS) else "missing file",
        f"{store.where(source)}: a sequence has img/ and groundtruth.txt, and here "
        f"{' and '.join(lacking)} {'are' if len(lacking) > 1 else 'is'} missing; "
        f"there is {shown or 'nothing'}. Rename what is there, move the folder away, or list it in "
        "config.data.skip_sequences.",
    )
