"""JPEGs of which any region can be decoded alone.

A restart marker every few blocks ends the dependence on what stands before, so a rectangle of such
tiles, behind a header with another size, is a JPEG of its own. The files are ordinary JPEGs that
every viewer opens; a region decodes to the very pixels that the whole file does.
"""

import functools
import struct

import cv2
import numpy as np

from data_pipeline.decoding import (
    SAMPLING,
    TILES_MARK,
    JpegHeader,
    decode_image,
    read_jpeg_header,
    shrunk,
)

ALIGN_PX = 16  # sides of the largest block: corners that are multiples keep a file's own blocks
TILE_WIDTH_PX = 32
_SEGMENT = 65_000  # bytes of lengths in one segment of the header
_EDGE_PX = 2  # pixels at a region's edge that differ, as the decoder smooths chroma across


def encode_tiled_jpeg(image: np.ndarray, quality: int, sampling: tuple[int, int]) -> bytes:
    """Encodes uint8 RGB [height, width, 3] with a restart marker every TILE_WIDTH_PX of every row.

    The width must be a multiple of TILE_WIDTH_PX: repeat the last column where it is not.
    Args: quality: OpenCV's, 1 to 100; sampling: (vertical, horizontal) luma per chroma samples.
    """
    if image.shape[1] % TILE_WIDTH_PX:
        raise ValueError(f"the width must be a multiple of {TILE_WIDTH_PX}, got {image.shape[1]}.")
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, TILE_WIDTH_PX // (8 * sampling[1])),
    ]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    return _note_tiles(data)


def _note_tiles(data: bytes) -> bytes:
    """Adds the length of each tile, 2 bytes, in segments that other decoders skip."""
    start = read_jpeg_header(data).scan_offset
    scan = np.frombuffer(data, np.uint8)[start:]
    escapes = np.flatnonzero(scan[:-1] == 0xFF)
    kinds = scan[escapes + 1]
    ends = escapes[((kinds & 0xF8) == 0xD0) | (kinds == 0xD9)] + 2
    lengths = np.diff(ends, prepend=0).astype("<u2").tobytes()
    parts = [lengths[at : at + _SEGMENT] for at in range(0, len(lengths), _SEGMENT)]
    heads = [b"\xff\xe9" + struct.pack(">H", 2 + len(TILES_MARK + part)) for part in parts]
    notes = [head + TILES_MARK + part for head, part in zip(heads, parts, strict=True)]
    return b"".join([data[:2], *notes, data[2:]])


class TiledJpeg:
    """A JPEG as `encode_tiled_jpeg` writes it: uint8 RGB of `height` x `width` px."""

    def __init__(self, data: bytes) -> None:
        """Raises: ValueError if it is not such a file, or is damaged."""
        header = read_jpeg_header(data)
        self.height, self.width, self._header = header.height, header.width, header
        self._tile_height = 8 * header.sampling[0]
        self._columns = header.width // TILE_WIDTH_PX
        self._data = memoryview(data)
        rows = -(-header.height // self._tile_height)
        interval = header.restart_interval * 8 * header.sampling[1]
        lengths = np.frombuffer(header.tiles, "<u2")
        self._starts = header.scan_offset + np.cumsum(np.append(0, lengths), dtype=np.int64)
        if (interval, header.width % TILE_WIDTH_PX) != (TILE_WIDTH_PX, 0) or len(
            lengths
        ) != rows * self._columns:
            raise ValueError(
                f"a JPEG of {header.width} x {header.height} px with a restart marker every "
                f"{interval} px and {len(lengths)} tiles is not tiled as written here."
            )
        if self._starts[-1] != len(data):
            raise ValueError(f"the tiled JPEG has {len(data)} bytes instead of {self._starts[-1]}.")

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """Exactly `whole[rows, columns]`, uint8 RGB, from the tiles around it only.

        With `shrink` 2, 4 or 8: the region enlarged to multiples of it, at that part of its size.
        """
        edge = _EDGE_PX * shrink
        top, bottom = _cover(rows, edge, self._tile_height, self.height)
        left, right = _cover(columns, edge, TILE_WIDTH_PX, self.width)
        part = decode_image(self._assemble(top, bottom, left, right), shrink)
        y0, x0 = top * self._tile_height // shrink, left * TILE_WIDTH_PX // shrink
        rows, columns = shrunk(rows, shrink), shrunk(columns, shrink)
        return part[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]

    def _assemble(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """The tiles of these rows and columns as a JPEG file of their own, uint8 [bytes]."""
        header = self._header
        height = min(bottom * self._tile_height, self.height) - top * self._tile_height
        width = (right - left) * TILE_WIDTH_PX
        # [rows, columns + 1]: where the tiles of each row begin, and the last of them ends
        first = np.arange(top, bottom)[:, None] * self._columns
        starts = self._starts[first + np.arange(left, right + 1)]
        begin, end = starts[:, 0].tolist(), starts[:, -1].tolist()
        rows = [self._data[a:b] for a, b in zip(begin, end, strict=True)]
        file = bytearray().join([self._data[: header.scan_offset], *rows])
        struct.pack_into(">HH", file, header.size_offset, height, width)
        lengths = np.diff(starts, axis=1).ravel()
        markers = header.scan_offset + np.cumsum(lengths) - 1
        kinds = 0xD0 + np.arange(len(markers)) % 8  # restart markers count from 0 to 7
        kinds[-1] = 0xD9  # the end of the file
        file = np.frombuffer(file, np.uint8)
        file[markers] = kinds
        return file


def stored_quality(header: JpegHeader | None, quality: int) -> tuple[int, tuple[int, int]]:
    """Quality and sampling that store a file's pixels again with the least loss.

    Args: header: of the file that the pixels are from, None if it was no JPEG; quality: for those
      pixels that were never quantised.
    """
    if header is None or header.sampling not in SAMPLING:
        return quality, (1, 1)
    return matching_quality(header.tables), header.sampling


@functools.lru_cache(maxsize=64)
def matching_quality(tables: tuple[bytes, ...]) -> int:
    """The lowest of OpenCV's qualities that nowhere quantises coarser than these tables.

    Where a file was written by a program with the same tables, encoding it again at this quality
    changes almost nothing. 100 for tables that are not 8-bit.
    """
    found = _steps(tables)
    for quality, steps in _steps_of_qualities().items():
        if len(found) in (64, 128) and (steps[: len(found)] <= found).all():
            return quality
    return 100


@functools.cache
def _steps_of_qualities() -> dict[int, np.ndarray]:
    pixel = np.zeros((1, 1, 3), np.uint8)
    qualities = range(1, 101)
    files = (cv2.imencode(".jpg", pixel, [cv2.IMWRITE_JPEG_QUALITY, q])[1] for q in qualities)
    headers = (read_jpeg_header(file.tobytes()) for file in files)
    return {q: _steps(header.tables) for q, header in zip(qualities, headers, strict=True)}


def _steps(tables: tuple[bytes, ...]) -> np.ndarray:
    """Quantisation steps of 8-bit tables 0 and 1 one after the other, [64] or [128], else [0]."""
    body = np.frombuffer(b"".join(tables), np.uint8)
    if len(body) % 65 or (body[::65] != np.arange(len(body) // 65)).any():
        return np.empty(0)
    return body.reshape(-1, 65)[:, 1:].ravel()


def _cover(span: slice, edge: int, tile: int, length: int) -> tuple[int, int]:
    """The tiles that hold `span`, a slice of `length` px, with `edge` px more on either side."""
    first = max(span.start - edge, 0) // tile
    return first, -(-min(span.stop + edge, length) // tile)
