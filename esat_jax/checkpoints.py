"""Checkpoints of a training run: everything that it needs to go on as if it had not stopped.

Orbax writes them in the background under a temporary name, so that what has a number for a name is
whole, unless its files were damaged later; then the one before serves.
"""

import gc
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from esat_jax.atomic import check_writable
from esat_jax.config_differences import OtherConfigError, check_same_config
from esat_jax.sharding import abstract

NOT_VALIDATED = -1.0  # the IoU of checkpoints without validation: less than any

State = TypeVar("State")  # a tree of jax.Arrays
_LOG = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint could not be written."""


class Checkpoints:
    """The numbered checkpoints of one run, in a folder of their own; one per number of steps."""

    def __init__(
        self, folder: str | Path, config: Mapping, *, keep_last: int, keep_best: int
    ) -> None:
        """Args: config: the whole configuration, a plain nested dict.

        Raises: ValueError if not even the newest is to be kept; OSError if the folder cannot be
          written to.
        """
        if keep_last < 1 or keep_best < 0:
            raise ValueError(
                "config.checkpoint.keep_last must be 1 or more and keep_best 0 or more, got "
                f"{keep_last} and {keep_best}."
            )
        self._folder = Path(folder).absolute()
        check_writable(self._folder)
        _forget_unreadable_ious(self._folder)
        self._config = json.loads(json.dumps(dict(config)))
        best = managers.BestN(
            get_metric_fn=_iou, n=keep_best, keep_checkpoints_without_metrics=False
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(
                [managers.LatestN(n=keep_last), best]
            ),
            best_fn=_iou,
            cleanup_tmp_directories=True,
            # In the background, a folder that cannot be made shows after a wait of minutes.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def steps(self) -> list[int]:
        """Numbers of the checkpoints that are there, ascending."""
        return sorted(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The number of the one with the highest validation IoU; None if none was validated."""
        best = self._manager.best_step()
        validated = best is not None and _iou(self._manager.metrics(best)) > NOT_VALIDATED
        return best if validated else None

    def save(
        self, step: int, state: State, data_state: Mapping, val_iou: float | None = None
    ) -> None:
        """Begins to write one; the arrays are copied when this returns, and may be donated.

        Args: step: optimiser steps done; data_state: of the input, for JSON. A step that is there
          already is left as it is.
        Raises: CheckpointError if this one or the one before could not be written.
        """
        if step in self._manager.all_steps():
            return
        with self._failure_in_words():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=ocp.args.JsonSave(dict(data_state)),
                    config=ocp.args.JsonSave(self._config),
                ),
                metrics={"iou": NOT_VALIDATED if val_iou is None else val_iou},
            )

    def restore(self, like: State) -> tuple[int, State, dict] | None:
        """The newest checkpoint that can be read; damaged ones are named and moved aside.

        Args: like: the state's arrays or their shapes, with the sharding that each shall have.
        Returns: (step, state, data state), or None if there are no checkpoints.
        Raises: OtherConfigError if they are of another one; ValueError if all are damaged.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps):
            try:
                state, data_state = self._read(step, like)
            except (OtherConfigError, jax.errors.JaxRuntimeError):
                raise  # the latter is of the device, such as too little memory
            except Exception as error:  # noqa: BLE001 - Orbax raises bare Exception for cut files
                damaged[step] = " ".join(str(error).split())[:200]
                continue
            for number, reason in damaged.items():
                aside = self._set_aside(number)
                _LOG.warning(
                    "checkpoint %d is damaged (%s); going on from the one before it, %d. The "
                    "damaged one was moved to %s.",
                    *(number, reason, step, aside),
                )
            return step, state, data_state
        if damaged:
            raise ValueError(
                f"{self._folder}: none of the checkpoints {sorted(damaged)} can be read "
                f"({damaged[max(damaged)]}). Remove the folder to begin anew."
            )
        return None

    def wait(self) -> None:
        """Returns when all that was saved is on the disk. Raises: as save."""
        with self._failure_in_words():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits, and ends the background threads. Raises: as save."""
        with self._failure_in_words():
            self._manager.close()

    @contextmanager
    def _failure_in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            steps = self.steps
            left = (
                f"the same command goes on from the one of step {steps[-1]}"
                if steps
                else "there is no other one"
            )
            raise CheckpointError(
                f"{self._folder}: a checkpoint could not be written ({_reason(error)}); {left}."
            ) from error

    def _read(self, step: int, like: State) -> tuple[State, dict]:
        """The state and the data state. The config comes first: another one has other arrays."""
        config = ocp.args.Composite(config=ocp.args.JsonRestore())
        parts = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract(like)), data=ocp.args.JsonRestore()
        )
        with _quiet_readers():
            found = self._manager.restore(step, args=config)["config"]
            check_same_config(
                found, self._config, f"{self._folder / str(step)}: this checkpoint is"
            )
            restored = self._manager.restore(step, args=parts)
        return restored["state"], restored["data"]

    def _set_aside(self, step: int) -> Path:
        """Makes room for a new checkpoint of this number."""
        aside = self._folder.with_name(f"damaged_{self._folder.name}")
        target = aside / str(step)
        if jax.process_index() == 0:
            aside.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(f"{target.name}_again")
            (self._folder / str(step)).rename(target)
        self._manager.reload()
        return target


def save_state(path: str | Path, state: State) -> None:
    """Writes one state, outside any numbering; returns when it is on the disk."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(path).absolute(), state, force=True)


def restore_state(path: str | Path, like: State) -> State:
    """Reads what save_state wrote; `like` as in Checkpoints.restore."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(Path(path).absolute(), abstract(like))


def _forget_unreadable_ious(folder: Path) -> None:
    """What is left of a cut file would end the reading of all checkpoints."""
    for path in folder.glob("*/metrics/metrics"):
        try:
            float(json.loads(path.read_text())["iou"])
        except (ValueError, TypeError, KeyError):
            _LOG.warning("%s is damaged: this checkpoint counts as not validated.", path)
            if jax.process_index() == 0:
                path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """The system's words, which Orbax hides in long ones."""
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return os.strerror(int(code[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]


def _iou(metrics: Mapping) -> float:
    return metrics["iou"]


@contextmanager
def _quiet_readers() -> Iterator[None]:
    """Keeps one page per array off the screen: readers that a damaged file leaves unfinished."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
