"""COCO 2017 detection (Lin et al. 2014): every object that is not a crowd is a still."""

import dataclasses
import json
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.annotations import AnnotationFault, parse_json_box
from data_pipeline.records import Record
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

MIN_SIDE_PX = 50  # OSTrack calls smaller objects not visible, though it draws them all the same
_ANNOTATIONS = (  # where it is after unpacking, and in the archive as published
    "annotations/instances_train2017.json",
    "annotations_trainval2017/annotations/instances_train2017.json",
)
_IMAGES = ("images/train2017", "train2017")
_WRONG = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what JSON can hold


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

    def read(self, store: Store, source: str) -> Iterator[Record | AnnotationFault]:
        """All objects, named IMAGE_OBJECT, and a fault for each that is wrong."""
        try:
            content = json.loads(store.read_bytes(source))
            files = {image["id"]: image["file_name"] for image in content["images"]}
            items = list(content["annotations"])
        except _WRONG as error:
            raise AnnotationFault(
                "damaged file",
                f"{store.where(source)}: expected COCO's instances, the file is damaged "
                f"({type(error).__name__}: {error}); fetch it again.",
            ) from None
        folder = next((path for path in _IMAGES if store.exists(path)), _IMAGES[0])
        for number, item in enumerate(items):
            try:
                if item["iscrowd"] == 0:
                    yield _record(folder, files[item["image_id"]], item)
            except _WRONG as error:
                yield AnnotationFault(
                    "damaged object",
                    f"{store.where(source)}: annotation {number} (from 0) is wrong "
                    f"({type(error).__name__}: {error}); correct it, or fetch the file again.",
                    part=f"annotation {number}",
                )


def _record(folder: str, file: str, item: dict) -> Record:
    box_xywh = parse_json_box(item["bbox"])[None]
    visible = (box_xywh[:, 2:] > MIN_SIDE_PX).all(axis=1)
    name = f"{file.rpartition('.')[0]}_{item['id']}"
    return Record(name, Frames(folder, names=(file,)), box_xywh, visible, is_video=False)
