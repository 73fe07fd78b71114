"""One table of trackers on the same sequences: scores, speed, differences from the first."""

import textwrap
from collections.abc import Mapping

import numpy as np

from esat_jax import bootstrap
from esat_jax.evaluation.score_tables import (
    Scores,
    aligned_rows,
    interval_text,
    percent_text,
    signed_text,
)
from esat_jax.evaluation.scoreboard import Interval

RULES = ("ostrack", "got10k")
COLUMNS = {  # title -> rule, measure
    "AUC": ("ostrack", "AUC"),
    "P20": ("ostrack", "P20"),
    "norm. P20": ("ostrack", "NP20"),
    "AO": ("got10k", "AO"),
    "SR50": ("got10k", "SR50"),
}
NOTE = (
    "Percent. AUC, P20 and norm. P20 by the rule of the OSTrack family, in which frame 1 counts as "
    "truth; AO and SR50 by GOT-10k's, in which it does not count and the frames of all sequences "
    "are pooled. In brackets {level:.0f} % intervals over sequences (bootstrap, {draws:,} draws); "
    "for differences they are drawn in pairs. Frames/s count reading and decoding too."
)


def accuracy_rows(
    scores: Scores, times: Mapping[str, Mapping[str, np.ndarray]], ran_on: Mapping[str, str]
) -> list[dict]:
    """A dict for each tracker, fractions: its scores with intervals, speed, every sequence's AUC.

    Args:
      scores: by RULES.
      times: tracker -> sequence -> seconds [F, 1]; the first frame's are left out.
      ran_on: tracker -> device and threads.
    Raises: ValueError if a rule refused a result.
    """
    first = next(iter(scores.boards.values()))
    rows = []
    for name, board in scores.boards.items():
        if board.refusals:
            raise ValueError(f"{name} has no score: {next(iter(board.refusals.values()))}")
        row: dict = {"tracker": name}
        for title, (rule, measure) in COLUMNS.items():
            row[title] = board.interval(rule, measure)._asdict()
        seconds = np.concatenate([read[1:].ravel() for read in times[name].values()])
        row["frames_per_second"] = len(seconds) / float(seconds.sum())
        row["on"] = ran_on[name]
        if board is not first:
            row["first_minus_this"] = first.difference(board, *COLUMNS["AUC"])._asdict()
        found = board.scores["ostrack"]
        row["AUC_by_sequence"] = dict(
            zip(found.sequences, found.measures["AUC"].values.tolist(), strict=True)
        )
        rows.append(row)
    return rows


def accuracy_markdown(rows: list[dict], scores: Scores) -> str:
    """The table, what its numbers mean, and the AUC of every sequence."""
    first, frames = rows[0]["tracker"], sum(map(len, scores.truths.values()))
    heads = ("tracker", "AUC", *list(COLUMNS)[1:], "frames/s", "on", f"AUC of {first} minus this")
    table = [heads]
    for row in rows:
        plain = [percent_text(row[title]["value"], 1) for title in list(COLUMNS)[1:]]
        cells = (row["tracker"], interval_text(Interval(**row["AUC"])), *plain)
        table.append((*cells, f"{row['frames_per_second']:.1f}", row["on"], _against(row)))
    sequences = [("sequence", "frames", *(row["tracker"] for row in rows))]
    for name, truth in scores.truths.items():
        values = [percent_text(row["AUC_by_sequence"][name], 1) for row in rows]
        sequences.append((name, str(len(truth)), *values))
    blocks = [
        f"# {len(scores.truths)} sequences, {frames:,} frames",
        textwrap.fill(NOTE.format(level=100 * bootstrap.LEVEL, draws=scores.draws), 100),
        "\n".join(aligned_rows(table, text_columns=1)),
        "## AUC by sequence",
        "\n".join(aligned_rows(sequences, text_columns=1)),
    ]
    return "\n\n".join(blocks) + "\n"


def _against(row: dict) -> str:
    if "first_minus_this" not in row:
        return ""
    value, low, high = row["first_minus_this"].values()
    return f"{signed_text(value)} [{signed_text(low)}, {signed_text(high)}]"
