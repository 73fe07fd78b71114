"""Crops of stills turned, stretched and bent, since a still does not move by itself."""

import dataclasses

import cv2
import numpy as np

_OUTLINE_POINTS = 256  # of a warped target: its box is right to one part in ten thousand


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


def draw_warp(rng: np.random.Generator, turn: float, stretch: float, bend: float) -> Warp:
    """Draws a warp.

    Args: turn, stretch, bend: at most so many degrees, so much of the logarithm of a side's factor,
      and such a share of the target's sides; see config.data.still_turn and those after it.
    """
    factors = np.exp(rng.uniform(-stretch, stretch, 2))
    degrees = float(rng.uniform(-turn, turn))
    waves = None
    if bend:
        sizes = rng.uniform(0, bend, 2)
        waves = np.stack([sizes, rng.uniform(0.7, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)], axis=1)
    return Warp(degrees, tuple(factors.tolist()), waves)


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
