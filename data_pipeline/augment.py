"""What happens to a pair's frames before the network sees them: OSTrack's augmentation."""

import dataclasses

import cv2
import numpy as np

from data_pipeline import crop
from data_pipeline.crop import CropGeometry, Frame

QUALITY_LOSSES = "defocus", "motion", "size", "jpeg"
_OUTLINE_POINTS = 256  # of a warped target: its box is right to one part in ten thousand
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


@dataclasses.dataclass(frozen=True)
class Warp:
    """How `warp_crop` moves a crop's pixels.

    degrees: anticlockwise; stretch: factors of width and height. waves: [2, 3], what is added to x
    along y and to y along x before that: amplitude and wavelength as shares of the target's sides,
    and phase; None for none.
    """

    degrees: float
    stretch: tuple[float, float]
    waves: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class QualityLoss:
    """What `degrade` does: its kind, how much of it in [0, 1], and for motion the way, radians."""

    kind: str
    strength: float
    angle: float


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
    return CropDraw(
        rng.standard_normal(2),
        rng.random(2),
        float(rng.uniform(low, high)),
        bool(rng.random() < rule.crop_flip),
        _draw_color(rng, rule.color_jitter) if rule.color_jitter else None,
        _draw_warp(rng, rule) if rule.still_turn or rule.still_stretch or rule.still_bend else None,
        _draw_loss(rng) if rule.degrade and rng.random() < rule.degrade else None,
    )


def _draw_loss(rng: np.random.Generator) -> QualityLoss:
    kind = QUALITY_LOSSES[rng.integers(len(QUALITY_LOSSES))]
    return QualityLoss(kind, float(rng.random()), float(rng.uniform(0, np.pi)))


def _draw_warp(rng: np.random.Generator, rule: AugmentRule) -> Warp:
    stretch = np.exp(rng.uniform(-rule.still_stretch, rule.still_stretch, 2))
    degrees = float(rng.uniform(-rule.still_turn, rule.still_turn))
    waves = None
    if rule.still_bend:
        sizes = rng.uniform(0, rule.still_bend, 2)
        waves = np.stack([sizes, rng.uniform(0.7, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)], axis=1)
    return Warp(degrees, tuple(stretch.tolist()), waves)


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


def warp_crop(
    image: np.ndarray, box_cxcywh: np.ndarray, warp: Warp
) -> tuple[np.ndarray, np.ndarray]:
    """A crop bent, stretched and turned around the target's centre, and the target's new box.

    The box is that of the ellipse in the old one: of a turned rectangle's it would be too large.

    Args: image: uint8 [size, size, 3]; box_cxcywh [4], fractions.
    Returns: uint8 [size, size, 3], mirrored where it shows more than the crop did; float32 [4].
    """
    size, angle = len(image), np.deg2rad(warp.degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # y down
    linear = turn * warp.stretch
    center, sides = np.split(size * box_cxcywh.astype(np.float64), 2)
    around = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    x, y = sides[:, None] / 2 * (np.cos(around), np.sin(around))
    if warp.waves is None:
        middle = center - 0.5  # of pixel coordinates
        matrix = np.hstack([linear, (middle - linear @ middle)[:, None]])
        warped = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    else:
        rates, phases = 2 * np.pi / (warp.waves[:, 1] * sides[::-1]), warp.waves[:, 2]
        sizes = warp.waves[:, 0] * sides
        x = x + sizes[0] * np.sin(rates[0] * y + phases[0])
        y = y + sizes[1] * np.sin(rates[1] * x + phases[1])
        # Backwards, from each pixel of the new crop to its place in the old one.
        columns, rows = np.float32(np.arange(size) + 0.5 - center[:, None])
        back = np.linalg.inv(linear).astype(np.float32)
        old_x = np.add.outer(back[0, 1] * rows, back[0, 0] * columns)
        old_y = np.add.outer(back[1, 1] * rows, back[1, 0] * columns)
        old_y -= np.float32(sizes[1]) * np.sin(np.float32(rates[1]) * old_x + np.float32(phases[1]))
        old_x -= np.float32(sizes[0]) * np.sin(np.float32(rates[0]) * old_y + np.float32(phases[0]))
        shift_x, shift_y = np.float32(center - 0.5)
        warped = cv2.remap(
            image,
            old_x + shift_x,
            old_y + shift_y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    outline = linear @ (x, y)
    low, high = outline.min(axis=1), outline.max(axis=1)
    box = np.concatenate([center + (low + high) / 2, high - low]) / size
    return warped, box.astype(np.float32)


def degrade(image: np.ndarray, loss: QualityLoss) -> np.ndarray:
    """A crop as a worse camera or codec gives it; nothing in it changes its place.

    "defocus" blurs evenly, "motion" along a line, "size" makes it smaller and large again, "jpeg"
    compresses it.

    Args: image: uint8 RGB [size, size, 3].
    Returns: the same shape and type.
    Raises: ValueError for another kind.
    """
    size = len(image)
    if loss.kind == "defocus":
        return cv2.GaussianBlur(image, None, size * (0.002 + 0.008 * loss.strength))
    if loss.kind == "motion":
        half = 1 + round(0.025 * size * loss.strength)
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        way = half * np.array([np.cos(loss.angle), np.sin(loss.angle)])
        ends = [tuple(np.rint((half + sign * way) * 16).astype(int).tolist()) for sign in (-1, 1)]
        cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_8, 4)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if loss.kind == "size":
        small = max(1, round(size / (1.5 + 2 * loss.strength)))
        image_small = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        return cv2.resize(image_small, (size, size), interpolation=cv2.INTER_LINEAR)
    if loss.kind == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, round(50 - 40 * loss.strength)]
        stored = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
        return cv2.cvtColor(cv2.imdecode(stored, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    raise ValueError(f"a loss of quality is one of {', '.join(QUALITY_LOSSES)}, got {loss.kind!r}.")


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
