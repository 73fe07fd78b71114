"""Targets, backgrounds and occluders for synthetic sequences: photographed, or drawn from noise."""

import dataclasses
import functools
import os
from pathlib import Path

import cv2
import numpy as np

from data_pipeline.decoding import decode_image

SPRITE_PX = 192  # longest side of a sprite's picture
CONTOUR_POINTS, INNER_POINTS = 160, 200
_BORDER = 0.12  # of the longest side, left free around a sprite for its deformation
_OPAQUE = 128


@dataclasses.dataclass(frozen=True, eq=False)
class Sprite:
    """A picture cut out along its outline.

    Attributes:
      pixels: uint8 [height, width, 4], RGB times alpha, then alpha.
      contour: float64 [P, 2], points x, y on the outline, px; (0, 0) is the first pixel's corner.
      inner: float64 [Q, 2], points spread evenly over what is opaque.
    """

    pixels: np.ndarray
    contour: np.ndarray
    inner: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """Middle of the outline's box, [2] px."""
        return (self.contour.min(axis=0) + self.contour.max(axis=0)) / 2

    @property
    def sides(self) -> np.ndarray:
        """Width and height of the outline's box, [2] px."""
        return np.ptp(self.contour, axis=0)


@dataclasses.dataclass(frozen=True)
class Material:
    """What sequences are made of: paths of images. Without any, textures are drawn from noise."""

    cutouts: tuple[str, ...] = ()
    photographs: tuple[str, ...] = ()

    def sprite(self, rng: np.random.Generator) -> Sprite:
        """A cut-out, a piece of a photograph, or a piece of drawn texture."""
        kind = rng.random()
        if self.cutouts and kind < 0.65:
            return cutout(self.cutouts[rng.integers(len(self.cutouts))])
        if self.photographs and kind < 0.9:
            return make_sprite(_piece(self._photograph(rng), rng), blob(rng))
        return make_sprite(texture(rng, SPRITE_PX, SPRITE_PX), blob(rng))

    def background(self, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
        """A photograph or drawn texture, uint8 RGB [height, width, 3]."""
        if self.photographs and rng.random() < 0.95:
            photograph = self._photograph(rng)
            if rng.random() < 0.5:
                photograph = photograph[:, ::-1]
            return _cover(photograph, height, width)
        return texture(rng, height, width)

    def surface(self, rng: np.random.Generator) -> np.ndarray:
        """What an occluder is covered with, uint8 RGB [SPRITE_PX, SPRITE_PX, 3]."""
        if self.photographs and rng.random() < 0.7:
            return _piece(self._photograph(rng), rng)
        return texture(rng, SPRITE_PX, SPRITE_PX)

    def _photograph(self, rng: np.random.Generator) -> np.ndarray:
        return photograph(self.photographs[rng.integers(len(self.photographs))])


def find_material(root: str | os.PathLike) -> Material:
    """Images below `root`: cut-outs with alpha in `cutouts/`, photographs in `stills/`.

    Raises: ValueError if the folder has neither, as then it is a wrong one; "" stands for none.
    """
    if not os.fspath(root):
        return Material()
    found = [
        tuple(
            sorted(
                str(path)
                for path in Path(root, folder).rglob("*")
                if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
            )
        )
        for folder in ("cutouts", "stills")
    ]
    if not any(found):
        raise ValueError(f"{root}: expected images in cutouts/ or stills/, there are none.")
    return Material(*found)


@functools.lru_cache(maxsize=400)
def cutout(path: str) -> Sprite:
    """Reads an image with alpha. Raises: ValueError naming the file if it is none."""
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"{path}: expected an image of 8 bits with alpha; remove it.")
    if (image[..., 3] >= _OPAQUE).sum() < 16:
        raise ValueError(f"{path}: next to nothing in it is opaque; remove it.")
    image = _shrink(image, SPRITE_PX)
    return make_sprite(cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2RGB), image[..., 3])


