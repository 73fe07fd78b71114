r"""Times tracking from image files to boxes: each part, one at a time, and many at once.

python -m launch.benchmark_tracker --config=configs/esat_vit_b384.py \
    --config.compute_dtype=bfloat16 --batch_sizes=1,8,32 --json=speed.json

"sequential" is the tracker of one target as launch.track uses it on a file: a thread reads the next
frame while one is tracked. The parts of a batch are timed one after the other; they sum to the
whole. "overlapped" is what launch.evaluate does: while the device searches for one group of
targets, threads decode and crop for another. Compilation is timed apart. Weights are random, and
hold the box where it is, unless --weights gives others; frames are JPEGs of synthetic videos in
memory, or those of a data set.
"""

import dataclasses
from collections.abc import Mapping

import cv2
import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from data_pipeline.allocation import keep_freed_memory
from data_pipeline.datasets import make_dataset
from data_pipeline.decoding import DecodedFrame, decode_image
from data_pipeline.scene import SceneRule
from data_pipeline.synthetic import SyntheticDataset
from esat_jax.batched_step import BatchedStep
from esat_jax.batched_tracker import available_cores
from esat_jax.model_weights import load_model_weights
from esat_jax.sharding import make_mesh
from esat_jax.tracker import Tracker
from esat_jax.tracking_speed import (
    PARTS,
    Video,
    overlapped_speed,
    part_times,
    sequential_speed,
    steady_variables,
)
from launch import errors
from launch.json_file import output_path, write_json
from launch.run_record import git_commit

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Instead of --config: a tracker's weights file.")
_DATA = flags.DEFINE_string(
    "data", "synthetic", "synthetic, or a data set such as otb or folders:PATH."
)
_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_FRAME_SIZE = flags.DEFINE_string("frame_size", "1280x720", "Of synthetic frames, px.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "8", "32"], "Targets in one step.")
_STEPS = flags.DEFINE_integer("steps", 100, "Timed steps of each row.", lower_bound=10)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Threads that decode, and as many that crop; by default one a core.", 1
)
_GROUPS = flags.DEFINE_integer("groups", 2, "Groups of targets that take turns.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File that receives the numbers.")

SYNTHETIC_VIDEOS, SYNTHETIC_FRAMES = 3, 30


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedVideo:
    """A video of JPEG files in memory."""

    name: str
    boxes_xywh: np.ndarray
    files: list[bytes]

    def __len__(self) -> int:
        return len(self.files)

    def read_frame(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, uint8 RGB [height, width, 3]."""
        return decode_image(self.files[i])

    def open_frame(self, i: int) -> DecodedFrame:
        """The same for cropping."""
        return DecodedFrame(self.read_frame(i))


def read_videos() -> tuple[list[Video], dict]:
    """The videos that --data names, and what is to be said of their frames."""
    if _DATA.value == "synthetic":
        videos = draw_videos(*_parse_size(_FRAME_SIZE.value))
        data = videos[0].files
        facts = {"kbytes": round(sum(map(len, data)) / len(data) / 1000, 1)}
    else:
        videos = [video for video in make_dataset(_DATA.value, _ROOT.value) if video.is_video]
        facts = {}
    height, width = videos[0].read_frame(0).shape[:2]
    return videos, {"data": _DATA.value, "height": height, "width": width, **facts}


def draw_videos(width: int, height: int) -> list[EncodedVideo]:
    """Synthetic videos as JPEG files."""
    rule = SceneRule(height, width, SYNTHETIC_FRAMES, plain=True)
    dataset = SyntheticDataset(rule=rule, count=SYNTHETIC_VIDEOS)
    return [
        EncodedVideo(
            video.name, video.boxes_xywh, [video.read_frame_bytes(i) for i in range(len(video))]
        )
        for video in dataset
    ]


def measure(config: Mapping, variables: Mapping, videos: list[Video]) -> list[dict]:
    """All rows; prints each when it is measured."""
    workers, steps = _WORKERS.value or available_cores(), _STEPS.value
    tracker = Tracker(config, variables)
    rows = [{"mode": "sequential", "batch": 1, "compile_seconds": tracker.compile_seconds}]
    rows[0] |= sequential_speed(tracker, videos, steps)
    baseline = rows[0]["frames_per_second"]
    _show(rows[0])
    cv2.setNumThreads(1)  # from here on as launch.evaluate
    for batch in _parse_batch_sizes():
        # One device: the measurement is of what it does for a frame.
        step = BatchedStep(config, variables, batch, make_mesh(jax.local_devices()[:1]))
        common = {"batch": batch, "compile_seconds": step.compile_seconds}
        parts = part_times(step, videos, steps, workers)
        rows.append({"mode": "parts", **common, **parts})
        _show(rows[-1])
        whole = overlapped_speed(step, videos, steps, workers, _GROUPS.value)
        rows.append({"mode": "overlapped", **common, "groups": _GROUPS.value, **whole})
        rows[-1]["times_sequential"] = round(whole["frames_per_second"] / baseline, 2)
        _show(rows[-1])
    for row in rows:
        row["compile_seconds"] = round(row["compile_seconds"], 2)
    return rows


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    path = output_path(_JSON.value)
    if bool(_WEIGHTS.value) == bool(_CONFIG.value):
        raise ValueError("give either --weights=FILE, or --config=FILE for random weights.")
    _parse_batch_sizes()
    if _WEIGHTS.value:
        variables, config = load_model_weights(_WEIGHTS.value)
    else:
        config = _CONFIG.value.to_dict()
        variables = steady_variables(config)
    videos, facts = read_videos()
    keep_freed_memory()
    ran_on = {
        "device": jax.local_devices()[0].device_kind,
        "cores": available_cores(),
        "workers": _WORKERS.value or available_cores(),
        "compute_dtype": config["compute_dtype"],
        "search_size": config["search"]["size"],
        "frames": facts,
        "jax": jax.__version__,
        "git": git_commit(),
    }
    print(", ".join(f"{key} {value}" for key, value in ran_on.items()), flush=True)
    numbers = ran_on | {"steps": _STEPS.value, "rows": measure(config, variables, videos)}
    write_json(path, numbers)


def _show(row: Mapping) -> None:
    line = f"{row['mode']:11} batch {row['batch']:3}: {row['frames_per_second']:9.1f} frames/s"
    for name in (*PARTS, "whole", "step"):
        if times := row.get(f"{name}_ms"):
            line += f", {name} {times['p50']:.2f}/{times['p95']:.2f}"
    line += f" ms (p50/p95), {row['compile_seconds']:.1f} s to compile"
    if "times_sequential" in row:
        line += f", {row['times_sequential']:.2f} x sequential"
    if "parts_over_whole" in row:
        line += f", parts {row['parts_over_whole']:.1%} of the whole"
    print(line, flush=True)


def _parse_batch_sizes() -> list[int]:
    if not all(size.isdecimal() and int(size) for size in _BATCH_SIZES.value):
        raise ValueError(f"--batch_sizes are numbers such as 1,8,32; got {_BATCH_SIZES.value}.")
    return [int(size) for size in _BATCH_SIZES.value]


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 32):
        raise ValueError(f"--frame_size is such as 1280x720, at least 32x32; got {text!r}.")
    return int(width), int(height)


if __name__ == "__main__":
    errors.run(main)
