"""Paths of synthetic sequences: everything that moves or changes, as arrays over the frames."""

import dataclasses

import numpy as np

from data_pipeline.sprites import Sprite


@dataclasses.dataclass(frozen=True, eq=False)
class Body:
    """A sprite's way through F frames.

    Attributes:
      sprite: what is seen.
      center_xy: [F, 2] px of the frame, (0, 0) being the first pixel's corner.
      axes: [F, 2, 2], maps the sprite's pixels from its centre to the frame's, turn and scale.
      bend: [F, 2, 3], waves that deform it: amplitude px, waves a px, phase; x along y, y along x.
      gain: [F], brightness, at most 1.
    """

    sprite: Sprite
    center_xy: np.ndarray
    axes: np.ndarray
    bend: np.ndarray
    gain: np.ndarray

    def to_frame(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of the sprite [P, 2] px -> their x and y in every frame, [F, P] px each."""
        x, y = (points - self.sprite.center).T
        (size_x, rate_x, phase_x), (size_y, rate_y, phase_y) = np.moveaxis(self.bend, 0, -1)
        if size_x.any() or size_y.any():
            x = x + size_x[:, None] * np.sin(rate_x[:, None] * y + phase_x[:, None])
            y = y + size_y[:, None] * np.sin(rate_y[:, None] * x + phase_y[:, None])
        (xx, xy), (yx, yy) = np.moveaxis(self.axes[..., None], 0, -2)  # [F, 1] each
        center_x, center_y = np.split(self.center_xy, 2, axis=1)
        return xx * x + xy * y + center_x, yx * x + yy * y + center_y


@dataclasses.dataclass(frozen=True, eq=False)
class Occluder:
    """A flat piece that passes in front: an ellipse or a rectangle around its centre.

    Attributes: surface uint8 RGB [s, s, 3]; round: an ellipse; sides [2] px; angle in radians;
      center_xy [F, 2] px.
    """

    surface: np.ndarray
    round: bool
    sides: np.ndarray
    angle: float
    center_xy: np.ndarray

    def covers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether it hides frame pixels [F, P] -> bool [F, P]."""
        dx, dy = x - self.center_xy[:, :1], y - self.center_xy[:, 1:]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along = np.abs(cos * dx + sin * dy) / (self.sides[0] / 2)
        across = np.abs(cos * dy - sin * dx) / (self.sides[1] / 2)
        if self.round:
            return along**2 + across**2 <= 1
        return np.maximum(along, across) <= 1


def wander(rng: np.random.Generator, num_frames: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Smooth random curves within -1 and 1, [F, *shape]: three waves of 20 to 200 frames each."""
    time = np.arange(num_frames).reshape(-1, *[1] * (len(shape) + 1))
    periods = np.exp(rng.uniform(np.log(20), np.log(200), (*shape, 3)))
    phases = rng.uniform(0, 2 * np.pi, (*shape, 3))
    sizes = periods * rng.uniform(0.2, 1.0, (*shape, 3))  # slow waves are the large ones
    waves = sizes * np.sin(2 * np.pi * time / periods + phases)
    return waves.sum(axis=-1) / sizes.sum(axis=-1)


def pulse(num_frames: int, first: float, ramp: float, hold: float) -> np.ndarray:
    """Rises smoothly from 0 to 1 from frame `first` on, stays, and falls again: [F]."""
    time = np.arange(num_frames) - first
    rise = np.clip(np.minimum(time, 2 * ramp + hold - time) / ramp, 0, 1)
    return rise * rise * (3 - 2 * rise)


def make_body(
    rng: np.random.Generator, sprite: Sprite, center_xy: np.ndarray, side_px: float
) -> Body:
    """A body on this way [F, 2], whose box has about `side_px` as the root of its area.

    It grows, shrinks, turns, bends and changes its brightness.
    """
    frames = len(center_xy)
    size = (
        side_px / np.sqrt(sprite.sides.prod()) * np.exp(rng.uniform(0.0, 0.5) * wander(rng, frames))
    )
    stretch = np.exp(rng.uniform(0.0, 0.2) * wander(rng, frames))
    spin = rng.choice([0.0, 0.0, 0.0, rng.uniform(-0.1, 0.1)]) * np.arange(frames)
    angle = rng.uniform(0.0, 0.8) * wander(rng, frames) + spin
    cos, sin = np.cos(angle), np.sin(angle)
    scale_x, scale_y = size * stretch, size / stretch
    mirror = rng.choice([-1.0, 1.0])
    axes = np.array(
        [[mirror * scale_x * cos, -scale_y * sin], [mirror * scale_x * sin, scale_y * cos]]
    )
    longest = sprite.sides.max()
    bend = np.empty((frames, 2, 3))
    bend[..., 0] = rng.choice([0.0, 1.0]) * rng.uniform(0.0, 0.06, 2) * longest
    bend[..., 1] = 2 * np.pi / (longest * rng.uniform(0.7, 2.0, 2))
    bend[..., 2] = np.outer(np.arange(frames), rng.uniform(-0.3, 0.3, 2))
    gain = 1 - rng.uniform(0.0, 0.35) * (0.5 + 0.5 * wander(rng, frames))
    return Body(sprite, center_xy, np.moveaxis(axes, -1, 0), bend, gain)


def make_way(rng: np.random.Generator, num_frames: int, height: int, width: int) -> np.ndarray:
    """A way through the frame that never leaves it, [F, 2] px."""
    reach = rng.uniform(0.15, 0.45, 2) * (width, height)
    middle = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * (
        0.46 * np.array([width, height]) - reach
    )
    return middle + reach * wander(rng, num_frames, (2,))


def make_exit(
    rng: np.random.Generator, way: np.ndarray, side_px: float, height: int, width: int
) -> np.ndarray:
    """The way [F, 2] with one excursion out of the frame and back."""
    frames = len(way)
    first = rng.uniform(0.15, 0.6) * frames
    away = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])[rng.integers(4)]
    shape = pulse(frames, first, rng.uniform(6, 15), rng.uniform(0.02, 0.12) * frames)
    return way + np.outer(shape, away * (np.array([width, height]) + 2 * side_px))


def make_occluder(
    rng: np.random.Generator, surface: np.ndarray, body: Body, side_px: float
) -> Occluder:
    """A piece that passes over the body once, at a pace that hides it for a few frames."""
    frames = len(body.center_xy)
    meeting = int(rng.uniform(0.15, 0.9) * frames)
    direction = rng.uniform(0, 2 * np.pi)
    sides = side_px * rng.uniform(0.5, 1.8, 2)
    if rng.random() < 0.3:
        sides = side_px * np.array([rng.uniform(0.3, 1.2), 30])  # a pole, a door frame
    pace = (side_px + sides.min()) / rng.uniform(5, 0.12 * frames + 6)
    along = np.array([np.cos(direction), np.sin(direction)])
    offset = rng.normal(0, 0.2, 2) * side_px
    center = body.center_xy[meeting] + offset + np.outer(np.arange(frames) - meeting, pace * along)
    angle = direction if sides[1] > 5 * side_px else rng.uniform(0, np.pi)
    return Occluder(surface, bool(rng.random() < 0.4), sides, angle, center)
