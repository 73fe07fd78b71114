"""The sections of a report that follow from scores alone."""

from collections.abc import Mapping

import numpy as np

from esat_jax import bootstrap
from esat_jax.evaluation.score_tables import Scores, all_remarks
from esat_jax.evaluation.scoreboard import RULES
from esat_jax.report import tables
from esat_jax.report.markup import Html, element
from esat_jax.report.page import Section
from esat_jax.report.plots import Line, curve_plot

_CURVES = {  # key of a curve -> title, {rule: what its thresholds are}
    "success": ("Success", "overlap threshold"),
    "precision": ("Precision", "centre distance, px"),
    "norm_precision": ("Normalised precision", "centre distance, target sizes"),
}


def headline(scores: Scores) -> tuple[str, str]:
    """The report's title, and what its numbers are."""
    count, frames = len(scores.truths), sum(map(len, scores.truths.values()))
    of = "" if count == scores.total else f" of {scores.total}"
    intro = (
        f"{count}{of} sequences, {frames:,} frames. Scores in percent; in brackets "
        f"{100 * bootstrap.LEVEL:.0f} % intervals over sequences (bootstrap, {scores.draws:,} "
        "draws). A difference is noise if its interval holds 0."
    )
    if scores.rule:
        intro += f" The benchmark's own rule is that of: {RULES[scores.rule].title}."
    return f"{scores.benchmark}: {', '.join(scores.boards)}", intro


def score_section(scores: Scores) -> Section:
    """All scores under all rules, and how they differ."""
    found = [tables.score_table(scores), tables.difference_table(scores)]
    return Section("scores", "Scores", found)


def curve_section(scores: Scores) -> Section:
    """Success, precision and normalised precision curves of each rule, the main rule first."""
    rules = dict.fromkeys([scores.main_rule, *scores.rules])
    groups = [_curves(scores, rule) for rule in rules]
    note = "Pointing at a threshold shows its numbers."
    return Section("curves", "Curves", [element("p", note, class_="note"), *groups])


def attribute_section(scores: Scores) -> Section | None:
    """The main score by attribute; None for benchmarks without attributes."""
    table = tables.attribute_table(scores)
    if table is None:
        return None
    return Section("attributes", "Attributes", [_rule_note(scores), table])


def sequence_section(
    scores: Scores, lost: Mapping[str, Mapping[str, float]], linked: Mapping[str, str]
) -> Section:
    """The main score by sequence; see `tables.sequence_table`."""
    children = [_rule_note(scores), tables.sequence_table(scores, lost, linked)]
    return Section("sequences", "Sequences", children)


def speed_section(scores: Scores, times: Mapping[str, Mapping[str, np.ndarray]]) -> Section:
    """What the files of times say; nothing is measured here."""
    note = (
        "Times are those of the files, from each tracker's own computer. Frames that are tracked "
        "at the same time share it. The mean of 1 / t, which GOT-10k's toolkit prints, is over all "
        "frames, and a few short times make it large; the other columns leave out first frames."
    )
    if not any(times.values()):
        return Section("speed", "Speed", [element("p", "No result has a file of times.")])
    table = tables.speed_table(times, scores.speeds)
    return Section("speed", "Speed", [element("p", note, class_="note"), table])


def remark_section(scores: Scores, more: list[str]) -> Section:
    """What is not as it should be, and what was left out."""
    remarks = [*all_remarks(scores), *more] or ["None."]
    items = [element("li", remark) for remark in remarks]
    return Section("remarks", "Remarks", [element("ul", *items)])


def _rule_note(scores: Scores) -> Html:
    text = f"{tables.MAIN_TITLE} by the rule of: {RULES[scores.main_rule].title}."
    return element("p", text, " Columns sort by a click.", class_="note")


def _curves(scores: Scores, rule: str) -> Html:
    plots = []
    for key, (title, x_title) in _CURVES.items():
        lines, thresholds = [], None
        for place, (tracker, board) in enumerate(scores.boards.items()):
            if rule in board.scores and key in board.scores[rule].curves:
                curve = board.scores[rule].curves[key]
                thresholds = curve.thresholds
                lines.append(Line(tracker, place, curve.mean))
        if lines:
            plots.append(curve_plot(title, x_title, thresholds, lines))
    title = RULES[rule].title
    row = element("div", *plots, class_="row")
    return element("div", element("h3", title), row, class_="curves", data_rule=title)
