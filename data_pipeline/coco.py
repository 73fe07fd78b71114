"""COCO 2017 detection (Lin et al. 2014): every object that is not a crowd is a still."""

import dataclasses
import json
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from data_pipeline.records import Record
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

MIN_SIDE_PX = 50  # OSTrack calls smaller objects not visible, though it draws them all the same
_ANNOTATIONS = (  # where it is after unpacking, and in the archive as published
    "annotations/instances_train2017.json",
    "annotations_trainval2017/annotations/instances_train2017.json",
)
_IMAGES = ("images/train2017", "train2017")


@dataclasses.dataclass(frozen=True)
class Coco:
    """The training images. Visible is a box of more than 50 px each way."""

    layout: ClassVar[str] = (
        "annotations/instances_train2017.json (or annotations_trainval2017.zip)"
        " and images/train2017/ (or train2017.zip)"
    )

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """The one annotation file, if it is there."""
        return [path for path in _ANNOTATIONS if store.exists(path)][:1]

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """All objects, named IMAGE_OBJECT."""
        try:
            content = json.loads(store.read_bytes(source))
            files = {image["id"]: image["file_name"] for image in content["images"]}
            folder = next((path for path in _IMAGES if store.exists(path)), _IMAGES[0])
            for item in content["annotations"]:
                if item["iscrowd"] == 0:
                    yield _record(folder, files[item["image_id"]], item)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{store.where(source)}: expected COCO's instances, the file is damaged "
                f"({type(error).__name__}: {error}); fetch it again."
            ) from None


def _record(folder: str, file: str, item: dict) -> Record:
    box_xywh = np.array([item["bbox"]], np.float64).reshape(1, 4)
    visible = (box_xywh[:, 2:] > MIN_SIDE_PX).all(axis=1)
    name = f"{file.rpartition('.')[0]}_{item['id']}"
    return Record(name, Frames(folder, names=(file,)), box_xywh, visible, is_video=False)
