r"""Trains the rows of one of the paper's Tables 2 to 5 with several seeds, and makes the table.

python -m launch.ablation --table=2 --seeds=3 --config=configs/esat_vit_b384.py \
    --config.data.root=/data --workdir=runs/ablation

trains one run after the other with launch.train; the same command goes on where it was stopped, and
passes over what is finished. Any configuration and any keys but those in which the rows differ can
be given. --commands prints the commands of the runs that are left instead, for other computers.
--render trains nothing and makes the table from the work folders alone, whatever keys they were
trained with: it only asks for --table, --config and --workdir, and of a run for config.json and
validation.npz.

The table compares the IoU of the validation pairs with that of one row; table_N.md and table_N.json
are in the configuration's folder in --workdir. A row has numbers when all its seeds are finished. A
run that fails is named at the end, with its reason, and the others are trained all the same; the
exit status is 1 if a run is missing then.
"""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from configs.variants import TABLE_FILES
from esat_jax.atomic import complete_file
from esat_jax.bootstrap import DRAWS
from esat_jax.config_differences import config_differences
from launch import errors
from launch.ablation_runs import (
    FAILED,
    OUTPUT_NAME,
    REFERENCES,
    Run,
    State,
    as_trained,
    make_runs,
    read_state,
    table_rows,
    varied_keys,
)
from launch.ablation_table import as_json, make_rows, markdown

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_TABLE = flags.DEFINE_enum("table", None, list(REFERENCES), "Of the paper.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each row, from config.seed on.", lower_bound=1)
_ROWS = flags.DEFINE_list("rows", None, "Only these and the one they are compared with.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/ablation", "Folder of all runs and tables.")
_COMMANDS = flags.DEFINE_bool("commands", False, "Print what is left to do, and do nothing.")
_RENDER = flags.DEFINE_bool("render", False, "Make the table of what is there, train nothing.")
_DRAWS = flags.DEFINE_integer("draws", DRAWS, "Bootstrap samples.", lower_bound=100)
flags.mark_flag_as_required("table")


class Training:
    """Trains runs one after the other; SIGTERM and Ctrl-C let the present one save and end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._received: signal.Signals | None = None

    def train(self, run: Run) -> None:
        """Trains one run to its end. Its folder says how it went; a signal ends this program."""
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / OUTPUT_NAME).open("a") as output:
            output.write(f"started: {shlex.join(run.command)}\n")
            output.flush()
            before = {s: signal.signal(s, self._pass_on) for s in (signal.SIGTERM, signal.SIGINT)}
            try:
                self._process = subprocess.Popen(run.command, stdout=output, stderr=output)
                if self._received is not None:  # before there was a process to pass it on to
                    self._process.terminate()
                status = self._process.wait()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        if self._received is not None:
            print(f"stopped by {self._received.name}; the same command goes on.", file=sys.stderr)
            sys.exit(128 + self._received)
        if status:
            with (run.folder / OUTPUT_NAME).open("a") as output:
                output.write(f"{FAILED}{_reason(run, status)}\n")

    def _pass_on(self, number: int, frame: object) -> None:
        del frame
        self._received = signal.Signals(number)
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)  # a second SIGINT would end it at once


def _reason(run: Run, status: int) -> str:
    """Why a run ended so: the last line that it wrote."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = (run.folder / OUTPUT_NAME).read_text(errors="replace").splitlines()
    last = next(line.strip() for line in reversed(lines) if line.strip())
    return f"{last.removeprefix('error: ').rstrip('.')} (status {status})"


def train_all(runs: list[Run]) -> None:
    """Trains the runs that are not finished; those whose folder is unusable stay as they are."""
    training = Training()
    for number, run in enumerate(runs, 1):
        state = read_state(run)
        if state.kind in ("unfinished", "failed"):
            print(f"{number}/{len(runs)} {run.name}: training ({state.text}) in {run.folder}")
            start = time.monotonic()
            training.train(run)
            state, minutes = read_state(run), (time.monotonic() - start) / 60
            print(f"{number}/{len(runs)} {run.name}: {_in_words(state)} after {minutes:.1f} min")
        else:
            print(f"{number}/{len(runs)} {run.name}: {_in_words(state)}")


def _in_words(state: State) -> str:
    if state.scores is None:
        return f"{state.kind}; {state.text}"
    return f"{state.kind}, IoU {100 * state.scores.iou.mean():.2f} %"


def render(runs: Mapping[str, list[Run]], folder: Path) -> bool:
    """Prints and writes the table; whether all of its runs are finished."""
    table = _TABLE.value
    runs = as_trained(table, runs)
    weights = not _RENDER.value
    states = {row: [read_state(run, weights=weights) for run in each] for row, each in runs.items()}
    keys = {row: {key: table_rows(table)[row][key] for key in varied_keys(table)} for row in runs}
    reference, draws = REFERENCES[table], _DRAWS.value
    rows = make_rows(runs, states, keys, reference, draws)
    title = f"Table {table}, {config_flags.get_config_filename(flags.FLAGS['config'])}"
    text = markdown(title, _settings(runs), rows, reference, draws)
    print(text, end="")
    contents = {
        f"table_{table}.md": text,
        f"table_{table}.json": json.dumps(as_json(rows, reference, draws), indent=1) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with complete_file(folder / name) as part:
            part.write_text(content)
    return all(row.kind == "finished" for row in rows)


def _settings(runs: Mapping[str, list[Run]]) -> list[str]:
    """How the runs were trained, where that is not what the configuration file says."""
    row, (run, *_) = next(iter(runs.items()))
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    own = make_runs(_TABLE.value, file, {"seed": run.seed}, 1, Path())[row][0]
    lines = config_differences(own.config, run.config)
    return [f"Unlike the file: {'; '.join(lines)}."] if lines else []


def chosen_runs() -> dict[str, list[Run]]:
    """{row: runs} of the rows that the flags name. Raises: ValueError for wrong flags."""
    table = _TABLE.value
    if _CONFIG.value is None:
        files = " or ".join(f"--config=configs/{name}.py" for name in TABLE_FILES[f"t{table}"])
        raise ValueError(f"which configuration? Table {table} of the paper is {files}.")
    flag = flags.FLAGS["config"]
    runs = make_runs(
        table,
        config_flags.get_config_filename(flag),
        config_flags.get_override_values(flag),
        _SEEDS.value,
        Path(_WORKDIR.value).expanduser(),
    )
    if _ROWS.value is None:
        return runs
    if unknown := sorted(set(_ROWS.value) - set(runs)):
        raise ValueError(f"table {table} has no row {unknown[0]!r}; its rows: {', '.join(runs)}.")
    wanted = {REFERENCES[table], *_ROWS.value}
    return {row: each for row, each in runs.items() if row in wanted}


def main(argv: list[str]) -> int:
    """Trains, prints or renders, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    runs = chosen_runs()
    in_turn = [run for seed in zip(*runs.values(), strict=True) for run in seed]
    if _COMMANDS.value:
        for run in in_turn:
            if read_state(run).kind in ("unfinished", "failed"):
                print(shlex.join(["python", *run.command[1:]]))
        return 0
    if not _RENDER.value:
        train_all(in_turn)
    return 0 if render(runs, in_turn[0].group) else 1


if __name__ == "__main__":
    errors.run(main)
