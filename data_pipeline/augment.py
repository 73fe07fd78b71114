"""What happens to a pair's frames before the network sees them: OSTrack's augmentation."""

import dataclasses

import cv2
import numpy as np

from data_pipeline import crop
from data_pipeline.crop import CropGeometry, Frame
from data_pipeline.quality import QualityLoss, draw_loss
from data_pipeline.warp import Warp, draw_warp

_LUMA = (0.299, 0.587, 0.114)  # what red, green and blue give to grey


@dataclasses.dataclass(frozen=True)
class CropRule:
    """How a frame is cropped; see config.template and config.search."""

    size: int
    factor: float
    center_jitter: float
    scale_jitter: float


@dataclasses.dataclass(frozen=True)
class AugmentRule:
    """How often frames turn grey and are mirrored, and how much brightness and colours vary.

    gray, frame_flip: probabilities, drawn once a sample; crop_flip: drawn for each crop.
    still_turn, still_stretch, still_bend: degrees, logarithm of a factor, and shares of the
    target's sides, by which search crops of stills are warped at most: a still does not move by
    itself. degrade: probability, drawn for each crop, that it loses quality.
    """

    gray: float
    frame_flip: float
    crop_flip: float
    brightness_jitter: float
    color_jitter: float = 0.0
    still_turn: float = 0.0
    still_stretch: float = 0.0
    still_bend: float = 0.0
    degrade: float = 0.0

    def __post_init__(self) -> None:
        """Raises: ValueError for impossible numbers."""
        probabilities = self.gray, self.frame_flip, self.crop_flip, self.degrade
        if not all(0 <= p <= 1 for p in probabilities):
            raise ValueError(f"probabilities of config.data must be in [0, 1], got {self}.")
        if not 0 <= self.brightness_jitter <= 1:
            raise ValueError(
                f"config.data.brightness_jitter must be in [0, 1], got {self.brightness_jitter}."
            )
        if not 0 <= self.color_jitter <= 1:
            raise ValueError(
                f"config.data.color_jitter must be in [0, 1], got {self.color_jitter}."
            )

    def for_validation(self) -> "AugmentRule":
        """OSTrack's validation: frames are turned grey and mirrored, crops stay as they are."""
        return AugmentRule(self.gray, self.frame_flip, crop_flip=0.0, brightness_jitter=0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class CropDraw:
    """One crop's random numbers; normals and uniforms [2] are for crop.jitter_box_xywh.

    color: float32 [3, 4] for `recolor`; None if colours do not vary. warp: None if stills are not
    warped. loss: how the crop loses quality; None if it does not.
    """

    normals: np.ndarray
    uniforms: np.ndarray
    brightness: float
    flip: bool
    color: np.ndarray | None = None
    warp: Warp | None = None
    loss: QualityLoss | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class SampleDraw:
    """One sample's random numbers; `gray` and `flip` are for all its frames together."""

    gray: bool
    flip: bool
    template: CropDraw
    search: tuple[CropDraw, ...]


def draw_sample(rng: np.random.Generator, rule: AugmentRule, num_search: int) -> SampleDraw:
    """Draws all random numbers of a sample but its frames."""
    gray, flip = (bool(rng.random() < probability) for probability in (rule.gray, rule.frame_flip))
    crops = [_draw_crop(rng, rule) for _ in range(1 + num_search)]
    return SampleDraw(gray, flip, crops[0], tuple(crops[1:]))


def _draw_crop(rng: np.random.Generator, rule: AugmentRule) -> CropDraw:
    low, high = max(0.0, 1 - rule.brightness_jitter), 1 + rule.brightness_jitter
    still = rule.still_turn, rule.still_stretch, rule.still_bend
    return CropDraw(
        rng.standard_normal(2),
        rng.random(2),
        float(rng.uniform(low, high)),
        bool(rng.random() < rule.crop_flip),
        _draw_color(rng, rule.color_jitter) if rule.color_jitter else None,
        draw_warp(rng, *still) if any(still) else None,
        draw_loss(rng) if rule.degrade and rng.random() < rule.degrade else None,
    )


def _draw_color(rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Factors for saturation, contrast and the channels as one map of colours, float32 [3, 4]."""
    saturation, contrast = rng.uniform(1 - jitter, 1 + jitter, 2)
    channels = rng.uniform(1 - jitter / 2, 1 + jitter / 2, 3)
    gray = np.tile(_LUMA, (3, 1))
    colors = contrast * (saturation * np.eye(3) + (1 - saturation) * gray)
    shift = np.full((3, 1), (1 - contrast) / 2)  # grey 0.5 stays
    return np.float32(channels[:, None] * np.hstack([colors, shift]))


def gray_image(image: np.ndarray) -> np.ndarray:
    """A grey copy of uint8 RGB [height, width, 3], its three channels equal, as OpenCV weighs."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


class GrayFrame:
    """A frame turned grey; only what a crop asks for."""

    def __init__(self, frame: Frame) -> None:
        self.height, self.width, self.reduced = frame.height, frame.width, frame.reduced
        self._frame = frame

    def region(self, rows: slice, columns: slice, shrink: int = 1) -> np.ndarray:
        """See crop.Frame."""
        return gray_image(self._frame.region(rows, columns, shrink))


def jittered_geometry(
    box_xywh: np.ndarray, frame_width: int, rule: CropRule, draw: CropDraw, *, flip: bool
) -> tuple[np.ndarray, CropGeometry]:
    """The target's box after the joint flip, [4] px, and the crop around its jittered copy.

    Args: box_xywh [4] px in the frame as it was read; flip: whether the frame is mirrored.
    Raises: ValueError for a box that is not finite with a positive area, or too large to crop.
    """
    box_xywh = crop.check_box_xywh(box_xywh)
    if flip:
        box_xywh = crop.flip_box_xywh(box_xywh, frame_width)
    jittered_xywh = crop.jitter_box_xywh(
        box_xywh,
        draw.normals,
        draw.uniforms,
        center_jitter=rule.center_jitter,
        scale_jitter=rule.scale_jitter,
    )
    return box_xywh, CropGeometry.from_box(jittered_xywh, rule.factor, rule.size)


def check_crop(
    geometry: CropGeometry, height: int, width: int, patch_size: int, *, flip: bool
) -> None:
    """Refuses crops in which the network would see nothing but padding.

    Args: height, width: of the frame, px; flip: whether the crop will be mirrored.
    Raises: ValueError if every token's first pixel is padding. Source: OSTrack, which reduces the
      mask of padding to one pixel a token and draws again if all are set.
    """
    shown = min(span.stop - span.start for span in geometry.inside(height, width))
    if (shown - 2) * geometry.scale >= patch_size + 2:
        return  # a token's first pixel must be among so many without padding
    mask = geometry.padding_mask(height, width)
    mask = mask[:, ::-1] if flip else mask
    if mask[::patch_size, ::patch_size].all():
        raise ValueError(
            f"the crop of {geometry.side} px at ({geometry.x1}, {geometry.y1}) shows less than "
            f"one token of a frame of {width} x {height} px."
        )


def finish_crop(
    image: np.ndarray, box_xywh: np.ndarray, geometry: CropGeometry, *, flip: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The crop and the target's box in it, both mirrored if `flip`.

    Args: image: uint8 [size, size, 3] as `geometry` cut it; box_xywh [4] px.
    Returns: uint8 [size, size, 3]; float32 [4] `_cxcywh`.
    """
    box_cxcywh = geometry.frame_to_crop(box_xywh)
    if flip:
        image, box_cxcywh = cv2.flip(image, 1), crop.flip_box_cxcywh(box_cxcywh)
    return image, box_cxcywh.astype(np.float32)


def brighten(image: np.ndarray, brightness: float) -> np.ndarray:
    """The image times `brightness`, in [0, 1]: uint8 [..., 3] -> float32.

    Training does the same on the device, with `template_brightness` and `search_brightness` of a
    batch, so that crops travel as uint8; then it subtracts the mean. Source: OSTrack.
    """
    return np.clip(image.astype(np.float32) * np.float32(brightness / 255), 0, 1)


def recolor(image: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Each pixel through a linear map, in [0, 1]: float32 [..., 3] and [3, 4] -> float32.

    Comes after `brighten`; training does it on the device, with `template_color` and
    `search_color` of a batch.
    """
    return np.clip(image @ color[:, :3].T + color[:, 3], 0, 1)
