r"""Draws the training curves of one or several runs into one picture.

python -m launch.plot_training --run=runs/a --run=runs/b --output=curves.svg

--run is a work folder of launch.train, while it trains or later; of its files only metrics.jsonl
and, for the places where the run was stopped and went on, starts.jsonl are read. The picture needs
nothing else and opens in any browser.
"""

import json
from pathlib import Path

from absl import app, flags

from esat_jax.atomic import complete_file
from esat_jax.metric_log import LINES_NAME, STARTS_NAME
from esat_jax.report.training_curves import RunLog, training_curves
from launch import errors

_RUNS = flags.DEFINE_multi_string("run", None, "Work folder; can be given several times.")
_OUTPUT = flags.DEFINE_string("output", None, "The picture, a file.svg.")
flags.mark_flags_as_required(["run", "output"])


def main(argv: list[str]) -> None:
    """Writes the picture and says how large it is."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    output = Path(_OUTPUT.value)
    if output.suffix != ".svg":
        raise ValueError(f"--output={output}: expected a name that ends in .svg.")
    folders = [Path(folder) for folder in _RUNS.value]
    runs = [read_run(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)]
    content = f"{training_curves(runs)}\n".encode()
    with complete_file(output) as part:
        part.write_bytes(content)
    steps = ", ".join(f"{run.name} to step {run.rows[-1]['step']}" for run in runs)
    print(f"{output}: {steps}; {len(content) / 1000:.0f} kB")


def names_of(folders: list[Path]) -> list[str]:
    """The folders' own names, or as they were given where two have the same one.

    Raises: ValueError if a folder is given twice.
    """
    found = [folder.resolve() for folder in folders]
    for folder in folders:
        if found.count(folder.resolve()) > 1:
            raise ValueError(f"--run={folder} is given twice.")
    names = [folder.name for folder in found]
    return [
        name if names.count(name) == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    ]


def read_run(folder: Path, name: str) -> RunLog:
    """What a run has logged in its work folder.

    Raises: ValueError if it is none, has no row yet, or has a line that is damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"--run={folder}: there is no such folder.")
    path, starts = folder / LINES_NAME, folder / STARTS_NAME
    if not path.exists():
        raise ValueError(
            f"{folder} has no {LINES_NAME}: expected a work folder of launch.train "
            "whose training has begun."
        )
    rows = read_lines(path, numbers=True)
    if not rows:
        raise ValueError(f"{path} has no rows yet: a run writes one every config.log.every_steps.")
    steps = [start["step"] for start in read_lines(starts)] if starts.exists() else []
    return RunLog(name, rows, sorted({step for step in steps if step > 0}))


def read_lines(path: Path, *, numbers: bool = False) -> list[dict]:
    """The lines of a log. A last one without its end, as of a run that writes, is left out.

    Args: numbers: whether all that a line has must be numbers.
    Raises: ValueError naming the first line that is damaged.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [_parse(line, f"{path}:{i}", numbers) for i, line in enumerate(lines[:-1], start=1)]


def _parse(line: str, place: str, numbers: bool) -> dict:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(f'{place}: expected {{"step": NUMBER, ...}}, got {line[:60]!r}.')
    for key, value in row.items():
        if numbers and not isinstance(value, int | float | None):
            raise ValueError(f"{place}: {key} is {value!r}, expected a number or null.")
    return row


if __name__ == "__main__":
    errors.run(main)
