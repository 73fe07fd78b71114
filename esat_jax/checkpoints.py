"""Checkpoints of a training run: everything that it needs to go on as if it had not stopped.

Orbax writes them in the background under a temporary name, so that what has a number for a name is
whole, unless its files were damaged later; then the one before serves.
"""

import gc
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

# Keys that may differ from those a checkpoint was written with: they do not change what is learnt
# (accumulation: but for the statistics of BatchNorm, which are those of a part of the batch).
FREE_KEYS = ("data.root", "data.num_workers", "optim.accumulate", "optim.remat")
FREE_SECTIONS = ("checkpoint.", "log.", "tracker.")
SHOWN_KEYS = 5
NOT_VALIDATED = -1.0  # the IoU of checkpoints without validation: less than any

State = TypeVar("State")  # a tree of jax.Arrays
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The numbered checkpoints of one run, in a folder of their own; one per number of steps."""

    def __init__(
        self, folder: str | Path, config: Mapping, *, keep_last: int, keep_best: int
    ) -> None:
        """Args: config: the whole configuration, a plain nested dict.

        Raises: ValueError if not even the newest is to be kept.
        """
        if keep_last < 1 or keep_best < 0:
            raise ValueError(
                "config.checkpoint.keep_last must be 1 or more and keep_best 0 or more, got "
                f"{keep_last} and {keep_best}."
            )
        self._folder = Path(folder).absolute()
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
        Raises: ValueError or OSError if this one or the one before could not be written.
        """
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_without_keys(state)),
                data=ocp.args.JsonSave(dict(data_state)),
                config=ocp.args.JsonSave(self._config),
            ),
            metrics={"iou": NOT_VALIDATED if val_iou is None else val_iou},
        )

    def restore(self, like: State) -> tuple[int, State, dict] | None:
        """The newest checkpoint that can be read; damaged ones are named and moved aside.

        Args: like: a state of the same arrays, placed on the devices as the result shall be.
        Returns: (step, state, data state), or None if there are no checkpoints.
        Raises: ValueError if they are of another configuration, or if all are damaged.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps):
            try:
                with _quiet_readers():
                    parts = self._read(step, like)
            except Exception as error:  # noqa: BLE001 - Orbax raises bare Exception for cut files
                damaged[step] = " ".join(str(error).split())[:200]
                continue
            _check_config(parts["config"], self._config, self._folder / str(step))
            for number, reason in damaged.items():
                aside = self._set_aside(number)
                _LOG.warning(
                    "checkpoint %d is damaged (%s); going on from the one before it, %d. The "
                    "damaged one was moved to %s.",
                    *(number, reason, step, aside),
                )
            return step, _with_keys(parts["state"], like), parts["data"]
        if damaged:
            raise ValueError(
                f"{self._folder}: none of the checkpoints {sorted(damaged)} can be read "
                f"({damaged[max(damaged)]}). Remove the folder to begin anew."
            )
        return None

    def wait(self) -> None:
        """Returns when all that was saved is on the disk. Raises: as save."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def close(self) -> None:
        """Waits, and ends the background threads."""
        self._manager.close()

    def _read(self, step: int, like: State) -> Mapping:
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            _without_keys(like),
        )
        return self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract),
                data=ocp.args.JsonRestore(),
                config=ocp.args.JsonRestore(),
            ),
        )

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
        checkpointer.save(Path(path).absolute(), _without_keys(state), force=True)


def restore_state(path: str | Path, like: State) -> State:
    """Reads what save_state wrote; `like` as in Checkpoints.restore."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(Path(path).absolute(), _without_keys(like))
    return _with_keys(state, like)


def config_differences(stored: Mapping, current: Mapping) -> list[str]:
    """Keys that differ between two configurations and matter to what is learnt, with both values.

    Each is a plain nested dict; tuples and lists count as equal.
    """
    stored, current = (dict(_flat(json.loads(json.dumps(c)))) for c in (stored, current))
    absent = object()
    lines = []
    for key in sorted(stored.keys() | current.keys()):
        old, new = stored.get(key, absent), current.get(key, absent)
        if old != new and key not in FREE_KEYS and not key.startswith(FREE_SECTIONS):
            words = ["not there" if value is absent else repr(value) for value in (old, new)]
            lines.append(f"{key} was {words[0]} and is {words[1]}")
    return lines


def _check_config(stored: Mapping, current: Mapping, path: Path) -> None:
    if lines := config_differences(stored, current):
        more = f" and {len(lines) - SHOWN_KEYS} more keys" * (len(lines) > SHOWN_KEYS)
        raise ValueError(
            f"{path}: this checkpoint is of another configuration: "
            f"{'; '.join(lines[:SHOWN_KEYS])}{more}. Use another --workdir, or that configuration."
        )


def _flat(config: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _iou(metrics: Mapping) -> float:
    return metrics["iou"]


def _is_key(leaf: object) -> bool:
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", np.float32), jax.dtypes.prng_key)


def _without_keys(state: State) -> State:
    """Random keys as the numbers they are made of."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _with_keys(state: State, like: State) -> State:
    def restored(leaf: jax.Array, other: jax.Array) -> jax.Array:
        if not _is_key(other):
            return leaf
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(other))

    return jax.tree.map(restored, state, like)


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
