"""The training loop: steps, validation, checkpoints, log, and an orderly end."""

import collections
import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import jax
import numpy as np

from esat_jax import failed_step
from esat_jax.checkpoints import Checkpoints
from esat_jax.keep_ratio import keep_ratios, quantised_keep_ratio
from esat_jax.metric_log import MetricLog
from esat_jax.pace import Pace
from esat_jax.predictions import make_predict_step
from esat_jax.sharding import make_mesh, put_batch, replicated
from esat_jax.step_programs import StepPrograms, guarded
from esat_jax.train_state import TrainState, create_state, state_shapes
from esat_jax.train_step import make_eval_step, make_train_step
from esat_jax.validation_scores import save_validation

_LOG = logging.getLogger(__name__)


class Batches(Protocol):
    """What the loop asks of its input; see data_pipeline.batches."""

    steps_per_epoch: int

    def __next__(self) -> dict[str, np.ndarray]: ...
    def get_state(self) -> dict: ...
    def set_state(self, state: Mapping) -> None: ...


@dataclasses.dataclass
class _Taken:
    """A step that was started and whose numbers were not read yet."""

    step: int  # counted from 1: the steps done after it
    batch: dict[str, np.ndarray]
    numbers: dict[str, jax.Array]


class Trainer:
    """Trains one configuration in one work folder, from its newest checkpoint if there is one."""

    def __init__(
        self,
        config: Mapping,
        workdir: str | Path,
        train_batches: Batches,
        val_batches: Batches,
        *,
        initial_variables: Callable[[], Mapping | None] = lambda: None,
        stop_asked: Callable[[int], bool] = lambda step: False,
    ) -> None:
        """Makes or restores the state.

        Args:
          config: the whole configuration, a plain nested dict.
          initial_variables: called for a run that begins; None: random values from config.seed.
          stop_asked: after each step, whether to save and end; the same answer on all hosts.
        Raises: ValueError for checkpoints that are damaged or of another configuration.
        """
        self.config, self.workdir = config, Path(workdir)
        self._train_batches, self._val_batches = train_batches, val_batches
        self._stop_asked = stop_asked
        self.steps_per_epoch = train_batches.steps_per_epoch
        self.num_steps = config["optim"]["epochs"] * self.steps_per_epoch
        self.mesh = make_mesh()
        self._checkpoints = Checkpoints(
            self.workdir / "checkpoints",
            config,
            keep_last=config["checkpoint"]["keep_last"],
            keep_best=config["checkpoint"]["keep_best"],
        )
        self.state: TrainState
        self.step = 0  # optimiser steps done
        if restored := self._checkpoints.restore(state_shapes(config, self.mesh)):
            self.step, self.state, data_state = restored
            train_batches.set_state(data_state)
            _LOG.warning("going on from the checkpoint of step %d.", self.step)
        else:
            self.state = create_state(config, initial_variables(), mesh=self.mesh)
        train_step = make_train_step(config, self.mesh, self.steps_per_epoch)
        self._train_step = guarded(train_step, self.state)
        self._eval_step = make_eval_step(config, self.mesh)
        self._predict_step = make_predict_step(config, self.mesh)
        self._healthy = jax.device_put(np.array(True), replicated(self.mesh))
        self._waiting: collections.deque[_Taken] = collections.deque()
        self._programs: StepPrograms | None = None  # made when the first batch's types are known
        active = jax.process_index() == 0
        self._log = MetricLog(self.workdir, config, self.step, active=active)
        self._pace = Pace(config["batch_size"], self.step, self.num_steps, active)

    def run(self) -> bool:
        """Trains to the end, or until a stop is asked for; then False.

        Raises: NonFiniteError; OSError or ValueError of the input and of the disk.
        """
        try:
            while self.step < self.num_steps:
                if not self._take_step():
                    self._save()
                    self._checkpoints.wait()
                    return False
                at_end = self.step % self.steps_per_epoch == 0
                if at_end and self._validates(self.step // self.steps_per_epoch):
                    self._save(self._validate())
                elif self.step % self.config["checkpoint"]["every_steps"] == 0:
                    self._save()
            self._checkpoints.wait()
            return True
        finally:
            self._close()

    def final_variables(self) -> dict:
        """Parameters (averaged ones, where there are any) and statistics, numpy, on every host."""
        variables = {"params": self.state.eval_params, "batch_stats": self.state.batch_stats}
        whole = jax.jit(lambda tree: tree, out_shardings=replicated(self.mesh))(variables)
        return jax.tree.map(np.asarray, whole)

    def _validates(self, epoch: int) -> bool:
        every = self.config["data"]["val_every_epochs"]
        return epoch == self.config["optim"]["epochs"] or bool(every and epoch % every == 0)

    def _take_step(self) -> bool:
        """Starts one step, and looks at the one before; false if the run shall end instead."""
        if self._stop_asked(self.step):
            return False
        start = time.perf_counter()
        try:
            batch = next(self._train_batches)
        except Exception:
            if self._stop_asked(self.step):  # the signal ended the worker processes too
                return False
            raise
        self._pace.waited(time.perf_counter() - start)
        placed = put_batch(batch, self.mesh)
        self.state, self._healthy, numbers = self._program(placed)(
            self.state, self._healthy, placed
        )
        self.step += 1
        self._waiting.append(_Taken(self.step, batch, numbers))
        # The device works on this step while the host reads the numbers of the one before.
        self._read_numbers(leave=1)
        return True

    def _program(self, placed: Mapping[str, jax.Array]) -> Callable:
        """The program of this epoch; the next one that differs is compiled meanwhile."""
        ce, epochs = self.config["ce"], self.config["optim"]["epochs"]
        ratio = quantised_keep_ratio(ce, self.step // self.steps_per_epoch + 1)
        if self._programs is None:
            self._programs = StepPrograms(self._train_step, self.state, self._healthy, placed)
        elif not self._programs.ready(ratio):
            _LOG.warning("step %d waits for the program of keep ratio %.3f.", self.step + 1, ratio)
        program = self._programs.get(ratio)
        ratios = keep_ratios(ce, epochs)
        for later in ratios[ratios.index(ratio) + 1 :][:1]:
            self._programs.prepare(later)
        return program

    def _read_numbers(self, leave: int) -> None:
        """Reads the numbers of the steps that were started, but for the last `leave`.

        Raises: NonFiniteError, after writing down the step.
        """
        while len(self._waiting) > leave:
            taken = self._waiting.popleft()
            numbers = {k: float(v) for k, v in jax.device_get(taken.numbers).items()}
            if failed_step.not_finite(numbers):
                self._stop_at(taken, numbers)
            self._pace.stepped(taken.step, numbers)
            every = self.config["log"]["every_steps"]
            if taken.step % every == 0 or taken.step == self.num_steps:
                self._log.write(taken.step, numbers | self._pace.read())

    def _stop_at(self, taken: _Taken, numbers: Mapping[str, float]) -> None:
        folder = self.workdir / f"failed_step_{taken.step}"
        epoch = (taken.step - 1) // self.steps_per_epoch + 1
        bad = failed_step.not_finite(numbers)
        report = {
            "step": taken.step,
            "keep_ratio": quantised_keep_ratio(self.config["ce"], epoch),
            "steps_per_epoch": self.steps_per_epoch,
            "numbers": {name: repr(value) for name, value in numbers.items()},
            "faulty_samples": failed_step.faulty_samples(taken.batch),
            "config": self.config,
        }
        # The state is still that before the bad step: `guarded` changed nothing since.
        failed_step.save_failed_step(folder, self.state, taken.batch, report)
        raise failed_step.NonFiniteError(
            f"step {taken.step} (epoch {epoch}): not finite: {', '.join(bad)}. Its batch and state "
            f"are in {folder}; to see it again: python -m launch.train --replay={folder}"
        )

    def _validate(self) -> float:
        """Mean IoU of the validation set; logs it with the losses and some pictures.

        The IoU of every pair replaces that of the validation before.
        """
        self._read_numbers(leave=0)
        with self._pace.paused():
            ratio = quantised_keep_ratio(self.config["ce"], self.step // self.steps_per_epoch)
            totals: collections.Counter[str] = collections.Counter()
            pairs = []
            for number, batch in enumerate(self._all_val_batches()):
                placed = put_batch(batch, self.mesh)
                numbers = dict(self._eval_step(self.state, placed, ratio))
                pairs.append((batch["source"], numbers.pop("pair_iou")))
                totals.update({name: float(value) for name, value in numbers.items()})
                if number == 0:
                    self._draw(batch, placed, ratio)
            means = {f"val/{name}": total / (number + 1) for name, total in totals.items()}
            self._log.write(self.step, means)
            save_validation(self.workdir, self.step, pairs)
        return means["val/iou"]

    def _all_val_batches(self) -> Iterator[dict[str, np.ndarray]]:
        self._val_batches.set_state({"step": 0, "skips": {}})
        for _ in range(self._val_batches.steps_per_epoch):
            yield next(self._val_batches)

    def _draw(
        self, batch: Mapping[str, np.ndarray], placed: Mapping[str, jax.Array], ratio: float
    ) -> None:
        boxes_cxcywh = np.asarray(self._predict_step(self.state, placed, ratio))
        number = min(self.config["log"]["images"], len(batch["search"]))
        first = slice(0, number)
        self._log.write_predictions(
            self.step,
            batch["search"][first, 0],
            boxes_cxcywh[first],
            batch["box_cxcywh"][first, 0],
        )

    def _save(self, val_iou: float | None = None) -> None:
        self._read_numbers(leave=0)  # no checkpoint of a state that was not looked at
        self._checkpoints.save(self.step, self.state, self._train_batches.get_state(), val_iou)

    def _close(self) -> None:
        parts = [self._log, self._pace]
        if self._programs is not None:
            parts.append(self._programs)
        # On several hosts, one that fails cannot wait for the others' part of a checkpoint.
        if sys.exception() is None or jax.process_count() == 1:
            parts.append(self._checkpoints)
        with contextlib.ExitStack() as stack:  # all of them, also where one raises
            for part in parts:
                stack.callback(part.close)
