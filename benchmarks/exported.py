r"""Exported ONNX graphs beside the tracker they came from, on a CPU: equal boxes, and times.

python -m launch.export --weights=esat.safetensors --output=esat_onnx
JAX_PLATFORMS=cpu python -m benchmarks.exported --weights=esat.safetensors --export=esat_onnx \
    --source=clip.mp4 --box=270,120,64,80
prints one JSON line. Both track the same frames, turn about, several rounds; times are of
`update`: cropping, network, box. `cpu_ms` is what all threads worked for a frame, which other
programs on the computer change little.
"""

import itertools
import json
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from benchmarks.environment import environment
from esat_jax.adapters.any_tracker import AnyTracker
from esat_jax.frame_sources import open_source
from esat_jax.model_weights import load_model_weights
from esat_jax.target import Prediction
from esat_jax.tracker import Tracker

_WEIGHTS = flags.DEFINE_string("weights", None, "Weights of the tracker.", required=True)
_EXPORT = flags.DEFINE_string("export", None, "Folder of launch.export.", required=True)
_SOURCE = flags.DEFINE_string("source", None, "Video or folder of images.", required=True)
_BOX = flags.DEFINE_list("box", None, "Target in the first frame, x,y,w,h px.", required=True)
_FRAMES = flags.DEFINE_integer("frames", 101, "Frames at most.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Times that each tracks the frames.", lower_bound=1)
_DTYPE = flags.DEFINE_string("compute_dtype", "float32", "Of the JAX tracker.")
_THREADS = flags.DEFINE_integer("threads", 0, "Of onnxruntime; 0 takes all cores.", lower_bound=0)


def follow(
    tracker: AnyTracker, frames: Sequence[np.ndarray], box_xywh: Sequence[float]
) -> tuple[list[Prediction], list[float]]:
    """Predictions and milliseconds of every frame but the first."""
    tracker.initialize(frames[0], box_xywh)
    found, times = [], []
    for frame in frames[1:]:
        start = time.perf_counter()
        found.append(tracker.update(frame))
        times.append(1000 * (time.perf_counter() - start))
    return found, times


def main(argv: list[str]) -> None:
    """Tracks with both and compares."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    from esat_jax.exporting.onnx_tracker import OnnxTracker  # needs requirements-export.txt

    variables, config = load_model_weights(_WEIGHTS.value)
    trackers = {
        "jax": Tracker({**config, "compute_dtype": _DTYPE.value}, variables),
        "onnx": OnnxTracker(_EXPORT.value, threads=_THREADS.value),
    }
    source = itertools.islice(open_source(_SOURCE.value, 0).frames, _FRAMES.value)
    frames = [frame.image for frame in source]
    box_xywh = [float(number) for number in _BOX.value]
    found, times = {}, {name: [] for name in trackers}
    worked = {name: [] for name in trackers}
    for _, (name, tracker) in itertools.product(range(_ROUNDS.value), trackers.items()):
        start = time.process_time()
        found[name], milliseconds = follow(tracker, frames, box_xywh)
        times[name] += milliseconds
        worked[name].append(1000 * (time.process_time() - start) / len(milliseconds))
    boxes_xywh = {name: np.stack([x.box_xywh for x in found[name]]) for name in found}
    scores = {name: np.array([x.score for x in found[name]]) for name in found}
    row = {
        "benchmark": "exported",
        "frames": len(frames),
        "box_difference_px": float(np.abs(boxes_xywh["jax"] - boxes_xywh["onnx"]).max()),
        "score_difference": float(np.abs(scores["jax"] - scores["onnx"]).max()),
        "threads": _THREADS.value,
        "jax_dtype": _DTYPE.value,
    }
    for name, milliseconds in times.items():
        for percent in (5, 50, 95):
            row[f"{name}_ms_p{percent}"] = round(float(np.percentile(milliseconds, percent)), 2)
        row[f"{name}_cpu_ms"] = round(min(worked[name]), 2)
        row[f"{name}_start_seconds"] = round(trackers[name].compile_seconds, 2)
    print(json.dumps(row | environment()), flush=True)


if __name__ == "__main__":
    app.run(main)
