r"""Chooses the score under which a tracker says that the target is lost, and says how well it does.

python -m launch.calibrate_lost --weights=esat.safetensors --sequences=data/train \
    --validation=data/val --output=runs/lost.json --write=esat_calibrated.safetensors

Both folders hold NAME/groundtruth.txt and images. Targets are made to leave: a window pans over the
real frames until the target is outside, and comes back. The threshold is the one with the highest
F1 on --sequences; precision and recall are printed for both folders, and --write puts it into a
copy of the weights, as config.tracker.lost_threshold. Status 0: done; 1: not, with one sentence.
"""

import math
import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from tqdm import tqdm

from data_pipeline.datasets import make_dataset
from data_pipeline.planted_exits import WindowedSequence, WindowPath, plan_exits
from data_pipeline.sequences import Sequence
from esat_jax.evaluation.lost_flag import (
    ScoredFrames,
    choose_threshold,
    frame_kinds,
    rates,
    rates_lines,
)
from esat_jax.evaluation.manifest import file_sha256
from esat_jax.tracker import Tracker
from esat_jax.weights import copy_weights
from launch import errors
from launch.json_file import output_path, write_json

_WEIGHTS = flags.DEFINE_string("weights", None, "File of the tracker's weights.", required=True)
_SEQUENCES = flags.DEFINE_string(
    "sequences", None, "Folder of sequences to choose the threshold on.", required=True
)
_VALIDATION = flags.DEFINE_string(
    "validation", None, "Folder of other sequences to measure it on.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the numbers.", required=True)
_WRITE = flags.DEFINE_string("write", None, "Copy of the weights to write, with the threshold.")
_MAX_FRAMES = flags.DEFINE_integer(
    "max_frames", 0, "Uses so many frames of each sequence, its first; 0: all.", lower_bound=0
)


def main(argv: list[str]) -> None:
    """Tracks both folders, chooses, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    _check_outputs()
    folders = {"sequences": _SEQUENCES.value, "validation": _VALIDATION.value}
    views = {name: views_of(folder) for name, folder in folders.items()}
    tracker = Tracker.from_weights(_WEIGHTS.value)
    scored = {name: track(tracker, views[name]) for name in views}
    config = tracker.config
    before = config["tracker"]["lost_threshold"]
    threshold = choose_threshold(list(scored["sequences"].values()))
    print(f"threshold: {threshold} (it was {before})")
    numbers: dict = {"weights_sha256": file_sha256(_WEIGHTS.value), "threshold": threshold,
                     "max_frames": _MAX_FRAMES.value, "threshold_before": before}  # fmt: skip
    for name, frames in scored.items():
        table = rates(list(frames.values()), threshold)
        print(f"\n--{name}={folders[name]}: {_contents(views[name])}")
        print(*rates_lines(table), sep="\n")
        numbers[name] = {
            "rates": _finite(table),
            "rates_before": _finite(rates(list(frames.values()), before)),
            "frames": {key: {"scores": np.round(value.scores, 5).tolist(),
                             "kinds": value.kinds.tolist()} for key, value in frames.items()},
        }  # fmt: skip
        numbers[name]["exits"] = {v.name: [[e.start, e.stop] for e in v.path.exits]
                                  for v in views[name]}  # fmt: skip
    write_json(Path(_OUTPUT.value), numbers)
    if _WRITE.value:
        settings = {**config["tracker"], "lost_threshold": threshold}
        copy_weights(_WEIGHTS.value, _WRITE.value, {**config, "tracker": settings})
        print(f"Written: {_WRITE.value}")


def views_of(folder: str) -> list[WindowedSequence]:
    """The sequences of a folder with exits; those without room for any as they are.

    Raises: ValueError if there is none, or for one whose first frame has no box.
    """
    dataset = make_dataset(f"folders:{folder}")
    return [view_of(dataset[i], _MAX_FRAMES.value) for i in range(len(dataset))]


def view_of(sequence: Sequence, max_frames: int = 0) -> WindowedSequence:
    """A sequence's first frames (0: all), with exits if there is room for any.

    Raises: ValueError if its first frame has no box.
    """
    boxes_xywh = sequence.boxes_xywh[: max_frames or None]
    if not np.isfinite(boxes_xywh[:1]).all():
        raise ValueError(f"{sequence.name}: the first frame has no box, so nothing can be tracked.")
    height, width = sequence.read_frame(0).shape[:2]
    path = plan_exits(boxes_xywh, height, width)
    if path is None:
        still = np.zeros((len(boxes_xywh), 2), np.int64)
        path = WindowPath(still, (width, height), ())
    return WindowedSequence(sequence, path)


def track(tracker: Tracker, views: list[WindowedSequence]) -> dict[str, ScoredFrames]:
    """Tracks all sequences; {name: scores and kinds of frames}.

    Raises: ValueError for a frame of another size than the first.
    """
    scored = {}
    total = sum(map(len, views))
    with tqdm(total=total, unit="frame", disable=None, dynamic_ncols=True) as bar:
        for view in views:
            boxes_xywh, scores = np.full((len(view), 4), np.nan), np.full(len(view), np.nan)
            width, height = view.path.size
            for i in range(len(view)):
                frame = view.read_frame(i)
                if frame.shape[:2] != (height, width):
                    raise ValueError(
                        f"{view.sequence.frame_path(i)}: the frames before it have another size; "
                        "leave this sequence out."
                    )
                if i == 0:
                    tracker.initialize(frame, view.boxes_xywh[0])
                else:
                    boxes_xywh[i], scores[i], _ = tracker.update(frame)
                bar.update()
            kinds = frame_kinds(view.boxes_xywh, boxes_xywh, height, width)
            scored[view.name] = ScoredFrames(scores[1:], kinds[1:])
    return scored


def _contents(views: list[WindowedSequence]) -> str:
    planted = [view for view in views if view.path.exits]
    as_is = [view.name for view in views if not view.path.exits]
    absent = sum(int(np.isnan(view.boxes_xywh).any(axis=1).sum()) for view in views)
    text = f"{sum(len(v.path.exits) for v in planted)} exits in {len(planted)} sequences"
    if absent:
        text += f", {absent} frames annotated as absent"
    if as_is:
        text += f"; {len(as_is)} without room for any, tracked as they are: {', '.join(as_is)}"
    return text


def _finite(value: object) -> object:
    """NaN as None, which JSON has, at every depth."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _check_outputs() -> None:
    """Before the work, as what cannot be written may be lost after it."""
    for flag in (_OUTPUT, _WRITE):
        output_path(flag.value, flag.name)
    if _WRITE.value and Path(_WRITE.value).suffix != ".safetensors":
        raise ValueError(f"--write={_WRITE.value}: weights are written to a .safetensors file.")
    if Path(_SEQUENCES.value).resolve() == Path(_VALIDATION.value).resolve():
        print("WARNING: both folders are the same: nothing is validated.", file=sys.stderr)


if __name__ == "__main__":
    errors.run(main)
