"""The runs behind a table of the paper: their configurations, work folders and states."""

import copy
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open

from configs.variants import TABLE_FILES, VARIANTS
from esat_jax.config_differences import config_differences
from esat_jax.metric_log import read_rows
from esat_jax.validation_scores import ValidationScores, load_validation

# table -> the row that the others are compared with: the tracker without the paper's parts or,
# where all rows have them, the values that the paper takes.
REFERENCES = {"2": "t2_baseline", "3": "t3_abs0.01_pn0.1", "4": "t4_a0.1_b0.1", "5": "t5_baseline"}
OUTPUT_NAME = "output.txt"
FAILED = "failed: "  # begins the last line of the output of a run that failed


@dataclasses.dataclass(frozen=True)
class Run:
    """One row with one seed: `folder` is its work folder, `config` all it is trained with."""

    row: str
    seed: int
    folder: Path
    config: dict
    config_flags: tuple[str, ...]  # of launch.train

    @property
    def name(self) -> str:
        return f"{self.row}, seed {self.seed}"

    @property
    def group(self) -> Path:
        """The folder of all runs of one configuration file and its variants."""
        return self.folder.parent.parent

    @property
    def num_steps(self) -> int:
        """Optimiser steps from begin to end."""
        steps = self.config["data"]["samples_per_epoch"] // self.config["batch_size"]
        return steps * self.config["optim"]["epochs"]

    @property
    def command(self) -> list[str]:
        """Trains it, or goes on with it, from the repository's root."""
        program = [sys.executable, "-m", "launch.train"]
        return [*program, *self.config_flags, f"--workdir={self.folder}"]


@dataclasses.dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
      kind: "finished", "unfinished", "failed", or "unusable": its folder must go first.
      text: about what is not finished.
      scores: of a finished one.
      starts: what starts.jsonl says of each start.
    """

    kind: str
    text: str = ""
    scores: ValidationScores | None = None
    starts: tuple[Mapping, ...] = ()


def table_rows(table: str) -> dict[str, dict]:
    """The rows of a table in the paper's order: {variant: the keys it sets}."""
    return {name: keys for name, keys in VARIANTS.items() if name.startswith(f"t{table}_")}


def varied_keys(table: str) -> list[str]:
    """The keys in which the rows of a table differ."""
    rows = list(table_rows(table).values())
    return [key for key in rows[0] if len({row[key] for row in rows}) > 1]


def make_runs(
    table: str, config_file: str, overrides: Mapping, seeds: int, workdir: Path
) -> dict[str, list[Run]]:
    """{row: its runs, one per seed}.

    Args:
      config_file: "configs/NAME.py" or "configs/NAME.py:variant,variant"; a row's keys follow.
      overrides: {dotted key: value}, the last word.
      seeds: how many, from config.seed on.
      workdir: of all tables. A run's folder in it is NAME/ROW/seed_N, or NAME+VARIANT/...; rows of
        two tables that train the same thing are one run.
    Raises: ValueError for overrides of what the rows differ in.
    """
    if fixed := sorted(set(varied_keys(table)) & set(overrides)):
        raise ValueError(
            f"--config.{fixed[0]} cannot be given: it is what the rows of table {table} differ in."
        )
    path, _, variants = config_file.partition(":")
    stem, get_config = Path(path).stem, _load_get_config(path)
    before = [part.strip() for part in variants.split(",") if part.strip()]
    configs: dict[str, ConfigDict] = {}
    for row in [*_rows_of_file(stem), *table_rows(table)]:
        configs[row] = get_config(",".join([*before, row]))
        configs[row].update_from_flattened_dict(dict(overrides))
    others = [f"--config.{key}={value}" for key, value in overrides.items() if key != "seed"]
    runs = {}
    for row in table_rows(table):
        first = next(name for name, config in configs.items() if config == configs[row])
        folder = workdir / "+".join([stem, *before]) / first
        file_flag = f"--config={path}:{','.join([*before, row])}"
        runs[row] = [
            Run(
                row,
                seed,
                folder / f"seed_{seed}",
                configs[row].to_dict() | {"seed": seed},
                (file_flag, *others, f"--config.seed={seed}"),
            )
            for seed in range(configs[row].seed, configs[row].seed + seeds)
        ]
    return runs


def as_trained(table: str, runs: Mapping[str, list[Run]]) -> dict[str, list[Run]]:
    """The runs with the configuration that the first of their folders has, whatever it is now.

    So a table is what its folders say, also where keys were given to the training, or were added to
    the configuration since. Runs that differ in more than their rows and seeds show up as unusable.
    """
    stored = next(filter(None, (_stored_config(run) for each in runs.values() for run in each)), {})

    def with_stored(run: Run) -> Run:
        config = copy.deepcopy(stored)
        for key in varied_keys(table):
            *path, last = key.split(".")
            section = config
            for part in path:
                section = section[part]
            section[last] = table_rows(table)[run.row][key]
        return dataclasses.replace(run, config=config | {"seed": run.seed})

    return {row: [with_stored(r) for r in each] if stored else each for row, each in runs.items()}


def read_state(run: Run, *, weights: bool = True) -> State:
    """The state of a run, from its folder alone.

    It is finished if the weights, the validation after the last step and the configuration are
    there, whole, and this run's; without `weights`, if the other two are, as where only the results
    of a run were kept.
    """
    folder = run.folder
    try:
        _check_config(json.loads((folder / "config.json").read_text()), run)
        scores = load_validation(folder)
        if weights:
            with safe_open(folder / "weights.safetensors", framework="np") as file:
                _check_config(json.loads((file.metadata() or {}).get("config", "{}")), run)
    except FileNotFoundError:
        return _not_finished(run)
    except (ValueError, SafetensorError) as error:
        text = f"{error}".rstrip(".")
        return State("unusable", f"{folder} has to be removed, or another --workdir taken: {text}")
    if scores.step != run.num_steps:
        return _not_finished(run)
    return State("finished", scores=scores, starts=_read_starts(folder))


def _stored_config(run: Run) -> dict | None:
    try:
        return json.loads((run.folder / "config.json").read_text())
    except (FileNotFoundError, ValueError):
        return None  # read_state says which


def _rows_of_file(stem: str) -> list[str]:
    """Rows of the tables that are trained with this configuration file; of all, if none is."""
    tables = [name for name, files in TABLE_FILES.items() if stem in files] or TABLE_FILES
    return [row for name in tables for row in table_rows(name[1:])]


def _check_config(stored: Mapping, run: Run) -> None:
    if lines := config_differences(stored, run.config):
        raise ValueError(f"it is of another configuration: {'; '.join(lines[:3])}")


def _not_finished(run: Run) -> State:
    """Of a run that stopped before its end; its output says whether that was a failure."""
    path = run.folder / OUTPUT_NAME
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    if lines and lines[-1].startswith(FAILED):
        return State("failed", lines[-1].removeprefix(FAILED))
    try:
        rows = read_rows(run.folder)
    except FileNotFoundError:
        return State("unfinished", "not begun")
    return State("unfinished", f"step {rows[-1]['step'] if rows else 0} of {run.num_steps}")


def _read_starts(folder: Path) -> tuple[Mapping, ...]:
    try:
        lines = (folder / "starts.jsonl").read_text().splitlines()
        return tuple(json.loads(line) for line in lines)
    except (FileNotFoundError, ValueError):
        return ()  # they say where it ran, and nothing of the result


def _load_get_config(path: str) -> Callable[[str], ConfigDict]:
    spec = importlib.util.spec_from_file_location(f"ablation_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config
