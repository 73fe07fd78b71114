"""The plain form for one's own photographs: a file of JSON lines, one photograph a line."""

import dataclasses
import json
import posixpath
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from data_pipeline.records import Record, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

_LIST = "stills.jsonl"


@dataclasses.dataclass(frozen=True)
class Stills:
    """Every box is a still, named FILE#NUMBER; photographs without boxes are left out.

    `pseudo` also takes the boxes that a model guessed, marked `"pseudo": true`.
    """

    pseudo: bool
    layout: ClassVar[str] = (
        'stills.jsonl with lines {"file": "a.jpg", "boxes": [[x, y, w, h]]} and stills/a.jpg'
    )

    def missing(self, store: Store) -> list[str]:
        """There is no list to compare with."""
        return []

    def sources(self, store: Store) -> list[str]:
        """The one list, if it is there."""
        return [_LIST] if store.exists(_LIST) else []

    def read(self, store: Store, source: str) -> Iterator[Record]:
        """All boxes, in the order of the list."""
        for number, line in enumerate(store.read_bytes(source).splitlines(), start=1):
            try:
                photograph = json.loads(line)
                file, boxes = photograph["file"], photograph["boxes"]
                if photograph.get("pseudo") and not self.pseudo:
                    continue
                boxes_xywh = np.array([box[:4] for box in boxes], np.float64).reshape(-1, 4)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{store.where(source)}:{number}: expected a line such as "
                    '{"file": "a.jpg", "boxes": [[x, y, w, h]]}, got one that is wrong '
                    f"({type(error).__name__}: {error}); correct or remove it."
                ) from None
            folder, name = posixpath.split(f"stills/{file}")
            for i in range(len(boxes_xywh)):
                still = video(f"{file}#{i}", Frames(folder, names=(name,)), boxes_xywh[i : i + 1])
                yield dataclasses.replace(still, is_video=False)
