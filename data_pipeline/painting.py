"""Draws the bodies and occluders of synthetic sequences into a frame."""

import functools

import cv2
import numpy as np

from data_pipeline.motion import Body, Occluder


def paint_body(frame: np.ndarray, body: Body, i: int, exposure: float) -> None:
    """Puts a body into the frame, blurred along its motion during `exposure` frames."""
    sprite = body.sprite.pixels
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * sprite.shape[1::-1]
    to_frame = body.axes[i]
    spread = (corners - body.sprite.center) @ to_frame.T + body.center_xy[i]
    motion = exposure * (body.center_xy[i] - body.center_xy[max(i - 1, 0)])
    reach = np.abs(motion) / 2 + 1
    x0, y0 = np.maximum(np.floor(spread.min(axis=0) - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(spread.max(axis=0) + reach), frame.shape[1::-1]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    columns, rows = np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5
    back = np.linalg.inv(to_frame).astype(np.float32)
    dx, dy = (
        (a - c).astype(np.float32) for a, c in zip((columns, rows), body.center_xy[i], strict=True)
    )
    x = np.add.outer(back[0, 1] * dy, back[0, 0] * dx)  # the sprite's place at each frame pixel
    y = np.add.outer(back[1, 1] * dy, back[1, 0] * dx)
    (size_x, rate_x, phase_x), (size_y, rate_y, phase_y) = body.bend[i].astype(np.float32)
    if size_x or size_y:
        y -= size_y * np.sin(rate_y * x + phase_y)
        x -= size_x * np.sin(rate_x * y + phase_x)
    cx, cy = body.sprite.center
    shrink = np.abs(np.linalg.det(to_frame)) ** 0.5
    if shrink < 0.6:  # sampled sparsely: without this it would flicker
        sprite = cv2.GaussianBlur(sprite, None, 0.4 / shrink)
    layer = cv2.remap(sprite, x + np.float32(cx - 0.5), y + np.float32(cy - 0.5), cv2.INTER_LINEAR)
    if np.abs(motion).max() >= 1.5:
        layer = cv2.filter2D(layer, -1, _line(motion))
    alpha = layer[..., 3]
    color = cv2.convertScaleAbs(layer[..., :3], alpha=float(body.gain[i]))
    _blend(frame[y0:y1, x0:x1], color, alpha)


def _line(motion: np.ndarray) -> np.ndarray:
    """A kernel that spreads a pixel evenly along the motion [2] px, around itself."""
    half = int(np.ceil(np.abs(motion).max() / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [tuple(np.rint((half + s * motion / 2) * 16).astype(int).tolist()) for s in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def paint_occluder(frame: np.ndarray, occluder: Occluder, i: int) -> None:
    """Puts an occluder into the frame."""
    reach = np.hypot(*occluder.sides) / 2 + 1
    center = occluder.center_xy[i]
    x0, y0 = np.maximum(np.floor(center - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(center + reach), frame.shape[1::-1]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    cos, sin = np.cos(occluder.angle), np.sin(occluder.angle)
    dx = (np.arange(x0, x1) + 0.5 - center[0]).astype(np.float32)
    dy = (np.arange(y0, y1) + 0.5 - center[1]).astype(np.float32)
    x = np.add.outer(np.float32(sin) * dy, np.float32(cos) * dx)
    y = np.add.outer(np.float32(cos) * dy, np.float32(-sin) * dx)
    half_x, half_y = (np.float32(side / 2) for side in occluder.sides)
    if occluder.round:
        distance = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2)
        beyond = (distance - 1) * min(half_x, half_y)
    else:
        beyond = np.maximum(np.abs(x) - half_x, np.abs(y) - half_y)
    alpha = (255 * np.clip(0.5 - beyond, 0, 1)).astype(np.uint8)
    scale = np.float32(len(occluder.surface) / occluder.sides.max())
    middle = np.float32(len(occluder.surface) / 2)
    color = cv2.remap(
        occluder.surface,
        x * scale + middle,
        y * scale + middle,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    color = cv2.multiply(color, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), scale=1 / 255)
    _blend(frame[y0:y1, x0:x1], color, alpha)


def _blend(part: np.ndarray, color: np.ndarray, alpha: np.ndarray) -> None:
    """Lays colour, already times alpha, over a part of the frame."""
    through = cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2RGB)
    part[:] = cv2.add(cv2.multiply(part, through, scale=1 / 255), color)


@functools.lru_cache(maxsize=2)
def _noise_field(height: int, width: int) -> np.ndarray:
    """Normal noise around 0, int16 [height, width, 3], standard deviation 16."""
    rng = np.random.default_rng(0)
    return (16 * rng.standard_normal((height, width, 3), np.float32)).astype(np.int16)


def add_noise(frame: np.ndarray, i: int, sigma: float) -> np.ndarray:
    """The frame with normal noise of `sigma` grey levels, the same for the same `i`."""
    height, width = frame.shape[:2]
    y, x = np.random.default_rng(i).integers(0, 64, 2)  # another piece of the field each frame
    noise = _noise_field(height + 64, width + 64)[y : y + height, x : x + width]
    return cv2.addWeighted(frame, 1.0, noise, sigma / 16, 0.0, dtype=cv2.CV_8U)
