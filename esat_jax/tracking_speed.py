"""How fast whole frames are tracked: from image bytes to boxes, part by part and all at once."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from esat_jax.batched_step import BatchedStep
from esat_jax.batched_tracker import BatchedTracker
from esat_jax.follower import Frames
from esat_jax.latency import random_variables
from esat_jax.models.box_head import hann_window
from esat_jax.read_ahead import read_ahead
from esat_jax.target import Target
from esat_jax.tracker import Tracker

WARM_UP = 5  # steps before the measured ones
PARTS = ("decode", "crop", "forward", "post")


class Video(Frames, Protocol):
    """A sequence with every box known, whose frames can also be read as arrays."""

    def read_frame(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, uint8 RGB [height, width, 3]."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pendulum:
    """A video played forwards and backwards from frame `first` on, for `num_frames` frames."""

    video: Video
    first: int
    num_frames: int

    @property
    def name(self) -> str:
        """A name for messages."""
        return f"{self.video.name} from {self.first}"

    @property
    def boxes_xywh(self) -> np.ndarray:
        """float64 [1, 4], the first box, px."""
        return self.video.boxes_xywh[self.first : self.first + 1]

    def __len__(self) -> int:
        return self.num_frames

    def open_frame(self, i: int) -> object:
        """See `Frames`."""
        return self.video.open_frame(self._place(i))

    def read_frame(self, i: int) -> np.ndarray:
        """See `Video`."""
        return self.video.read_frame(self._place(i))

    def _place(self, i: int) -> int:
        last = len(self.video) - 1
        return last - abs(last - (self.first + i) % max(2 * last, 1))


def make_pendulums(videos: Sequence[Video], count: int, num_frames: int) -> list[Pendulum]:
    """`count` sequences of the videos in turn, each from another frame with a box.

    Raises: ValueError if a video has no box.
    """
    pendulums = []
    for n in range(count):
        video = videos[n % len(videos)]
        starts = np.flatnonzero((video.boxes_xywh[:, 2:] > 0).all(axis=1))
        if not len(starts):
            raise ValueError(f"{video.name} has no box to begin with.")
        first = int(starts[7 * (n // len(videos)) % len(starts)])
        pendulums.append(Pendulum(video, first, num_frames))
    return pendulums


def steady_variables(config: Mapping) -> dict:
    """Random weights whose box stays where it is, as large as it is.

    Wandering boxes would make crops larger than a tracker's, and cropping slower.
    Args: config: plain nested dict with the keys of configs/base.py.
    """
    variables = random_variables(config, np.random.default_rng(0))
    head, search = variables["params"]["box_head"], config["search"]
    grid = search["size"] // config["backbone"]["patch_size"]
    middle = int(hann_window(grid)[grid // 2].argmax())  # the cell that the window prefers
    share = 1 / search["factor"]
    values = {"score": 0.0, "size": np.log(share / (1 - share)), "offset": grid / 2 - middle}
    for tower, value in values.items():
        last = head[tower]["conv_5"]
        last["kernel"] = np.zeros_like(last["kernel"])
        last["bias"] = np.full_like(last["bias"], value)
    return variables


def sequential_speed(tracker: Tracker, videos: Sequence[Video], steps: int) -> dict:
    """Tracks one frame after the other as launch.track does, while a thread reads the next one.

    Returns: whole_ms, its mean, p50 and p95 over `steps` frames; frames_per_second.
    """
    (video,) = make_pendulums(videos, 1, WARM_UP + steps + 1)
    tracker.initialize(video.read_frame(0), video.boxes_xywh[0])
    clock = [time.perf_counter()]
    with contextlib.closing(read_ahead(map(video.read_frame, range(1, len(video))))) as frames:
        for frame in frames:
            tracker.update(frame)
            clock.append(time.perf_counter())
    seconds = np.diff(clock)[WARM_UP:]
    return {"whole_ms": _summary(seconds), "frames_per_second": round(1 / seconds.mean(), 2)}


def part_times(step: BatchedStep, videos: Sequence[Video], steps: int, workers: int) -> dict:
    """Times the parts of a step of B targets, each begun when the one before has ended.

    Decode: files to pixels; crop: to uint8 crops; forward: to the devices, through the network, and
    boxes back; post: boxes to frame pixels. With B > 1 threads decode and crop in parallel.
    Returns: ms of each part and of the whole step, mean, p50 and p95; parts_over_whole, of the
      means; frames_per_second.
    """
    pendulums = make_pendulums(videos, step.batch_size, WARM_UP + steps + 1)
    rows = []
    with ThreadPoolExecutor(workers) as threads:
        each = map if step.batch_size == 1 else threads.map
        batch = _Batch(step, pendulums, each)
        for i in range(1, WARM_UP + steps + 1):
            start = time.perf_counter()
            parts = batch.track(i)
            rows.append([*parts, time.perf_counter() - start])
    seconds = np.array(rows)[WARM_UP:]
    times = {
        f"{name}_ms": _summary(column)
        for name, column in zip((*PARTS, "whole"), seconds.T, strict=True)
    }
    means = seconds.mean(axis=0)
    return times | {
        "parts_over_whole": round(float(means[:-1].sum() / means[-1]), 4),
        "frames_per_second": round(step.batch_size / float(means[-1]), 2),
    }


def overlapped_speed(
    step: BatchedStep, videos: Sequence[Video], steps: int, workers: int, groups: int
) -> dict:
    """Tracks as launch.evaluate does: decoding, cropping and searching at the same time.

    Returns: step_ms, between the results of two steps of B targets each; frames_per_second.
    """
    # Every group makes this many steps, and in all of them every slot has a target.
    rounds = -(-steps // groups) + WARM_UP
    pendulums = make_pendulums(videos, groups * step.batch_size, rounds + 1)
    clock: list[float] = []
    tracker = BatchedTracker(step, groups=groups, workers=workers)
    for track in tracker.track(pendulums, lambda count: clock.append(time.perf_counter())):
        if track.error is not None:
            raise track.error
    seconds = np.diff(clock[groups * WARM_UP :])
    return {
        "step_ms": _summary(seconds),
        "frames_per_second": round(step.batch_size / float(seconds.mean()), 2),
    }


class _Batch:
    """B targets on their way, one part after the other."""

    def __init__(
        self, step: BatchedStep, pendulums: list[Pendulum], each: Callable[..., Iterable]
    ) -> None:
        self._step, self._pendulums, self._each = step, pendulums, each
        frames = [pendulum.open_frame(0) for pendulum in pendulums]
        self._targets = [
            Target(step.config, pendulum.boxes_xywh[0], frame.height, frame.width)
            for pendulum, frame in zip(pendulums, frames, strict=True)
        ]
        crops = step.blank_crops("template")
        for crop, target, frame in zip(crops, self._targets, frames, strict=True):
            crop[...] = target.template_geometry.crop_frame(frame)
        boxes = np.stack([target.template_box_cxcywh() for target in self._targets])
        self._templates = step.put_templates(crops, boxes)
        self._search = step.blank_crops("search")

    def track(self, i: int) -> np.ndarray:
        """Frame `i` of all; returns the seconds of each part."""
        clock = [time.perf_counter()]
        frames = list(self._each(lambda pendulum: pendulum.open_frame(i), self._pendulums))
        clock.append(time.perf_counter())
        geometries = list(self._each(self._crop, self._search, self._targets, frames))
        clock.append(time.perf_counter())
        rows = self._step.fetch(self._step.start(self._templates, self._search))
        clock.append(time.perf_counter())
        for target, frame, geometry, row in zip(
            self._targets, frames, geometries, rows, strict=True
        ):
            target.move(geometry, row[:4], float(row[4]), frame.height, frame.width)
        clock.append(time.perf_counter())
        return np.diff(clock)

    @staticmethod
    def _crop(search: np.ndarray, target: Target, frame: object) -> object:
        geometry = target.search_geometry(frame.height, frame.width)
        search[...] = geometry.crop_frame(frame)
        return geometry


def _summary(seconds: np.ndarray) -> dict[str, float]:
    """Milliseconds."""
    p50, p95 = np.percentile(seconds, (50, 95))
    named = {"mean": seconds.mean(), "p50": p50, "p95": p95}
    return {name: round(1e3 * float(value), 3) for name, value in named.items()}
