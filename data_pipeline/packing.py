"""What is stored of a frame when a data set is packed: the pixels that training can ask for.

That is the part around its target, so large that jittered search crops lie inside; as a JPEG of
which a crop decodes only what it shows. Pixels change by fractions of a grey level.
"""

import dataclasses
import math
import time

import cv2
import numpy as np

from data_pipeline.augment import CropRule
from data_pipeline.crop import CropGeometry, check_box_xywh, jitter_box_xywh
from data_pipeline.decoding import JpegHeader, decode_image, read_jpeg_header
from data_pipeline.packed import PackedFrame, Place
from data_pipeline.sequences import Dataset, FrameError, Sequence
from data_pipeline.tiled_jpeg import ALIGN_PX, TILE_WIDTH_PX, encode_tiled_jpeg, stored_quality

MARGIN_PX = 4  # for the crop's rounding, and the pixel by which mirroring a box is off


@dataclasses.dataclass(frozen=True)
class PackRule:
    """How a data set is packed.

    Attributes:
      reach: half the side of the stored square, over the root of the target's area.
      quality: of pixels that were no JPEG before; a JPEG keeps its own.
      max_side: px; larger frames are made smaller, and their boxes with them. None: never.
      keep_files: store each file as it is: exact, but crops are decoded no faster.
    """

    reach: float
    quality: int = 95
    max_side: int | None = None
    keep_files: bool = False

    def __post_init__(self) -> None:
        """Raises: ValueError for settings that exclude each other."""
        if self.keep_files and self.max_side is not None:
            raise ValueError("max_side makes frames smaller, so it excludes keep_files.")


def needed_reach(rules: list[CropRule], sigmas: float) -> float:
    """Half the side that holds all crops, over the root of the target's area.

    Args: sigmas: how far the logarithm of the crop's side may be from its mean, in standard
      deviations; crops further out may show pixels that are not stored.
    """
    # The crop follows the root of w * h: the two sides' draws are averaged.
    return max(
        math.exp(sigmas * rule.scale_jitter / math.sqrt(2))
        * ((rule.factor + rule.center_jitter) / 2)
        for rule in rules
    )


def pack_frame(sequence: Sequence, i: int, rule: PackRule) -> tuple[bytes, np.ndarray]:
    """Frame `i` as a record, and its box [4] px in the stored frame.

    Raises: FrameError, also for a box without an area or beside the frame.
    """
    data = sequence.read_frame_bytes(i)
    try:
        header = read_jpeg_header(data) if data[:2] == b"\xff\xd8" else None
        image = decode_image(data)
        box_xywh = check_box_xywh(sequence.boxes_xywh[i], *image.shape[:2])
    except ValueError as error:
        raise FrameError(f"{sequence.frame_path(i)}: {error}", "unusable") from None
    if rule.keep_files:
        return Place(0, 0, *image.shape[:2], tiled=False).to_bytes() + data, box_xywh
    scale = min(1.0, (rule.max_side or math.inf) / max(image.shape[:2]))
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        box_xywh = box_xywh * np.tile(np.divide(sides, image.shape[1::-1]), 2)
        image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return encode_part(image, box_xywh, header, rule), box_xywh


def encode_part(
    image: np.ndarray, box_xywh: np.ndarray, header: JpegHeader | None, rule: PackRule
) -> bytes:
    """The record of a frame, uint8 RGB [height, width, 3], with its target [4] px.

    Args: header: of the JPEG that the frame was, None if it was none.
    """
    height, width = image.shape[:2]
    half = rule.reach * math.sqrt(box_xywh[2] * box_xywh[3]) + MARGIN_PX
    cx, cy = box_xywh[:2] + box_xywh[2:] / 2
    rows, columns = _span(cy, half, ALIGN_PX, height), _span(cx, half, TILE_WIDTH_PX, width)
    part = image[rows, columns]
    missing = -part.shape[1] % TILE_WIDTH_PX
    part = cv2.copyMakeBorder(part, 0, 0, 0, missing, cv2.BORDER_REPLICATE)
    picture = encode_tiled_jpeg(part, *stored_quality(header, rule.quality))
    return Place(columns.start, rows.start, height, width, tiled=True).to_bytes() + picture


def _span(center: float, half: float, align: int, length: int) -> slice:
    """Pixels of a side of `length` px within `half` of the centre, from multiples of `align`."""
    first = math.floor(max(center - half, 0) / align) * align
    last = math.ceil(min(center + half, length) / align) * align
    return slice(first, min(last, length))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What packing will cost, from a sample of frames.

    Attributes:
      frame_bytes, frame_seconds: means; seconds on one core.
      error: mean absolute difference of stored pixels from the frame's, grey levels; NaN if frames
        are made smaller.
      outside: share of jittered search crops that show pixels which are not stored.
      stored: share of the frames' pixels that is stored.
      problems: frames of the sample that could not be packed, out of `count`.
    """

    frame_bytes: float
    frame_seconds: float
    error: float
    outside: float
    stored: float
    problems: int
    count: int


def estimate(
    dataset: Dataset, rule: PackRule, search: CropRule, rng: np.random.Generator, count: int = 100
) -> Estimate:
    """Packs `count` random frames, keeps nothing, and looks at what came out.

    Raises: FrameError if none of them could be packed.
    """
    rows, problem = [], None
    lengths = np.asarray(dataset.num_visible, np.float64)
    for number in rng.choice(len(dataset), count, p=lengths / lengths.sum()):
        sequence = dataset[int(number)]
        i = int(rng.choice(np.flatnonzero(sequence.visible)))
        start = time.perf_counter()
        try:
            record, box_xywh = pack_frame(sequence, i, rule)
        except FrameError as error:
            problem = error
            continue
        seconds = time.perf_counter() - start
        frame = PackedFrame(record, reduced=False, error=_refuse, open_source=None)
        stored = frame.region(frame.rows, frame.columns)
        difference = np.nan
        if rule.max_side is None:
            whole = sequence.read_frame(i)[frame.rows, frame.columns]
            difference = np.abs(stored.astype(np.int16) - whole).mean()
        share = stored.shape[0] * stored.shape[1] / (frame.height * frame.width)
        outside = _share_outside(frame, box_xywh, search, rng)
        rows.append((len(record), seconds, difference, outside, share))
    if not rows:
        raise problem
    return Estimate(*np.mean(rows, axis=0).tolist(), count - len(rows), count)


def _share_outside(
    frame: PackedFrame, box_xywh: np.ndarray, search: CropRule, rng: np.random.Generator
) -> float:
    """The share of 200 jittered search crops that are not stored, of those that show the frame."""
    jittered_xywh = jitter_box_xywh(
        box_xywh,
        rng.standard_normal((200, 2)),
        rng.random((200, 2)),
        center_jitter=search.center_jitter,
        scale_jitter=search.scale_jitter,
    )
    outside = 0
    for jittered in jittered_xywh:
        geometry = CropGeometry.from_box(jittered, search.factor, search.size)
        rows = slice(max(geometry.y1, 0), min(geometry.y1 + geometry.side, frame.height))
        columns = slice(max(geometry.x1, 0), min(geometry.x1 + geometry.side, frame.width))
        shows = rows.start < rows.stop and columns.start < columns.stop
        outside += shows and not frame.holds(rows, columns)
    return outside / len(jittered_xywh)


def _refuse(cause: str, what: str) -> ValueError:
    return ValueError(f"{cause}: {what}")
