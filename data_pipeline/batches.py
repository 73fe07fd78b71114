"""Batches of samples, made in worker processes, in an order that stopping does not change."""

import dataclasses
import multiprocessing
import os
import re
import shutil
import signal
import threading
import weakref
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Several
from pathlib import Path

import cv2
import grain
import numpy as np
from absl import flags

from data_pipeline.allocation import keep_freed_memory
from data_pipeline.samples import SampleMaker
from data_pipeline.skips import SkipLedger

SHARED_MEMORY = Path("/dev/shm")  # where worker processes leave their batches on Linux
END_OF_TIME = 2**62  # samples; training runs until it is stopped
_EXIT_CODE = re.compile(r"terminated unexpectedly with exit code (-?\d+)")  # grain's words


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that one host makes: a run of its samples."""

    batch_size: int  # of all hosts together
    index: int
    count: int

    def __post_init__(self) -> None:
        """Raises: ValueError if the batch cannot be shared out so."""
        if self.batch_size < 1 or self.count < 1 or self.batch_size % self.count:
            raise ValueError(
                f"config.batch_size {self.batch_size} must be a multiple of the {self.count} hosts."
            )
        if not 0 <= self.index < self.count:
            raise ValueError(f"the shard's index must be in [0, {self.count}), got {self.index}.")

    @property
    def size(self) -> int:
        """Samples of a batch that this host makes."""
        return self.batch_size // self.count


@dataclasses.dataclass(frozen=True)
class _MakeSample(grain.transforms.Map):
    """Counts through this host's samples, batch after batch and epoch after epoch."""

    maker: SampleMaker
    share: Share
    steps_per_epoch: int

    def map(self, position: int) -> dict:
        step, place = divmod(int(position), self.share.size)
        epoch, step = divmod(step, self.steps_per_epoch)
        first = step * self.share.batch_size + self.share.index * self.share.size
        return self.maker.make(epoch, first + place)


def stack_samples(samples: Several[dict]) -> dict:
    """Samples -> a batch: arrays get a leading axis, `skips` are joined."""
    batch = {
        name: np.stack([sample[name] for sample in samples])
        for name in samples[0]
        if name not in ("skips", "source")
    }
    # A string's length is part of its type: the longest one of the batch decides.
    batch["source"] = np.array([sample["source"] for sample in samples])
    return batch | {"skips": [record for sample in samples for record in sample["skips"]]}


class WorkerError(ValueError):
    """A worker process ended before its time."""


class Batches(Iterator[dict]):
    """Iterates over this host's share of the batches; can be stopped and continued exactly.

    A batch is what SampleMaker.make returns, with a leading axis of this host's samples and without
    `skips`; `source` is an array of str, all else are numbers for the device. Close it, or use it
    in a `with` statement, to end its worker processes.
    """

    def __init__(
        self,
        maker: SampleMaker,
        *,
        samples_per_epoch: int,
        share: Share,
        num_workers: int,
        max_skip_share: float,
        num_epochs: int | None = None,
    ) -> None:
        """Args: num_epochs: after which the iterator ends; None: never.

        Raises: ValueError if an epoch is smaller than a batch.
        """
        self.steps_per_epoch = samples_per_epoch // share.batch_size
        if self.steps_per_epoch < 1:
            raise ValueError(
                f"an epoch of {samples_per_epoch} samples is less than one batch of "
                f"{share.batch_size}; see config.data.samples_per_epoch and val_samples."
            )
        self._num_steps = None if num_epochs is None else num_epochs * self.steps_per_epoch
        self._make_sample = _MakeSample(maker, share, self.steps_per_epoch)
        self._share, self._num_workers = share, num_workers
        self._ledger = SkipLedger(int(max_skip_share * self.steps_per_epoch * share.size))
        self._step = 0
        self._running: list[grain.DatasetIterator] = []  # one, once a batch was asked for
        # Workers must not outlive their use, also where a program ends without close().
        weakref.finalize(self, _end_all, self._running)

    def __next__(self) -> dict:
        if self._num_steps is not None and self._step >= self._num_steps:
            raise StopIteration
        if not self._running:
            self._running.append(iter(self._make_dataset()))
        try:
            batch = next(self._running[0])
            self._ledger.add(batch.pop("skips"))
        except BaseException as error:
            self.close()  # asked again, it makes the same batch again instead of ending quietly
            if code := _EXIT_CODE.search(str(error)):
                error = WorkerError(
                    f"a process that makes batches ended with status {code[1]}; -9 is mostly the "
                    "system's doing, for want of memory: then use fewer config.data.num_workers."
                )
            epoch, step = divmod(self._step, self.steps_per_epoch)
            error.add_note(f"in input batch {self._step}: batch {step} of epoch {epoch}, from 0")
            raise error
        self._step += 1
        if self._step % self.steps_per_epoch == 0:
            epoch = self._step // self.steps_per_epoch - 1
            self._ledger.end_epoch(epoch, self.steps_per_epoch * self._share.size)
        return batch

    @property
    def skip_counts(self) -> dict[str, int]:
        """Draws skipped on this host in the current epoch, per cause."""
        return dict(self._ledger.counts)

    def get_state(self) -> dict:
        """Where the iterator stands, for JSON. It fits any number of workers and of hosts."""
        return {"step": self._step, "skips": self.skip_counts}

    def set_state(self, state: Mapping) -> None:
        """Goes on after the batch that get_state was called after.

        Raises: ValueError for something that is not such a state.
        """
        step, skips = state.get("step"), state.get("skips")
        if not isinstance(step, int) or step < 0 or not isinstance(skips, Mapping):
            raise ValueError(
                f"the state of the input batches must have a step and skips, got {state!r}."
            )
        self.close()
        self._step = step
        self._ledger.restore(skips)

    def close(self) -> None:
        """Ends the worker processes. The next batch starts new ones."""
        _end_all(self._running)

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _make_dataset(self) -> grain.IterDataset:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain asks for its flags; a notebook has none
        size = self._share.size
        end = END_OF_TIME if self._num_steps is None else self._num_steps * size
        batches = (
            grain.MapDataset.range(self._step * size, end)
            .map(self._make_sample)
            .batch(size, drop_remainder=True, batch_fn=stack_samples)
            .to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        )
        if self._num_workers:
            check_shared_memory(self._make_sample.maker, size, self._num_workers)
        options = grain.MultiprocessingOptions(self._num_workers, per_worker_buffer_size=1)
        return batches.mp_prefetch(options, worker_init_fn=_start_worker)


def _end_all(running: list[grain.DatasetIterator]) -> None:
    while running:
        running.pop().close()


def check_shared_memory(maker: SampleMaker, batch_size: int, num_workers: int) -> None:
    """Refuses to start where the batches would not fit: the system then kills the workers.

    Raises: ValueError with what is needed and what is there.
    """
    crops = maker.template.size**2 + maker.num_search * maker.search.size**2
    needed = 3 * crops * batch_size * 2 * num_workers  # one batch waits, one is being written
    if not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed:
        raise ValueError(
            f"{num_workers} workers need {needed / 2**20:.1f} MiB of shared memory for their "
            f"batches; {SHARED_MEMORY} has {free / 2**20:.1f} MiB free. Give a container more "
            "(docker run --shm-size=8g), or use fewer config.data.num_workers."
        )


def _start_worker(worker_index: int, worker_count: int) -> None:
    """Makes this process one core's worth of work, and one that ends with the main process."""
    del worker_index, worker_count
    cv2.setNumThreads(1)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
