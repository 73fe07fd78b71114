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
from data_pipeline.crop import CropGeometry, Frame, check_box_xywh, jitter_box_xywh
from data_pipeline.decoding import JpegHeader, decode_image, read_jpeg_header
from data_pipeline.packed_frame import PackedFrame, Place, join_record
from data_pipeline.sequences import Dataset, FrameError, Sequence
from data_pipeline.tiled_jpeg import (
    ALIGN_PX,
    TILE_WIDTH_PX,
    encode_jpeg,
    encode_tiled_jpeg,
    stored_quality,
)

MARGIN_PX = 4  # for the crop's rounding, the pixel by which mirroring a box is off, and EDGE_PX
NEAR_SHARE = 0.25  # of a frame's stored pixels that may be stored once more


@dataclasses.dataclass(frozen=True)
class PackRule:
    """How a data set is packed.

    Attributes:
      reach: half the side of the stored square, over the root of the target's area.
      near: as `reach`, of a small square that is stored once more where it adds little: a template
        is read from it, without its frame's other bytes. 0: none.
      quality: of pixels that were no JPEG before; a JPEG keeps its own.
      max_target: px; where the root of the target's area is more, the frame is made smaller, and
        its box with it. None: never.
      keep_files: store each file as it is: exact, but crops are decoded no faster.
    """

    reach: float
    near: float = 0.0
    quality: int = 95
    max_target: int | None = None
    keep_files: bool = False

    def __post_init__(self) -> None:
        """Raises: ValueError for settings that exclude each other."""
        if self.keep_files and self.max_target is not None:
            raise ValueError("max_target makes frames smaller, so it excludes keep_files.")


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


def pack_frame(sequence: Sequence, i: int, rule: PackRule) -> tuple[list[bytes], np.ndarray]:
    """Frame `i` as a record, and perhaps a near one, and its box [4] px in the stored frame.

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
        place = Place(0, 0, *image.shape[:2], *image.shape[:2])
        return [join_record(place, data, tiled=False)], box_xywh
    scale = (rule.max_target or math.inf) / math.sqrt(box_xywh[2] * box_xywh[3])
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        box_xywh = box_xywh * np.tile(np.divide(sides, image.shape[1::-1]), 2)
        image = cv2.resize(image, sides, interpolation=cv2.INTER_AREA)
    return encode_parts(image, box_xywh, header, rule), box_xywh


def encode_parts(
    image: np.ndarray, box_xywh: np.ndarray, header: JpegHeader | None, rule: PackRule
) -> list[bytes]:
    """The records of a frame, uint8 RGB [height, width, 3], with its target [4] px.

    Args: header: of the JPEG that the frame was, None if it was none.
    """
    quality = stored_quality(header, rule.quality)
    place, part = _cut(image, box_xywh, rule.reach, TILE_WIDTH_PX)
    records = [join_record(place, encode_tiled_jpeg(part, *quality), tiled=True)]
    near, near_part = _cut(image, box_xywh, rule.near, ALIGN_PX)
    if rule.near and near_part.size <= NEAR_SHARE * part.size:
        records.append(join_record(near, encode_jpeg(near_part, *quality), tiled=False))
    return records


def _cut(
    image: np.ndarray, box_xywh: np.ndarray, reach: float, align: int
) -> tuple[Place, np.ndarray]:
    """The part of an image within `reach` of the target, and its place.

    Its columns begin at a multiple of `align`. At the image's border it is wider than its place, by
    the last column repeated, up to a multiple.
    """
    height, width = image.shape[:2]
    half = reach * math.sqrt(box_xywh[2] * box_xywh[3]) + MARGIN_PX
    cx, cy = box_xywh[:2] + box_xywh[2:] / 2
    rows, columns = _span(cy, half, ALIGN_PX, height), _span(cx, half, align, width)
    part = image[rows, columns]
    place = Place(columns.start, rows.start, *part.shape[:2], height, width)
    missing = -part.shape[1] % align
    return place, cv2.copyMakeBorder(part, 0, 0, 0, missing, cv2.BORDER_REPLICATE)


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
      error: mean absolute difference of search crops from those of the whole frame, grey levels.
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


def packed_frames(sequence: Sequence) -> np.ndarray:
    """Frames of a sequence that are packed: the visible ones, and every still."""
    return np.flatnonzero(sequence.visible | (not sequence.is_video))


def num_packed_frames(dataset: Dataset) -> np.ndarray:
    """How many `packed_frames` each sequence has, int64; a data set is all videos or all stills."""
    stills = len(dataset) and not dataset[0].is_video
    return np.asarray(dataset.lengths if stills else dataset.num_visible, np.int64)


def estimate(
    dataset: Dataset, rule: PackRule, search: CropRule, rng: np.random.Generator, count: int = 100
) -> Estimate:
    """Packs `count` random frames, keeps nothing, and looks at what came out.

    Raises: FrameError if none of them could be packed; ValueError if there are none.
    """
    found, problem = [], None
    lengths = num_packed_frames(dataset)
    if not lengths.sum():
        raise ValueError(f"{dataset.name}: no frame is visible, so there is nothing to pack.")
    for number in rng.choice(len(dataset), count, p=lengths / lengths.sum()):
        sequence = dataset[int(number)]
        i = int(rng.choice(packed_frames(sequence)))
        start = time.perf_counter()
        try:
            records, box_xywh = pack_frame(sequence, i, rule)
        except FrameError as error:
            problem = error
            continue
        seconds = time.perf_counter() - start
        frame = PackedFrame(records[0], reduced=False, error=_refuse, open_whole=None)
        whole = sequence.open_frame(i), sequence.boxes_xywh[i]
        error, outside = _compare_crops(whole, (frame, box_xywh), search, rng)
        share = frame.place.part_height * frame.place.part_width / (frame.height * frame.width)
        found.append((sum(map(len, records)), seconds, error, outside, share))
    if not found:
        raise problem
    return Estimate(*np.nanmean(found, axis=0).tolist(), count - len(found), count)


def _compare_crops(
    whole: tuple[Frame, np.ndarray],
    packed: tuple[PackedFrame, np.ndarray],
    search: CropRule,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Draws 100 search crops from a frame with its box [4] px, and from the same frame packed.

    Returns: mean absolute difference of the first few, grey levels, NaN if none of those is
      stored; share of them that is not stored.
    """
    normals, uniforms = rng.standard_normal((100, 2)), rng.random((100, 2))
    outside, errors = 0, []
    for draw in range(len(normals)):
        try:
            one, other = (
                CropGeometry.from_box(
                    jitter_box_xywh(
                        box_xywh,
                        normals[draw],
                        uniforms[draw],
                        center_jitter=search.center_jitter,
                        scale_jitter=search.scale_jitter,
                    ),
                    search.factor,
                    search.size,
                )
                for _, box_xywh in (whole, packed)
            )
        except ValueError:  # too large to crop: training draws again
            continue
        frame = packed[0]
        rows = slice(max(other.y1, 0), min(other.y1 + other.side, frame.height))
        columns = slice(max(other.x1, 0), min(other.x1 + other.side, frame.width))
        if rows.start + 1 >= rows.stop or columns.start + 1 >= columns.stop:
            continue  # next to nothing of the frame is shown
        if not frame.holds(rows, columns):
            outside += 1
        elif draw < 5:
            crops = one.crop_frame(whole[0]).astype(np.int16), other.crop_frame(frame)
            errors.append(np.abs(crops[0] - crops[1]).mean())
    return float(np.mean(errors)) if errors else np.nan, outside / len(normals)


def _refuse(cause: str, what: str) -> ValueError:
    return ValueError(f"{cause}: {what}")