@functools.lru_cache(maxsize=64)
def photograph(path: str) -> np.ndarray:
    """Reads a photograph, uint8 RGB. Raises: ValueError naming the file if it is none."""
    try:
        return decode_image(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}; remove it.") from None


def make_sprite(image: np.ndarray, alpha: np.ndarray) -> Sprite:
    """Cuts uint8 RGB [height, width, 3] out along alpha, uint8 [height, width]."""
    rows, columns = (np.flatnonzero((alpha >= _OPAQUE).any(axis=axis)) for axis in (1, 0))
    inside = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    border = int(_BORDER * max(rows[-1] - rows[0], columns[-1] - columns[0])) + 2
    alpha = cv2.copyMakeBorder(alpha[inside], *[border] * 4, cv2.BORDER_CONSTANT, value=0)
    image = cv2.copyMakeBorder(image[inside], *[border] * 4, cv2.BORDER_REPLICATE)
    color = cv2.multiply(image, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), scale=1 / 255)
    opaque = (alpha >= _OPAQUE).astype(np.uint8)
    # At four times the size the outline runs within an eighth of a pixel of the pixels' edges.
    large = opaque.repeat(4, axis=0).repeat(4, axis=1)
    outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = (np.concatenate(outlines)[:, 0].astype(np.float64) + 0.5) / 4
    hull = cv2.convexHull(contour.astype(np.float32))[:, 0].astype(np.float64)
    some = contour[np.linspace(0, len(contour) - 1, CONTOUR_POINTS).astype(int)]
    inner = np.argwhere(opaque)[:, ::-1] + 0.5
    spread = np.linspace(0, len(inner) - 1, INNER_POINTS).astype(int)
    return Sprite(np.dstack([color, alpha]), np.concatenate([some, hull]), inner[spread])


def blob(rng: np.random.Generator) -> np.ndarray:
    """Alpha of a random rounded shape, uint8 [SPRITE_PX, SPRITE_PX]."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = np.arange(2, 6)
    sizes = rng.uniform(0, 0.35, len(waves)) / waves
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    radius = 1 + (sizes * np.cos(waves * angle[:, None] + phases)).sum(axis=1)
    outline = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radius[:, None]
    outline *= 0.48 * SPRITE_PX / np.abs(outline).max(axis=0)
    outline[:, int(rng.integers(2))] *= rng.uniform(0.35, 1.0)  # not all targets are square
    points = ((outline + SPRITE_PX / 2) * 16).round().astype(np.int32)
    alpha = np.zeros((SPRITE_PX, SPRITE_PX), np.uint8)
    return cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, shift=4)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coloured blotches of several sizes, sometimes with stripes: uint8 RGB [height, width, 3]."""
    total = rng.uniform(60, 190, (1, 1, 3)).astype(np.float32)
    for cells, strength in ((4, 55), (12, 40), (40, 25), (max(height, width) // 3, 14)):
        sides = (
            max(1, cells * width // max(height, width)),
            max(1, cells * height // max(height, width)),
        )
        noise = 0.8 * rng.standard_normal((*sides[::-1], 1), np.float32)
        noise = noise + 0.4 * rng.standard_normal((*sides[::-1], 3), np.float32)
        total = cv2.resize(total, sides, interpolation=cv2.INTER_CUBIC) + strength * noise
    image = np.clip(total, 0, 255).astype(np.uint8)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.04, 0.3) * max(height, width)
        along = np.add.outer(np.sin(angle) * np.arange(height), np.cos(angle) * np.arange(width))
        image[along % period < period / 2] //= 2
    return image


def _piece(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photograph, at SPRITE_PX."""
    side = int(rng.uniform(0.3, 0.9) * min(image.shape[:2]))
    y, x = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
    return cv2.resize(image[y : y + side, x : x + side], (SPRITE_PX, SPRITE_PX))


def _cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The image enlarged or made smaller to fill a size, its middle kept."""
    scale = max(height / image.shape[0], width / image.shape[1])
    sides = [max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, sides, interpolation=method)
    y, x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[y : y + height, x : x + width]


def _shrink(image: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
