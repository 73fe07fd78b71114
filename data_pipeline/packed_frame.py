"""One packed frame: which part of it is stored, and its pixels; a record of a shard.

The part is a JPEG of which any region is decoded alone, or an ordinary image file.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipeline.crop import Frame
from data_pipeline.decoding import DecodedFrame, JpegFrame, decode_image
from data_pipeline.tiled_jpeg import EDGE_PX, TiledJpeg

_HEAD = struct.Struct("<7I")  # the numbers of a place, and whether a tiled JPEG follows


class Place(NamedTuple):
    """The stored part of a frame of `height` x `width` px.

    It begins in the corner (x0, y0) and has `part_height` x `part_width` px.
    """

    x0: int
    y0: int
    part_height: int
    part_width: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The frame's rows that are stored."""
        return slice(self.y0, self.y0 + self.part_height)

    @property
    def columns(self) -> slice:
        """The frame's columns that are stored."""
        return slice(self.x0, self.x0 + self.part_width)


def join_record(place: Place, picture: bytes, *, tiled: bool) -> bytes:
    """A frame as a record: the stored part as a tiled JPEG, or else as an image file."""
    return _HEAD.pack(*place, tiled) + picture


def split_record(record: bytes) -> tuple[Place, memoryview, bool]:
    """What `join_record` joined. Raises: ValueError if the record is too short for it."""
    if len(record) <= _HEAD.size:
        raise ValueError(f"the record of {len(record)} bytes is no packed frame")
    *place, tiled = _HEAD.unpack_from(record)
    return Place(*place), memoryview(record)[_HEAD.size :], bool(tiled)


def picture_file(record: bytes) -> bytes:
    """The image file of a record: a JPEG of the stored part. Raises: ValueError if damaged."""
    _, picture, tiled = split_record(record)
    return bytes(TiledJpeg(picture).file if tiled else picture)


class PackedFrame:
    """A frame of which a part is stored; see `crop.Frame`."""

    def __init__(
        self,
        record: bytes,
        *,
        reduced: bool,
        error: Callable[[str, str], Exception],
        open_whole: Callable[[], Frame] | None,
    ) -> None:
        """Args:
        error: makes what is raised, from a cause and a sentence's part.
        open_whole: opens the frame where more of it is, for pixels that are not stored here.
        """
        self.place, picture, tiled = split_record(record)
        self.height, self.width = self.place.height, self.place.width
        if tiled:
            self._stored, self.reduced = TiledJpeg(picture), reduced
        else:
            self._stored = JpegFrame(picture) if reduced else DecodedFrame(decode_image(picture))
            self.reduced = self._stored.reduced
        self._error, self._open_whole = error, open_whole

    def holds(self, rows: slice, columns: slice) -> bool:
        """Whether all of the frame's `[rows, columns]` is stored, as it decodes from the whole."""
        place = self.place
        return _holds(place.rows, rows, place.height) and _holds(
            place.columns, columns, place.width
        )

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """See `crop.Frame`. Raises: what `error` makes, if some of it is not stored."""
        place = self.place
        if not self.holds(rows, columns):
            if self._open_whole is not None:
                return self._open_whole().region(rows, columns, shrink)
            raise self._error(
                "partly packed",
                f"rows {rows.start} to {rows.stop} and columns {columns.start} to {columns.stop} "
                f"are wanted, and rows {place.rows.start} to {place.rows.stop} and columns "
                f"{place.columns.start} to {place.columns.stop} are packed",
            )
        rows = slice(rows.start - place.y0, rows.stop - place.y0)
        columns = slice(columns.start - place.x0, columns.stop - place.x0)
        try:
            return self._stored.region(rows, columns, shrink)
        except ValueError as problem:
            raise self._error("damaged", str(problem)) from None


def _holds(stored: slice, wanted: slice, length: int) -> bool:
    """Whether the wanted part of `length` px lies inside, and not at an edge that is a cut."""
    first = stored.start + EDGE_PX if stored.start else 0
    last = stored.stop - EDGE_PX if stored.stop < length else length
    return first <= wanted.start and wanted.stop <= last
