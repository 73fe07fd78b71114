"""Tables of scores, with the numbers of `esat_jax.evaluation.score_tables`."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from esat_jax import bootstrap
from esat_jax.evaluation import scoreboard
from esat_jax.evaluation.score_tables import (
    NOTHING,
    Scores,
    differences,
    interval_text,
    percent_text,
    shown_rows,
    signed_text,
)
from esat_jax.evaluation.scoreboard import RULES
from esat_jax.report.markup import Html, element

MAIN_TITLE, MAIN_MEASURES = scoreboard.QUANTITIES[0]


def score_table(scores: Scores) -> Html:
    """Every score under every rule with its interval."""
    rows = []
    for title, rule, measure in shown_rows(scores):
        intervals = [board.interval(rule, measure) for board in scores.boards.values()]
        rows.append((title, rule, [_cell(interval_text(each), number=True) for each in intervals]))
    return _rule_table(rows, list(scores.boards), "Scores under each rule")


def difference_table(scores: Scores) -> Html | None:
    """Every tracker's scores minus the first one's; None if there is no other."""
    first, *others = scores.boards
    if not others:
        return None
    found = {
        (other, rule, measure): interval
        for other in others
        for _, rule, measure, interval in differences(scores, other, first)
    }
    rows = []
    for title, rule, measure in shown_rows(scores):
        intervals = [found.get((other, rule, measure)) for other in others]
        rows.append((title, rule, [_difference(each) for each in intervals]))
    heads = [_minus(other, first) for other in others]
    return _rule_table(rows, heads, f"Differences from {first}")


def attribute_table(scores: Scores) -> Html | None:
    """The main score of the sequences with each attribute; None if there are no attributes."""
    attributes = scoreboard.attributes(scores.truths)
    if not attributes or not scores.main_rule:
        return None
    rule = scores.main_rule
    rows = []
    for attribute, names in attributes.items():
        values = [
            board.scores[rule].of(names)[MAIN_MEASURES[rule]] if rule in board.scores else math.nan
            for board in scores.boards.values()
        ]
        cells = [_cell(attribute, header=True), _cell(len(names), number=True, value=len(names))]
        rows.append(element("tr", *cells, *map(_bar, values)))
    heads = ["attribute", "sequences", *scores.boards]
    return _table(heads, rows, caption=f"{MAIN_TITLE} by attribute")


def sequence_values(scores: Scores) -> dict[str, dict[str, float]]:
    """The main score of each tracker's sequences, as fractions; NaN where a rule leaves one out."""
    rule = scores.main_rule
    values = {}
    for tracker, board in scores.boards.items():
        values[tracker] = dict.fromkeys(scores.truths, math.nan)
        if rule in board.scores:
            found = board.scores[rule]
            measure = found.measures[MAIN_MEASURES[rule]]
            counted = np.where(measure.weights > 0, measure.values, math.nan)
            values[tracker] |= dict(zip(found.sequences, counted.tolist(), strict=True))
    return values


def sequence_table(
    scores: Scores,
    lost: Mapping[str, Mapping[str, float]],
    linked: Mapping[str, str],
) -> Html:
    """The main score of every sequence.

    Args:
      lost: tracker -> sequence -> share of its frames that it calls lost.
      linked: the places in the page of the sequences that have one.
    """
    values = sequence_values(scores)
    first, *others = scores.boards
    heads = ["sequence", "frames", *scores.boards]
    heads += [_minus(other, first) for other in others]
    heads += [f"{tracker} lost" for tracker in lost]
    rows = []
    for name, truth in scores.truths.items():
        shown = element("a", name, href=f"#{linked[name]}") if name in linked else name
        cells = [_cell(shown, header=True, value=name)]
        cells.append(_cell(len(truth), number=True, value=len(truth)))
        cells += [_bar(values[tracker][name]) for tracker in scores.boards]
        for other in others:
            change = values[other][name] - values[first][name]
            cells.append(_cell(signed_text(change), number=True, value=change))
        for shares in lost.values():
            share = shares.get(name, math.nan)
            cells.append(_cell(percent_text(share, 1), number=True, value=share))
        rows.append(element("tr", *cells))
    return _table(heads, rows, caption=f"{MAIN_TITLE} by sequence")


