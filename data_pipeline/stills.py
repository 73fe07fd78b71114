"""The plain form for one's own photographs: a file of JSON lines, one photograph a line."""

import dataclasses
import json
import posixpath
from collections.abc import Iterator
from typing import ClassVar

from data_pipeline.annotations import AnnotationFault, parse_json_box
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

    def read(self, store: Store, source: str) -> Iterator[Record | AnnotationFault]:
        """All boxes, in the order of the list, and a fault for each line that is wrong."""
        for number, line in enumerate(store.read_bytes(source).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                stills = self._parse_line(line)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                yield AnnotationFault(
                    "damaged line",
                    f"{store.where(source)}:{number}: expected a line such as "
                    '{"file": "a.jpg", "boxes": [[x, y, w, h]]}, got one that is wrong '
                    f"({type(error).__name__}: {error}); correct or remove it.",
                    part=f"line {number}",
                )
            else:
                yield from stills

    def _parse_line(self, line: bytes) -> list[Record]:
        photograph = json.loads(line)
        file, boxes = photograph["file"], photograph["boxes"]
        if not isinstance(file, str):
            raise TypeError(f"a file's name is text, got {file!r}")
        if photograph.get("pseudo") and not self.pseudo:
            return []
        folder, name = posixpath.split(f"stills/{file}")
        stills = []
        for number, box in enumerate(boxes):
            box_xywh = parse_json_box(box)[None]
            still = video(f"{file}#{number}", Frames(folder, names=(name,)), box_xywh)
            stills.append(dataclasses.replace(still, is_video=False))
        return stills
