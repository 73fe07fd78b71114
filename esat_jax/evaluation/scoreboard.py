"""One result under every rule, with intervals, and two results compared."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from esat_jax import bootstrap
from esat_jax.evaluation import (
    got10k,
    lasot_toolkit,
    ope,
    ostrack,
    pytracking,
    trackingnet,
)
from esat_jax.evaluation.scores import RuleScores, Truth

Truths, Runs = Mapping[str, Truth], Mapping[str, Sequence[np.ndarray]]


class Rule(NamedTuple):
    """A scoring rule: its title, and (truths, runs of each sequence, tag) -> scores."""

    title: str
    score: Callable[[Truths, Runs, str], RuleScores]


def _first(runs: Runs) -> dict[str, np.ndarray]:
    return {name: boxes[0] for name, boxes in runs.items()}


def _as_read_by_ope(truths: Truths, tag: str) -> Truths:
    """The codes' readers know flags of absence for some data sets only."""
    if tag in ope.FLAGGED:
        return truths
    return {name: dataclasses.replace(truth, absent=None) for name, truth in truths.items()}


RULES = {
    "ostrack": Rule(
        "OSTrack family",
        lambda truths, runs, tag: ostrack.score(_as_read_by_ope(truths, tag), _first(runs), tag),
    ),
    "pytracking": Rule(
        "pytracking",
        lambda truths, runs, tag: pytracking.score(_as_read_by_ope(truths, tag), _first(runs), tag),
    ),
    "lasot_toolkit": Rule(
        "LaSOT/TNL2K toolkit (MATLAB)",
        lambda truths, runs, tag: lasot_toolkit.score(truths, _first(runs)),
    ),
    "got10k": Rule("got10k toolkit", lambda truths, runs, tag: got10k.score(truths, runs)),
    "trackingnet": Rule(
        "TrackingNet devkit",
        lambda truths, runs, tag: trackingnet.score(truths, _first(runs)),
    ),
}
# The same quantity under every rule, one after the other: (title, {rule: measure}).
QUANTITIES = (
    (
        "success AUC / AO",
        {
            **{"ostrack": "AUC", "pytracking": "AUC", "lasot_toolkit": "AUC"},
            **{"trackingnet": "Success", "got10k": "AO"},
        },
    ),
    ("success at 0.50", {"ostrack": "OP50", "pytracking": "OP50", "got10k": "SR50"}),
    ("success at 0.75", {"ostrack": "OP75", "pytracking": "OP75", "got10k": "SR75"}),
    ("precision at 20 px", {"ostrack": "P20", "pytracking": "P20", "lasot_toolkit": "P20"}),
    ("precision, area", {"lasot_toolkit": "P_mean", "trackingnet": "Precision"}),
    (
        "norm. precision at 0.20",
        {"ostrack": "NP20", "pytracking": "NP20", "lasot_toolkit": "NP20"},
    ),
    ("norm. precision, area", {"lasot_toolkit": "NP_mean", "trackingnet": "NormPrecision"}),
    ("coverage", {"trackingnet": "Coverage"}),
)


class Interval(NamedTuple):
    """A number and the bounds of its 95 % interval, as fractions; NaN where nothing is known."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Scoreboard:
    """One tracker under every rule.

    Attributes:
      scores: of the rules that could be applied. refusals: of the others, a sentence.
      draws: (rule, measure) -> means of bootstrap samples of the sequences.
    """

    scores: dict[str, RuleScores]
    refusals: dict[str, str]
    draws: dict[tuple[str, str], np.ndarray]

    def interval(self, rule: str, measure: str) -> Interval | None:
        """A score with its interval; None if the rule refused the result."""
        if rule not in self.scores:
            return None
        scores = self.scores[rule]
        value = scores[measure]
        bounds = bootstrap.interval(self.draws[rule, measure], value, len(scores.sequences))
        return Interval(value, *bounds)

    def difference(self, other: "Scoreboard", rule: str, measure: str) -> Interval | None:
        """This score minus another tracker's, drawn on the same sequences, with its interval."""
        if rule not in self.scores or rule not in other.scores:
            return None
        value = self.scores[rule][measure] - other.scores[rule][measure]
        drawn = self.draws[rule, measure] - other.draws[rule, measure]
        return Interval(value, *bootstrap.interval(drawn, value, len(self.scores[rule].sequences)))


def score_tracker(
    truths: Truths,
    runs: Runs,
    tag: str,
    rules: Collection[str] = tuple(RULES),
    draws: int = bootstrap.DRAWS,
    seed: int = 0,
) -> Scoreboard:
    """Scores one tracker's results.

    Args:
      runs: for each sequence its results [rows, 4]; all runs count for the got10k rule, the first
        for the others.
      tag: see `ope.TAGS`.
      draws, seed: of the intervals. The same for two trackers, they draw the same sequences.
    Raises: ValueError if there is no sequence, or one without a result: a score of fewer sequences
      would look like that of all.
    """
    missing = [name for name in truths if name not in runs]
    if missing or not truths:
        raise ValueError(f"{len(missing)} of {len(truths)} sequences have no result.")
    scores, refusals, drawn = {}, {}, {}
    for rule in rules:
        try:
            scores[rule] = RULES[rule].score(truths, runs, tag)
        except ValueError as error:
            refusals[rule] = str(error)
            continue
        measures = scores[rule].measures
        means = bootstrap.resampled_means(
            np.stack([measure.values for measure in measures.values()], axis=1),
            draws,
            seed,
            weights=np.stack([measure.weights for measure in measures.values()], axis=1),
        )
        drawn |= {(rule, name): means[:, i] for i, name in enumerate(measures)}
    return Scoreboard(scores, refusals, drawn)


def rows(rules: Collection[str]) -> list[tuple[str, str, str]]:
    """(title, rule, measure) of a table's rows, the same quantity under all rules together."""
    return [
        (title, rule, measure)
        for title, by_rule in QUANTITIES
        for rule, measure in by_rule.items()
        if rule in rules
    ]


def attributes(truths: Truths) -> dict[str, list[str]]:
    """The sequences of every attribute, in the order in which attributes appear."""
    found: dict[str, list[str]] = {}
    for name, truth in truths.items():
        for attribute in truth.attributes or ():
            found.setdefault(attribute, []).append(name)
    return found
