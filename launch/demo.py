r"""Makes a short clip of a moving target, tracks it, and leaves everything in a folder to look at.

python -m launch.demo --output=runs/demo

Needs no data. Writes clip.mp4, then runs launch.track on it, which writes boxes.txt, scores.txt and
annotated.mp4, and compares the boxes with the true ones.
"""

import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

from esat_jax.frame_sinks import VideoSink
from launch import errors

_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder that receives the files.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Weights file; without one they are random.")

CONFIG = "configs/esat_vit_s224.py"  # for random weights
WIDTH, HEIGHT, FRAMES = 640, 360, 60


def texture(rng: np.random.Generator, height: int, width: int, grain_px: int) -> np.ndarray:
    """Coloured blotches about `grain_px` large -> uint8 [height, width, 3]."""
    cells = rng.uniform(0, 255, (height // grain_px + 2, width // grain_px + 2, 3))
    coarse = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.8 * coarse + 0.2 * rng.uniform(0, 255, coarse.shape), 0, 255).astype(np.uint8)


def make_clip(seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """A textured ellipse that moves and grows before a textured background.

    Returns: frames, uint8 RGB [360, 640, 3]; its boxes_xywh, float64 [F, 4] px.
    """
    rng = np.random.default_rng(seed)
    background = texture(rng, HEIGHT, WIDTH, 40) // 2 + 40
    skin = texture(rng, 128, 128, 12)
    time = np.linspace(0, 1, FRAMES)
    sides = np.stack([70 + 30 * time, 56 + 24 * time], axis=-1).round()
    center = np.stack([120 + 380 * time, 180 + 90 * np.sin(2 * np.pi * time)], axis=-1)
    corner = (center - sides / 2).round()
    frames = []
    for (x, y), (w, h) in zip(corner.astype(int), sides.astype(int), strict=True):
        frame = background.copy()
        patch = cv2.resize(skin, (int(w), int(h)), interpolation=cv2.INTER_AREA)
        mask = np.zeros((h, w), np.uint8)
        cv2.ellipse(mask, (int(w) // 2, int(h) // 2), (int(w) // 2, int(h) // 2), 0, 0, 360, 1, -1)
        frame[y : y + h, x : x + w][mask > 0] = patch[mask > 0]
        frames.append(frame)
    return frames, np.concatenate([corner, sides], axis=-1)


def overlaps(boxes_xywh: np.ndarray, others_xywh: np.ndarray) -> np.ndarray:
    """Intersection over union of [F, 4] and [F, 4] px -> [F]."""
    first = np.maximum(boxes_xywh[:, :2], others_xywh[:, :2])
    last = np.minimum(
        boxes_xywh[:, :2] + boxes_xywh[:, 2:], others_xywh[:, :2] + others_xywh[:, 2:]
    )
    shared = np.prod(np.maximum(last - first, 0), axis=1)
    return shared / (boxes_xywh[:, 2:].prod(axis=1) + others_xywh[:, 2:].prod(axis=1) - shared)


def main(argv: list[str]) -> int:
    """Makes the clip, tracks it, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    frames, boxes_xywh = make_clip()
    clip = VideoSink(output / "clip.mp4", fps=20)
    for number, frame in enumerate(frames):
        clip.write(number, frame)
    clip.close(whole=True)
    box = ",".join(f"{number:g}" for number in boxes_xywh[0])
    network = f"--weights={_WEIGHTS.value}" if _WEIGHTS.value else f"--config={CONFIG}"
    command = [
        *(sys.executable, "-m", "launch.track", network, f"--source={output / 'clip.mp4'}"),
        *(f"--box={box}", f"--output={output}"),
    ]
    print("python", shlex.join(command[1:]), flush=True)
    status = subprocess.run(command, check=False).returncode
    if status == 0:
        tracked = np.loadtxt(output / "boxes.txt", delimiter=",")
        share = overlaps(tracked, boxes_xywh)[1:].mean()
        by = "" if _WEIGHTS.value else ", by random weights"
        print(f"Overlap with the true box, mean over the clip: {share:.2f} (1 is perfect){by}.")
    return status


if __name__ == "__main__":
    errors.run(main)
