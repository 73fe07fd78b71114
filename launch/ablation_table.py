"""A table of the paper from the work folders of its runs: means, spread, differences, verdicts."""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from esat_jax.bootstrap import LEVEL, verdict
from esat_jax.run_comparison import compare_runs
from launch.ablation_runs import Run, State

SHOWN = 400  # characters of a reason


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
      keys: what it sets, of the keys in which the rows differ.
      states: of its runs, in the order of `runs`.
      scores: [seeds, sequences] mean IoU of each sequence's pairs; None if a run is not finished.
      against: (difference, low, high) to the reference row; None for itself, and if one of the two
        has no scores.
    """

    name: str
    keys: Mapping[str, object]
    runs: list[Run]
    states: list[State]
    scores: np.ndarray | None = None
    against: tuple[float, float, float] | None = None

    @property
    def kind(self) -> str:
        """ "finished", or the worst of its runs."""
        kinds = {state.kind for state in self.states}
        order = ("unusable", "failed", "unfinished", "finished")
        return next(kind for kind in order if kind in kinds)

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds' means; NaN of one seed."""
        return float(self.scores.mean(axis=1).std(ddof=1)) if len(self.scores) > 1 else np.nan

    @property
    def verdict(self) -> str | None:
        return verdict(*self.against[1:]) if self.against else None


def make_rows(
    runs: Mapping[str, list[Run]],
    states: Mapping[str, list[State]],
    keys: Mapping[str, Mapping],
    reference: str,
    draws: int,
) -> list[Row]:
    """The rows in order, compared with the one called `reference`."""
    states = _same_pairs(runs, states)
    scores = {
        name: np.stack([state.scores.by_sequence()[1] for state in each])
        if all(state.kind == "finished" for state in each)
        else None
        for name, each in states.items()
    }
    rows = []
    for name in runs:
        pair = scores[name], scores[reference]
        known = name != reference and all(array is not None for array in pair)
        against = compare_runs(*pair, draws=draws) if known else None
        rows.append(Row(name, keys[name], runs[name], states[name], scores[name], against))
    return rows


def _same_pairs(
    runs: Mapping[str, list[Run]], states: Mapping[str, list[State]]
) -> dict[str, list[State]]:
    """The states, where runs that saw other validation pairs than the first are unusable."""
    first: tuple[Run, np.ndarray] | None = None
    checked = {}
    for name, each in states.items():
        checked[name] = []
        for run, state in zip(runs[name], each, strict=True):
            if state.kind == "finished":
                first = first or (run, state.scores.sources)
                if not np.array_equal(state.scores.sources, first[1]):
                    text = f"{run.folder} was validated on other pairs than {first[0].folder}"
                    state = State("unusable", text)
            checked[name].append(state)
    return checked


def markdown(title: str, settings: list[str], rows: list[Row], reference: str, draws: int) -> str:
    """The table, what its numbers mean, and what is missing.

    Args: settings: sentences on how all of its runs were trained.
    """
    keys = list(rows[0].keys)
    header = ["row", *keys, "IoU, %", "spread", f"minus {reference}", "95 % interval", "verdict"]
    lines = [f"# {title}", "", _line(header), _line(["---"] * len(header))]
    lines += [_line([row.name, *map(_cell, row.keys.values()), *_numbers(row)]) for row in rows]
    remarks = [f"* {text}" for text in [*settings, *_remarks(rows)]]
    return "\n".join([*lines, "", *_explanation(rows, reference, draws), *remarks]) + "\n"


def as_json(rows: list[Row], reference: str, draws: int) -> dict:
    """All numbers as fractions, with the state of every run."""
    return {
        "reference": reference,
        "draws": draws,
        "level": LEVEL,
        "rows": [_row_as_json(row) for row in rows],
    }


def _row_as_json(row: Row) -> dict:
    runs = []
    for place, (run, state) in enumerate(zip(row.runs, row.states, strict=True)):
        iou = None if row.scores is None else float(row.scores[place].mean())
        entry = {"seed": run.seed, "folder": str(run.folder), "state": state.kind}
        entry |= {"text": state.text, "iou": iou, "git": [s.get("git") for s in state.starts]}
        runs.append(entry)
    numbers = dict.fromkeys(("iou", "spread", "sequences", "difference", "low", "high"))
    if row.scores is not None:
        numbers |= {"iou": row.mean, "spread": row.spread, "sequences": row.scores.shape[1]}
    if row.against:
        numbers |= dict(zip(("difference", "low", "high"), row.against, strict=True))
    numbers = {name: None if value != value else value for name, value in numbers.items()}
    return {
        "row": row.name,
        "keys": dict(row.keys),
        "state": row.kind,
        **numbers,
        "verdict": row.verdict,
        "runs": runs,
    }


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return f"{value:g}" if value else "-"


def _numbers(row: Row) -> list[str]:
    """Five cells; of a row that is not finished no number."""
    if row.scores is None:
        return [row.kind, "-", "-", "-", "-"]
    spread = "-" if np.isnan(row.spread) else f"{100 * row.spread:.2f}"
    cells = [f"{100 * row.mean:.2f}", spread]
    if not row.against:
        return [*cells, "-", "-", "-"]
    difference, low, high = (100 * value for value in row.against)
    return [*cells, f"{difference:+.2f}", f"{low:+.2f} to {high:+.2f}", row.verdict]


def _explanation(rows: list[Row], reference: str, draws: int) -> list[str]:
    finished = [row for row in rows if row.scores is not None]
    if not finished:
        return []
    num_seeds, num_sequences = finished[0].scores.shape
    lines = [
        f"IoU of the validation pairs: the mean over {num_seeds} seed(s) and over the means of "
        f"{num_sequences} sequences. Spread: standard deviation of the seeds' means.",
        f"Interval of the difference to `{reference}`: {draws} draws of the sequences with "
        "replacement, the same for both rows and all seeds;",
    ]
    if num_seeds > 1:
        lines[-1] += (
            " to each is added the standard error over the seeds, of differences between runs of "
            f"one seed, times a draw from Student's t with {num_seeds - 1} degree(s) of freedom."
        )
    else:
        lines[-1] += (
            " nothing is known of other seeds, so a verdict is one about these runs, not about "
            "the rows' settings."
        )
    lines.append(
        "`noise`: 0 lies in the interval. Each verdict stands for itself: of twenty rows without "
        "any difference, one is called different."
    )
    return [*lines, ""]


def _remarks(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        for run, state in zip(row.runs, row.states, strict=True):
            if state.kind != "finished":
                text = state.text if len(state.text) <= SHOWN else f"{state.text[:SHOWN]}…"
                lines.append(f"{run.name}: {state.kind}; {text}.")
    commits = collections.Counter(
        str(start.get("git"))[:10] for row in rows for state in row.states for start in state.starts
    )
    if len(commits) > 1:
        named = ", ".join(f"{commit} ({count})" for commit, count in commits.most_common())
        lines.append(f"The runs were started with different code: commits {named}.")
    return lines
