"""Tracks many sequences at once: B targets a step, frames decoded and cropped by threads."""

import collections
import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from esat_jax.batched_step import BatchedStep
from esat_jax.follower import Follower, Frames, Track

PRIMED = 4  # sequences whose first frames are decoded before a slot is free


class BatchedTracker:
    """Gives the boxes that `Tracker` gives for each sequence alone, but for rounding.

    There are `groups` groups of B slots, and a sequence in each slot; where one ends the next one
    begins, and slots without one search in stale pixels. The groups take turns: while the devices
    search for one, threads crop for the next, whose crops depend on the boxes it found before.
    """

    def __init__(self, step: BatchedStep, *, groups: int = 2, workers: int | None = None) -> None:
        """Args: workers: threads that decode, and as many that crop; by default one a core."""
        self.step, self._num_groups = step, groups
        self._workers = workers or available_cores()

    def track(
        self, sequences: Iterable[Frames], on_frames: Callable[[int], None] = lambda count: None
    ) -> Iterator[Track]:
        """Yields every sequence as it ends, whole or failed; the threads end with the iterator.

        Args:
          sequences: taken as slots become free. Slots are empty for the shortest time if long
            sequences come first.
          on_frames: called after each step with the number of frames that were searched in it.
        """
        with _threads(self._workers) as (decoders, croppers):
            config = self.step.config
            queue = _Queue(Follower(config, sequence, decoders) for sequence in sequences)
            groups = [_Group(self.step) for _ in range(self._num_groups)]
            tracked = 0
            while queue or any(group.searching for group in groups):
                for group in groups:
                    if group.searching:
                        count = group.move(group.found(), tracked)
                        tracked += count
                        on_frames(count)
                    yield from group.refill(queue)
                    group.search(croppers)


class _Queue:
    """Followers that wait for a slot; the first ones have begun to decode."""

    def __init__(self, followers: Iterator[Follower]) -> None:
        self._followers, self._primed = followers, collections.deque()
        self._prime()

    def __bool__(self) -> bool:
        return bool(self._primed)

    def pop(self) -> Follower:
        """The next one."""
        follower = self._primed.popleft()
        self._prime()
        return follower

    def _prime(self) -> None:
        while len(self._primed) < PRIMED and (follower := next(self._followers, None)) is not None:
            self._primed.append(follower)


class _Group:
    """B slots that are searched in one step."""

    def __init__(self, step: BatchedStep) -> None:
        self._step = step
        self._slots: list[Follower | None] = [None] * step.batch_size
        self._template, self._search = step.blank_crops("template"), step.blank_crops("search")
        self._template_box = np.full((step.batch_size, 4), 0.5, np.float32)
        self._templates = step.put_templates(self._template, self._template_box)
        self._running = None  # the step's result, on its way
        self._last = time.perf_counter(), 0  # when it ended, and frames that all groups had then

    @property
    def searching(self) -> bool:
        """Whether a step is under way."""
        return self._running is not None

    def found(self) -> np.ndarray:
        """Waits for the step: [B, 5], see `BatchedStep.fetch`."""
        rows, self._running = self._step.fetch(self._running), None
        return rows

    def move(self, rows: np.ndarray, tracked: int) -> int:
        """Gives every target its row, and its share of the time; returns the number of targets.

        Args: tracked: frames that all groups have tracked before. Since this group's last step its
          devices and threads were the other groups' too, so the frames of all share that time.
        """
        active = [(slot, row) for slot, row in zip(self._slots, rows, strict=True) if slot]
        active = [(slot, row) for slot, row in active if not slot.ended]
        (before, tracked_before), now = self._last, time.perf_counter()
        self._last = now, tracked + len(active)
        share = (now - before) / max(self._last[1] - tracked_before, 1)
        for slot, row in active:
            slot.move(row[:4], float(row[4]), share)
        return len(active)

    def refill(self, queue: _Queue) -> Iterator[Track]:
        """Yields the sequences that ended, and puts those that wait in their place."""
        for i, slot in enumerate(self._slots):
            while slot is None or slot.ended:
                if slot is not None:
                    yield slot.track()
                slot = self._slots[i] = queue.pop() if queue else None
                if slot is None:
                    break

    def search(self, croppers: Executor) -> None:
        """Crops all next frames and starts the step, if there is a sequence left."""
        crops = [
            croppers.submit(slot.crop, self._template[i], self._template_box[i], self._search[i])
            for i, slot in enumerate(self._slots)
            if slot is not None
        ]
        begun = [crop.result() for crop in crops]
        if any(begun):
            self._templates = self._step.put_templates(self._template, self._template_box)
        if begun:
            self._running = self._step.start(self._templates, self._search)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _threads(count: int) -> Iterator[tuple[Executor, Executor]]:
    """Threads that decode and others that crop, which wait for them; at the end all are gone."""
    decoders, croppers = (ThreadPoolExecutor(count, name) for name in ("decode", "crop"))
    try:
        yield decoders, croppers
    finally:
        decoders.shutdown(wait=False, cancel_futures=True)  # crops that wait for a frame give up
        croppers.shutdown(cancel_futures=True)
        decoders.shutdown()
