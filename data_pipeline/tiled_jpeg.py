"""JPEGs of which any region can be decoded alone.

A restart marker every few blocks ends the dependence on what stands before, so a rectangle of such
tiles, behind a header with another size, is a JPEG of its own. A region decodes to the very pixels
that the whole file does. A table before the file says where its tiles are.
"""

import functools
import struct

import cv2
import numpy as np

from data_pipeline.decoding import SAMPLING, JpegHeader, decode_image, read_jpeg_header, shrunk

ALIGN_PX = 16  # sides of the largest block: corners that are multiples keep a file's own blocks
TILE_WIDTH_PX = 32
# Height, width and a tile's height, px; in the file, where its size stands, 2 bytes a side, and
# where its pixels begin. Then follow where each row of tiles ends, uint32, and each tile's length,
# uint16; then the file.
_HEAD = struct.Struct("<5I")
EDGE_PX = 2  # pixels at a region's edge that differ, as the decoder smooths chroma across


def encode_tiled_jpeg(image: np.ndarray, quality: int, sampling: tuple[int, int]) -> bytes:
    """Encodes uint8 RGB [height, width, 3] in tiles of TILE_WIDTH_PX for `TiledJpeg`.

    The width must be a multiple of TILE_WIDTH_PX: repeat the last column where it is not.
    Args: quality: OpenCV's, 1 to 100; sampling: (vertical, horizontal) luma per chroma samples.
    """
    if image.shape[1] % TILE_WIDTH_PX:
        raise ValueError(f"the width must be a multiple of {TILE_WIDTH_PX}, got {image.shape[1]}.")
    file = encode_jpeg(image, quality, sampling, TILE_WIDTH_PX // (8 * sampling[1]))
    header = read_jpeg_header(file)
    columns, tile_height = header.width // TILE_WIDTH_PX, 8 * sampling[0]
    ends = _tile_ends(file, header.scan_offset)
    lengths = np.diff(ends, prepend=header.scan_offset)
    numbers = header.height, header.width, tile_height, header.size_offset, header.scan_offset
    row_ends = ends[columns - 1 :: columns]
    return b"".join(
        [_HEAD.pack(*numbers), row_ends.astype("<u4"), lengths.astype("<u2").tobytes(), file]
    )


def encode_jpeg(
    image: np.ndarray, quality: int, sampling: tuple[int, int], restart_interval: int = 0
) -> bytes:
    """Encodes uint8 RGB [height, width, 3] as a JPEG.

    Args: quality, sampling: see `encode_tiled_jpeg`; restart_interval: MCUs, 0 for none.
    """
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[sampling]),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),  # of the codes, not the pixels: 2 % smaller and faster
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _tile_ends(file: bytes, scan_offset: int) -> np.ndarray:
    """Where each tile ends, with its restart marker or the marker of the file's end, int64."""
    scan = np.frombuffer(file, np.uint8)[scan_offset:]
    escapes = np.flatnonzero(scan[:-1] == 0xFF)
    kinds = scan[escapes + 1]
    return escapes[((kinds & 0xF8) == 0xD0) | (kinds == 0xD9)] + 2 + scan_offset


class TiledJpeg:
    """What `encode_tiled_jpeg` wrote: uint8 RGB of `height` x `width` px.

    Attributes: file: an ordinary JPEG that every viewer opens.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        """Raises: ValueError if it is not such data, or has lost its end."""
        numbers = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (0,) * 5
        self.height, self.width, self._tile_height, self._size_offset, self._scan_offset = numbers
        rows, columns = -(-self.height // max(self._tile_height, 1)), self.width // TILE_WIDTH_PX
        start = _HEAD.size + 4 * rows + 2 * rows * columns
        if not rows or start > len(data):
            raise ValueError(f"{len(data)} bytes are too few for the table of a tiled JPEG.")
        self._row_ends = np.frombuffer(data, "<u4", rows, _HEAD.size)
        lengths = np.frombuffer(data, "<u2", rows * columns, _HEAD.size + 4 * rows)
        self._lengths = lengths.reshape(rows, columns)
        self.file = memoryview(data)[start:]
        if self._row_ends[-1] != len(self.file):
            raise ValueError(
                f"the tiled JPEG has {len(self.file)} bytes instead of {self._row_ends[-1]}."
            )

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """Exactly `whole[rows, columns]`, uint8 RGB, from the tiles around it only.

        With `shrink` 2, 4 or 8: the region enlarged to multiples of it, at that part of its size.
        """
        edge = EDGE_PX * shrink
        top, bottom = _cover(rows, edge, self._tile_height, self.height)
        left, right = _cover(columns, edge, TILE_WIDTH_PX, self.width)
        part = decode_image(self._assemble(top, bottom, left, right), shrink)
        y0, x0 = top * self._tile_height // shrink, left * TILE_WIDTH_PX // shrink
        rows, columns = shrunk(rows, shrink), shrunk(columns, shrink)
        return part[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]

    def _assemble(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """The tiles of these rows and columns as a JPEG file of their own, uint8 [bytes]."""
        height = min(bottom * self._tile_height, self.height) - top * self._tile_height
        width = (right - left) * TILE_WIDTH_PX
        lengths = self._lengths[top:bottom, left:right]
        end = self._row_ends[top:bottom] - self._lengths[top:bottom, right:].sum(axis=1)
        begin = end - lengths.sum(axis=1)
        rows = [self.file[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        file = bytearray().join([self.file[: self._scan_offset], *rows])
        struct.pack_into(">HH", file, self._size_offset, height, width)
        file = np.frombuffer(file, np.uint8)
        markers = self._scan_offset - 1 + lengths.cumsum(dtype=np.int64)
        file[markers] = 0xD0 | np.arange(len(markers)) & 7  # restart markers count from 0 to 7
        file[-1] = 0xD9  # the end of the file
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