def speed_table(times: Mapping[str, Mapping[str, np.ndarray]], speeds: Mapping[str, float]) -> Html:
    """Frames/s and times of trackers that have files of times, seconds [F, runs] a sequence."""
    rows = []
    for tracker, by_sequence in times.items():
        if not by_sequence:
            continue
        # The first frame is given, and what begins a sequence is no frame's time.
        seconds = np.concatenate([read[1:].ravel() for read in by_sequence.values()])
        seconds = seconds[seconds > 0]
        if not len(seconds):
            continue
        p50, p95 = np.percentile(seconds, [50, 95])
        numbers = (
            (f"{speeds[tracker]:.1f}", speeds[tracker]),
            (f"{1 / seconds.mean():.1f}", 1 / seconds.mean()),
            (f"{1000 * p50:.1f}", p50),
            (f"{1000 * p95:.1f}", p95),
            (len(by_sequence), len(by_sequence)),
        )
        cells = [_cell(text, number=True, value=value) for text, value in numbers]
        rows.append(element("tr", _cell(tracker, header=True), *cells))
    heads = ["tracker", "frames/s, mean of 1 / t", "frames/s, frames by time"]
    heads += ["median, ms", "95 % within, ms", "sequences with times"]
    return _table(heads, rows, caption="Speed by the files of times")


def _rule_table(
    rows: Sequence[tuple[str, str, list[Html]]], heads: list[str], caption: str
) -> Html:
    """Rows (title, rule, cells), the same quantity under all rules together."""
    body, above = [], ""
    for title, rule, cells in rows:
        begins = title != above
        starts = _cell(title if begins else "", header=True), _cell(RULES[rule].title)
        body.append(element("tr", *starts, *cells, class_="first" if begins else None))
        above = title
    return _table(["score", "rule", *heads], body, caption, sortable=False, text_columns=2)


def _minus(name: str, other: str) -> str:
    return f"{name} \N{MINUS SIGN} {other}"


def _difference(interval: scoreboard.Interval | None) -> Html:
    if interval is None or math.isnan(interval.value):
        return _cell(NOTHING, number=True)
    verdict = bootstrap.verdict(interval.low, interval.high)
    bounds = f"[{signed_text(interval.low)}, {signed_text(interval.high)}]"
    word = element("span", verdict, class_=f"verdict {verdict}")
    return _cell([f"{signed_text(interval.value)} {bounds} ", word], number=True)


def _bar(value: float) -> Html:
    """A cell with a score and a bar as long as it."""
    if math.isnan(value):
        return _cell(NOTHING, number=True, value=math.nan)
    width = f"--share:{100 * min(max(value, 0), 1):.1f}%"
    text = element("span", percent_text(value, 2), class_="bar", style=width)
    return _cell(text, number=True, value=value)


def _cell(
    content: object, *, header: bool = False, number: bool = False, value: object = None
) -> Html:
    if isinstance(value, float):
        value = "" if math.isnan(value) else repr(value)
    class_ = "number" if number else None
    if header:
        return element("th", content, scope="row", data_value=value)
    return element("td", content, class_=class_, data_value=value)


def _table(
    heads: Sequence[str],
    rows: Iterable[Html],
    caption: str,
    *,
    sortable: bool = True,
    text_columns: int = 1,
) -> Html:
    cells = [
        element("th", head, scope="col", class_="text" if place < text_columns else None)
        for place, head in enumerate(heads)
    ]
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *cells)),
        element("tbody", *rows),
        class_="sortable" if sortable else None,
    )
    tall = "scroll tall" if sortable else "scroll"  # which have a row for every sequence
    return element("div", table, class_=tall, tabindex="0")
