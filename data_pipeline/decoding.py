"""Image bytes to frames: whole, at a fraction of their size, or their size alone."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

# OpenCV's "reduced" flags, without the bit that asks for BGR.
_SHRINK_FLAGS = {1: 0, 2: 16, 4: 32, 8: 64}
_SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a length
SAMPLING = {  # (vertical, horizontal) luma samples per chroma sample -> OpenCV's constant
    (2, 2): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    (1, 2): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    (1, 1): cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


class JpegHeader(NamedTuple):
    """What stands before a JPEG's pixels.

    height, width: px, as stored. sampling: (vertical, horizontal) luma samples per chroma sample,
    (1, 1) for gray. tables: quantisation tables as bytes. size_offset: where height and width
    stand, 2 bytes each. scan_offset: where the pixels begin. upright: False if a camera's note asks
    for turning or mirroring.
    """

    height: int
    width: int
    sampling: tuple[int, int]
    tables: tuple[bytes, ...]
    size_offset: int
    scan_offset: int
    upright: bool


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Reads the markers up to the first scan; no pixel is decoded.

    Raises: ValueError if `data` is no JPEG or its header is damaged.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError(f"no JPEG: it begins with {data[:4]!r} instead of FF D8.")
    at, size, sampling, tables, upright = 2, None, (1, 1), [], True
    while True:
        try:
            first, marker = data[at], data[at + 1]
            length = 0 if marker in _ALONE or marker == 0xFF else _uint16(data, at + 2)
        except (IndexError, struct.error):
            raise ValueError(f"the JPEG ends inside its header, after {len(data)} bytes.") from None
        if first != 0xFF:
            raise ValueError(f"the JPEG's header is damaged at byte {at}: expected a marker FF xx.")
        body = data[at + 4 : at + 2 + length]
        if marker in _SIZE_MARKERS and len(body) >= 6 + 3 * body[5]:
            size = (_uint16(body, 1), _uint16(body, 3), at + 5)
            factors = [body[7 + 3 * n] for n in range(body[5])]
            if len(factors) == 3:
                sampling = tuple(
                    max(f >> s & 15 for f in factors) // (factors[1] >> s & 15 or 1) for s in (0, 4)
                )
        elif marker == 0xDB:
            tables.append(bytes(body))
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            upright = upright and _exif_is_upright(body[6:])
        elif marker == 0xDA and size:
            height, width, size_offset = size
            scan_offset = at + 2 + length
            return JpegHeader(
                height, width, sampling, tuple(tables), size_offset, scan_offset, upright
            )
        at += 1 if marker == 0xFF else 2 + length


def decode_image(data: bytes | np.ndarray, shrink: int = 1) -> np.ndarray:
    """Decodes an image file's bytes -> uint8 RGB [height, width, 3], turned as its camera notes.

    With `shrink` 2, 4 or 8 the sides are divided by it, rounded up; JPEG files are then decoded
    at that size, which is two to three times faster.
    Raises: ValueError if they are cut short (OpenCV would fill up a part in grey) or no image.
    """
    buffer = np.frombuffer(data, np.uint8)
    if is_cut_short(memoryview(data)):
        raise ValueError("the image file is cut short")
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB | _SHRINK_FLAGS[shrink])
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses the image ({error.err})") from None
    if image is None:
        raise ValueError("the file is no image that OpenCV can decode")
    return image


def is_cut_short(data: bytes | memoryview) -> bool:
    """Whether a JPEG or PNG file ends before its image does; False for other formats."""
    if data[:2] == b"\xff\xd8":  # an end marker must follow the last start of a scan
        if data[-2:] == b"\xff\xd9":  # quick; of a thumbnail alone OpenCV decodes nothing
            return False
        data = bytes(data)
        return data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")
    return data[:4] == b"\x89PNG" and b"IEND" not in bytes(data[-64:])


class DecodedFrame:
    """A frame whose pixels are there: uint8 RGB [height, width, 3]. To shrink it gains nothing."""

    reduced = False

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """See `crop.Frame`."""
        if shrink == 1:
            return self.image[rows, columns]
        rows, columns = (
            slice(span.start // shrink * shrink, -(-span.stop // shrink) * shrink)
            for span in (rows, columns)
        )
        part = self.image[rows, columns]
        missing = -part.shape[0] % shrink, -part.shape[1] % shrink
        part = cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        return cv2.resize(part, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)


class JpegFrame:
    """A JPEG file's bytes, decoded when a crop shows how small that may be done.

    Crops that are shrunk to a half or less anyway are cut from a picture decoded at 1/2, 1/4 or
    1/8 of its size. They are smoother than crops of the whole frame: they alias less. See
    `config.data.reduced_decoding`. Bytes that are no upright JPEG are decoded as they always are.
    """

    def __init__(self, data: bytes, error: Callable[[str], Exception] = ValueError) -> None:
        """Args: error: makes what is raised when the bytes are no image, from a sentence's part."""
        self._data, self._error, self._whole = data, error, None
        self.reduced = False
        if data[:2] == b"\xff\xd8":
            try:
                header = read_jpeg_header(data)
            except ValueError as damage:
                raise error(str(damage)) from None
            self.height, self.width, self.reduced = header.height, header.width, header.upright
        if not self.reduced:
            self._whole = self._decode()
            self.height, self.width = self._whole.shape[:2]

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """The frame's `[rows, columns]` px; with `shrink` k, enlarged to multiples of k, at 1/k."""
        if shrink > 1:
            return self._decode(shrink)[shrunk(rows, shrink), shrunk(columns, shrink)]
        if self._whole is None:
            self._whole = self._decode()
        return self._whole[rows, columns]

    def _decode(self, shrink: int = 1) -> np.ndarray:
        try:
            return decode_image(self._data, shrink)
        except ValueError as damage:
            raise self._error(str(damage)) from None


def shrunk(span: slice, shrink: int) -> slice:
    """The rows or columns that hold `span` in a frame at 1/`shrink` of its size."""
    return slice(span.start // shrink, -(-span.stop // shrink))


def _uint16(data: bytes, at: int) -> int:
    return struct.unpack_from(">H", data, at)[0]


def _exif_is_upright(tiff: bytes) -> bool:
    """Whether a camera's note says that the picture is stored as it is to be shown."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        for entry in range(struct.unpack_from(order + "H", tiff, start)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == 0x0112:
                return value == 1
    except (struct.error, TypeError):
        return False  # unreadable: let the decoder see to it
    return True
