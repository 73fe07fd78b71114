"""A training step that went wrong, written down so that it can be done again."""

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from esat_jax.atomic import complete_file
from esat_jax.checkpoints import State, restore_state, save_state


class NonFiniteError(ValueError):
    """Training met a number that is not finite, and stopped."""


def save_failed_step(
    folder: str | Path,
    state: State,
    batch: Mapping[str, np.ndarray],
    report: Mapping,
) -> None:
    """Writes the state before the step, this host's batch, and the report, which comes last.

    Args: report: for JSON; the configuration, the step and its numbers.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        complete_file(folder / f"batch_{jax.process_index()}.npz") as part,
        part.open("wb") as file,
    ):
        np.savez(file, **batch)
    save_state(folder / "state", state)
    if jax.process_index() == 0:
        with complete_file(folder / "report.json") as part:
            part.write_text(json.dumps(dict(report), indent=1) + "\n")


def load_report(folder: str | Path) -> dict:
    """The report. Raises: ValueError if the folder is not one that save_failed_step completed."""
    try:
        return json.loads((Path(folder) / "report.json").read_text())
    except (OSError, ValueError):
        raise ValueError(
            f"{folder}: not the folder of a failed step; training names it when it stops."
        ) from None


def load_batch(folder: str | Path) -> dict[str, np.ndarray]:
    """The batch of all hosts together."""
    parts = []
    for path in sorted(Path(folder).glob("batch_*.npz"), key=lambda p: int(p.stem.split("_")[1])):
        with np.load(path) as file:
            parts.append({name: file[name] for name in file.files})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load_state(folder: str | Path, like: State) -> State:
    """The state before the step; `like` as in Checkpoints.restore."""
    return restore_state(Path(folder) / "state", like)


def not_finite(numbers: Mapping[str, float]) -> list[str]:
    """Names of the numbers that are not finite."""
    return [name for name, value in numbers.items() if not np.isfinite(value)]


def faulty_samples(batch: Mapping[str, np.ndarray]) -> list[str]:
    """Samples of the batch with a number that is not finite, and the array it is in."""
    found = []
    for name, array in batch.items():
        if np.issubdtype(array.dtype, np.floating):
            bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
            found += [f"{batch['source'][i]} ({name})" for i in np.flatnonzero(bad)]
    return found
