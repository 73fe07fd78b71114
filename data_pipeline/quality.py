"""Crops as a worse camera or codec gives them."""

import dataclasses

import cv2
import numpy as np

KINDS = "defocus", "motion", "size", "jpeg"


@dataclasses.dataclass(frozen=True)
class QualityLoss:
    """What `degrade` does: its kind, how much of it in [0, 1], and for motion the way, radians."""

    kind: str
    strength: float
    angle: float


def draw_loss(rng: np.random.Generator) -> QualityLoss:
    """Draws a loss: kinds, strengths and angles each equally often."""
    kind = KINDS[rng.integers(len(KINDS))]
    return QualityLoss(kind, float(rng.random()), float(rng.uniform(0, np.pi)))


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
    raise ValueError(f"a loss of quality is one of {', '.join(KINDS)}, got {loss.kind!r}.")
