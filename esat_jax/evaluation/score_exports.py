"""Scores of one or more trackers as CSV for sheets and JSON for programs: fractions, all digits."""

import csv
import io
import math
from collections.abc import Iterable

from esat_jax import bootstrap
from esat_jax.evaluation import scoreboard
from esat_jax.evaluation.score_tables import Scores, all_remarks, differences
from esat_jax.evaluation.scoreboard import Interval, Scoreboard
from esat_jax.evaluation.scores import RuleScores

CSV_COLUMNS = ("tracker", "rule", "score", "of", "sequences", "value", "low", "high")


def csv_text(scores: Scores) -> str:
    """A line for each score of all sequences, of every attribute's, and of every single one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for tracker, board in scores.boards.items():
        for rule, found in board.scores.items():
            parts = _attribute_parts(scores, found)
            for name, measure in found.measures.items():
                key, count = (tracker, rule, name), len(found.sequences)
                writer.writerow([*key, "all", count, *_csv(board.interval(rule, name))])
                for attribute, part in parts.items():
                    row = [attribute, len(part.sequences), *_csv((part[name],)), "", ""]
                    writer.writerow([*key, *row])
                for sequence, value, weight in zip(
                    found.sequences, measure.values, measure.weights, strict=True
                ):
                    value = value if weight else math.nan
                    writer.writerow([*key, sequence, 1, *_csv((value,)), "", ""])
    return text.getvalue()


def as_json(scores: Scores) -> dict:
    """All scores, curves and comparisons; null stands for what does not exist."""
    first, *others = scores.boards
    return {
        "benchmark": scores.benchmark,
        "own_rule": scores.rule or None,
        "sequences": list(scores.truths),
        "sequences_of_the_whole_data_set": scores.total,
        "frames": sum(map(len, scores.truths.values())),
        "unit": "fraction",
        "interval": bootstrap.LEVEL,
        "draws": scores.draws,
        "trackers": {
            name: _tracker_json(scores, name, board) for name, board in scores.boards.items()
        },
        "comparisons": [
            {"tracker": other, "minus": first, "rule": rule, "score": measure}
            | _interval_json(interval)
            | {"verdict": bootstrap.verdict(interval.low, interval.high)}
            for other in others
            for _, rule, measure, interval in differences(scores, other, first)
        ],
        "remarks": list(all_remarks(scores)),
    }


def _tracker_json(scores: Scores, name: str, board: Scoreboard) -> dict:
    rules: dict[str, dict] = {rule: {"refused": why} for rule, why in board.refusals.items()}
    for rule, found in board.scores.items():
        rules[rule] = {
            "scores": {
                key: dict(
                    zip(Interval._fields, map(_number, board.interval(rule, key)), strict=True)
                )
                for key in found.measures
            },
            "per_sequence": {
                key: [
                    _number(value) if weight else None
                    for value, weight in zip(measure.values, measure.weights, strict=True)
                ]
                for key, measure in found.measures.items()
            },
            "curves": {
                key: {
                    "thresholds": curve.thresholds.tolist(),
                    "mean": list(map(_number, curve.mean)),
                }
                for key, curve in found.curves.items()
            },
            "attributes": {
                attribute: {"sequences": len(part.sequences)}
                | {key: _number(part[key]) for key in part.measures}
                for attribute, part in _attribute_parts(scores, found).items()
            },
        }
    return {"frames_per_second": _number(scores.speeds.get(name)), "rules": rules}


def _attribute_parts(scores: Scores, found: RuleScores) -> dict[str, RuleScores]:
    return {
        attribute: found.of(names)
        for attribute, names in scoreboard.attributes(scores.truths).items()
    }


def _interval_json(interval: Interval) -> dict:
    return dict(zip(Interval._fields, map(_number, interval), strict=True))


def _csv(values: Iterable[float]) -> list[str]:
    return ["" if math.isnan(value) else repr(float(value)) for value in values]


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
