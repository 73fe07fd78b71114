"""Scores of one or more trackers as Markdown tables, in percent."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping

from esat_jax import bootstrap
from esat_jax.evaluation import scoreboard
from esat_jax.evaluation.scoreboard import RULES, Interval, Scoreboard, Truths

NOTHING = "-"


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Everything there is to say about trackers on a benchmark.

    Attributes:
      benchmark: its name; rule: the rule of its own code, or "".
      truths: of the sequences that were scored; total: how many the whole data set has.
      boards: the trackers, in order; all are compared with the first.
      remarks: sentences about results that are not as they should be.
      speeds: frames/s of trackers whose results have times.
      draws: of the intervals.
    """

    benchmark: str
    rule: str
    truths: Truths
    total: int
    boards: Mapping[str, Scoreboard]
    remarks: tuple[str, ...] = ()
    speeds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    draws: int = bootstrap.DRAWS

    @property
    def rules(self) -> list[str]:
        """The rules that at least one tracker was asked to be scored by, in RULES' order."""
        asked = {rule for board in self.boards.values() for rule in board.scores | board.refusals}
        return [rule for rule in RULES if rule in asked]

    @property
    def main_rule(self) -> str:
        """The benchmark's own rule, or the first one that was asked for; "" if there is none."""
        return next((rule for rule in (self.rule, *self.rules) if rule in self.rules), "")


def markdown(scores: Scores) -> str:
    """Tables of scores, comparisons and attributes, and remarks."""
    blocks = [_heading(scores), "\n".join(_score_table(scores))]
    first, *others = scores.boards
    for other in others:
        blocks += [f"## {other} against {first}", "\n".join(_comparison(scores, other, first))]
    blocks += _attribute_blocks(scores)
    remarks = list(all_remarks(scores))
    if remarks:
        blocks += ["## Remarks", "\n".join(f"* {remark}" for remark in remarks)]
    return "\n\n".join(blocks) + "\n"


def _heading(scores: Scores) -> str:
    frames = sum(map(len, scores.truths.values()))
    count = len(scores.truths)
    of = "" if count == scores.total else f" of {scores.total}"
    text = f"# {scores.benchmark}: {count}{of} sequences, {frames:,} frames\n\n"
    text += (
        f"Percent; in brackets {100 * bootstrap.LEVEL:.0f} % intervals over sequences (bootstrap, "
        f"{scores.draws:,} draws)."
    )
    if scores.rule:
        text += f" The benchmark's own rule is that of: {RULES[scores.rule].title}."
    return text


def _score_table(scores: Scores) -> Iterator[str]:
    rows = [("score", "rule", *scores.boards)]
    for title, rule, measure in shown_rows(scores):
        cells = [interval_text(board.interval(rule, measure)) for board in scores.boards.values()]
        rows.append((title, RULES[rule].title, *cells))
    return aligned_rows(_said_once(rows), text_columns=2)


def _comparison(scores: Scores, name: str, other: str) -> Iterator[str]:
    rows = [("score", "rule", "verdict", "difference", "95 % interval")]
    for title, rule, _, interval in differences(scores, name, other):
        bounds = f"[{signed_text(interval.low)}, {signed_text(interval.high)}]"
        bounds = NOTHING if math.isnan(interval.low) else bounds
        verdict = bootstrap.verdict(interval.low, interval.high)
        rows.append((title, RULES[rule].title, verdict, signed_text(interval.value), bounds))
    return aligned_rows(_said_once(rows), text_columns=3)


def differences(scores: Scores, name: str, other: str) -> Iterator[tuple[str, str, str, Interval]]:
    """(title, rule, measure, difference) of two trackers, for every row that both have."""
    for title, rule, measure in shown_rows(scores):
        interval = scores.boards[name].difference(scores.boards[other], rule, measure)
        if interval is not None:
            yield title, rule, measure, interval


def _said_once(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Leaves a row's first cell empty if the row above has the same."""
    above = ["", *(row[0] for row in rows)]
    return [
        ("" if row[0] == before else row[0], *row[1:])
        for row, before in zip(rows, above, strict=False)
    ]


def shown_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """(title, rule, measure) of the table's rows; coverage only where TrackingNet asks for it."""
    rows = scoreboard.rows(scores.rules)
    return [row for row in rows if row[2] != "Coverage" or scores.rule == row[1]]


def _attribute_blocks(scores: Scores) -> list[str]:
    attributes = scoreboard.attributes(scores.truths)
    rule, measures = scores.main_rule, scoreboard.QUANTITIES[0][1]
    if not attributes or not rule:
        return []
    rows = [("attribute", "sequences", *scores.boards)]
    for attribute, names in attributes.items():
        values = [
            percent_text(board.scores[rule].of(names)[measures[rule]], 2)
            if rule in board.scores
            else NOTHING
            for board in scores.boards.values()
        ]
        rows.append((attribute, str(len(names)), *values))
    title = f"## By attribute: {scoreboard.QUANTITIES[0][0]}, {RULES[rule].title}"
    return [title, "\n".join(aligned_rows(rows, text_columns=1))]


def all_remarks(scores: Scores) -> Iterator[str]:
    """Sentences about results, refusals and speeds."""
    yield from scores.remarks
    for name, board in scores.boards.items():
        for rule, sentence in board.refusals.items():
            yield f"{name} has no score by the rule of {RULES[rule].title}: {sentence}"
    for name, speed in scores.speeds.items():
        yield f"{name}: {speed:.1f} frames/s by its files of times (mean of 1 / t)."


def aligned_rows(rows: Iterable[tuple[str, ...]], text_columns: int) -> Iterator[str]:
    """Lines of a Markdown table whose columns are as wide as they need; numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            rules = ["-" * width for width in widths]
            rules[text_columns:] = [f"{rule[1:]}:" for rule in rules[text_columns:]]
            yield f"| {' | '.join(rules)} |"


def interval_text(interval: Interval | None) -> str:
    """A score in percent with its interval in brackets, as far as they exist."""
    if interval is None or math.isnan(interval.value):
        return NOTHING
    text = percent_text(interval.value, 2)
    if math.isnan(interval.low):
        return text
    return f"{text} [{percent_text(interval.low, 1)}, {percent_text(interval.high, 1)}]"


def percent_text(value: float, digits: int) -> str:
    """A fraction in percent, without the sign; NaN is NOTHING."""
    return NOTHING if math.isnan(value) else f"{100 * value:.{digits}f}"


def signed_text(value: float) -> str:
    """A difference of fractions in percent points."""
    return NOTHING if math.isnan(value) else f"{100 * value:+.2f}"
