"""The plain form for one's own photographs: a file of JSON lines, one photograph a line."""

import dataclasses
import json
import math
import posixpath
import zlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from data_pipeline.annotations import AnnotationFault, parse_json_box
from data_pipeline.records import Record, video
from data_pipeline.sequences import Frames
from data_pipeline.stores import Store

_LIST = "stills.jsonl"
_REGION_SHARE = 0.01, 0.25  # of a photograph's area
_REGION_RATIO = 2.5  # largest, of a region's longer to its shorter side


@dataclasses.dataclass(frozen=True)
class Stills:
    """Every box is a still, named FILE#NUMBER; photographs without boxes are left out.

    `pseudo` also takes the boxes that a model guessed, marked `"pseudo": true`. With `regions`,
    boxes are not read: so many random parts of every photograph are taken, always the same ones;
    its line must have "w" and "h", px. Any region can be followed, and a tracker has to.
    """

    pseudo: bool
    regions: int = 0
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
        file = photograph["file"]
        if not isinstance(file, str):
            raise TypeError(f"a file's name is text, got {file!r}")
        if photograph.get("pseudo") and not self.pseudo:
            return []
        if self.regions:
            boxes = _regions(file, photograph["w"], photograph["h"], self.regions)
        else:
            boxes = photograph["boxes"]
        folder, name = posixpath.split(f"stills/{file}")
        stills = []
        for number, box in enumerate(boxes):
            box_xywh = parse_json_box(box)[None]
            still = video(f"{file}#{number}", Frames(folder, names=(name,)), box_xywh)
            stills.append(dataclasses.replace(still, is_video=False))
        return stills


def _regions(file: str, width: int, height: int, count: int) -> list[list[float]]:
    """Boxes x, y, w, h inside a photograph, px; their sizes are spread evenly over the scales."""
    if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
        raise ValueError(f"its width and height in px must be positive, got {width} and {height}")
    rng = np.random.default_rng(zlib.crc32(file.encode()))
    boxes = []
    for _ in range(count):
        side = math.sqrt(width * height * math.exp(rng.uniform(*np.log(_REGION_SHARE))))
        ratio = math.exp(rng.uniform(-0.5, 0.5) * math.log(_REGION_RATIO))
        w, h = min(side * ratio, width), min(side / ratio, height)
        x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
        boxes.append([round(float(number), 2) for number in (x, y, w, h)])
    return boxes
