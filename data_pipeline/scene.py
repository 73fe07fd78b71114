"""Synthetic scenes: a textured target that moves, turns, bends, hides and leaves.

Any frame is drawn without the others. Boxes and flags follow from the geometry; no frame has to be
drawn for them.
"""

import dataclasses

import cv2
import numpy as np

from data_pipeline.crop import clip_box_xywh
from data_pipeline.motion import (
    Body,
    Occluder,
    make_body,
    make_exit,
    make_occluder,
    make_way,
    wander,
)
from data_pipeline.painting import add_noise, paint_body, paint_occluder
from data_pipeline.sprites import Material

LEAST_SEEN = 1 / 16  # of the target; with less in sight it counts as absent
MAX_TRIES = 20  # scenes with the target absent in half of the frames are made again


@dataclasses.dataclass(frozen=True)
class SceneRule:
    """What scenes are like.

    height, width: of the frames, px; num_frames: F; sides: range of the target's mean size, the
    root of its box's area over that of the frame's; plain: no exit, occluder or distractor.
    """

    height: int = 360
    width: int = 640
    num_frames: int = 100
    sides: tuple[float, float] = (0.06, 0.3)
    plain: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """What is known of every frame.

    boxes_xywh: float64 [F, 4] px, of the target's part inside the frame whether hidden or not; NaN
    if it has left. seen, inside: [F], the share of it that is in sight, and inside the frame.
    """

    boxes_xywh: np.ndarray
    seen: np.ndarray
    inside: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Frames in which enough is seen, bool [F]."""
        return self.seen >= LEAST_SEEN


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """All that is needed to draw any frame.

    Attributes: background uint8 RGB, larger than the frame; camera [F, 2] px, the frame's corner
    in it; light [F, 3], a factor for each colour; defocus [F] px; noise, grey levels; exposure, the
    share of a frame's time in which the target is blurred by its motion.
    """

    rule: SceneRule
    background: np.ndarray
    camera: np.ndarray
    target: Body
    distractors: tuple[Body, ...]
    occluders: tuple[Occluder, ...]
    light: np.ndarray
    defocus: np.ndarray
    noise: float
    exposure: float

    def truth(self) -> Truth:
        """Where the target is in every frame, and how much of it is seen."""
        height, width = self.rule.height, self.rule.width
        x, y = self.target.to_frame(self.target.sprite.contour)
        # A target that the frame cuts reaches as far as its outline does where it is inside.
        x0, x1 = _extent(x, (y >= 0) & (y <= height))
        y0, y1 = _extent(y, (x >= 0) & (x <= width))
        sides_xywh = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
        boxes_xywh = clip_box_xywh(sides_xywh, height, width)
        x, y = self.target.to_frame(self.target.sprite.inner)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        seen = inside
        for occluder in self.occluders:
            seen = seen & ~occluder.covers(x, y)
        boxes_xywh[inside.mean(axis=1) < LEAST_SEEN] = np.nan
        return Truth(boxes_xywh, seen.mean(axis=1), inside.mean(axis=1))

    def draw(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, uint8 RGB [height, width, 3]."""
        height, width = self.rule.height, self.rule.width
        x, y = self.camera[i]
        frame = cv2.warpAffine(
            self.background,
            np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]]),
            (width, height),
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for body in self.distractors:
            paint_body(frame, body, i, 0.0)
        paint_body(frame, self.target, i, self.exposure)
        for occluder in self.occluders:
            paint_occluder(frame, occluder, i)
        if self.defocus[i] > 0.3:
            frame = cv2.GaussianBlur(frame, None, self.defocus[i])
        levels = np.arange(256)[:, None] * self.light[i]
        frame = cv2.LUT(frame, np.clip(levels, 0, 255).astype(np.uint8)[None])
        return add_noise(frame, i, self.noise) if self.noise else frame


def _extent(places: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest of the places that count, or of all if none does: [F, P] -> [F] each."""
    counts = counts | ~counts.any(axis=1, keepdims=True)
    least = np.where(counts, places, np.inf).min(axis=1)
    return least, np.where(counts, places, -np.inf).max(axis=1)


def make_scene(
    rng: np.random.Generator, material: Material, rule: SceneRule
) -> tuple[Scene, Truth]:
    """A random scene whose target is seen in the first frame and in at least half of all."""
    for attempt in range(MAX_TRIES):
        scene = _draw_scene(rng, material, rule, calm=rule.plain or attempt == MAX_TRIES - 1)
        truth = scene.truth()
        if truth.seen[0] > 0.5 and truth.visible.mean() >= 0.5:
            break
    return scene, truth


def _draw_scene(
    rng: np.random.Generator, material: Material, rule: SceneRule, *, calm: bool
) -> Scene:
    frames, size = rule.num_frames, (rule.height, rule.width)
    side_px = np.exp(rng.uniform(*np.log(rule.sides))) * np.sqrt(rule.height * rule.width)
    way = make_way(rng, frames, *size)
    if not calm and rng.random() < 0.3:
        way = make_exit(rng, way, side_px, *size)
    sprite = material.sprite(rng)
    target = make_body(rng, sprite, way, side_px)
    distractors = []
    for _ in range(0 if calm else rng.integers(0, 4)):
        other = sprite if rng.random() < 0.3 else material.sprite(rng)
        near = side_px * np.exp(rng.normal(0, 0.3))
        distractors.append(make_body(rng, other, make_way(rng, frames, *size), near))
    occluders = [
        make_occluder(rng, material.surface(rng), target, side_px)
        for _ in range(0 if calm else rng.choice([0, 0, 1, 1, 2]))
    ]
    margin = rng.uniform(0.02, 0.15) * np.array([rule.width, rule.height])
    height, width = (int(s + 2 * m) + 2 for s, m in zip(size, margin[::-1], strict=True))
    tint = np.exp(rng.uniform(0.0, 0.06) * wander(rng, frames, (3,)))
    light = np.exp(rng.uniform(0.0, 0.3) * wander(rng, frames))[:, None] * tint
    return Scene(
        rule,
        material.background(rng, height, width),
        margin * (1 + wander(rng, frames, (2,))),
        target,
        tuple(distractors),
        tuple(occluders),
        light,
        rng.choice([0.0, 0.0, 2.0]) * np.maximum(wander(rng, frames), 0),
        float(rng.choice([0.0, rng.uniform(1, 6)])),
        float(rng.choice([0.0, rng.uniform(0.2, 0.7)])),
    )
