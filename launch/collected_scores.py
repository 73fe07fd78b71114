"""The results that a command names, read from files and scored under every rule."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipeline.datasets import REGISTRY
from esat_jax import bootstrap
from esat_jax.evaluation import got10k
from esat_jax.evaluation.benchmarks import find_benchmark
from esat_jax.evaluation.result_files import find_results, read_runs, read_times
from esat_jax.evaluation.result_rows import box_flaws, shortened
from esat_jax.evaluation.score_tables import Scores
from esat_jax.evaluation.scoreboard import RULES, score_tracker
from esat_jax.evaluation.scores import Truth
from launch.benchmark_truth import read_truths


@dataclasses.dataclass(frozen=True, eq=False)
class CollectedScores:
    """Scores, and the files' numbers that they were made of.

    Attributes:
      paths: where the results of each tracker are.
      runs: tracker -> sequence -> its results [rows, 4], one a run.
      times: tracker -> sequence -> seconds [F, runs], of sequences that have a file of them.
    """

    scores: Scores
    paths: Mapping[str, str]
    runs: Mapping[str, Mapping[str, Sequence[np.ndarray]]]
    times: Mapping[str, Mapping[str, np.ndarray]]


def collect_scores(
    benchmark: str,
    results: Collection[str],
    *,
    root: str = "",
    rules: Collection[str] = ("all",),
    toolkit: str | None = None,
    partial: bool = False,
    draws: int = bootstrap.DRAWS,
    seed: int = 0,
) -> CollectedScores:
    """Reads results of a benchmark, and scores them.

    Args:
      benchmark, root: as in `data_pipeline.datasets.make_dataset`.
      results: `NAME=PATH` or `PATH` of each tracker's folder or archive.
      rules: keys of `scoreboard.RULES`, or "all".
      toolkit: see `read_truths`.
      partial: score the sequences that all trackers have, instead of refusing a missing one.
      draws, seed: of the intervals.
    Raises: ValueError naming what cannot be used.
    """
    rules = list(RULES) if list(rules) == ["all"] else list(rules)
    unknown = set(rules) - set(RULES)
    if unknown:
        raise ValueError(f"unknown rules {sorted(unknown)}; there are {', '.join(RULES)}.")
    paths, found = named_paths(results), find_benchmark(benchmark)
    truths = read_truths(benchmark, root, toolkit)
    key, here = benchmark.partition(":")[0], len(truths)
    total = max(REGISTRY[key].total or 0, here)
    if partial:
        truths = {seq: truths[seq] for seq in common_sequences(paths, key, truths)}
    remarks = []
    if here < total:
        remarks.append(f"the data set here has {here} of its {total} sequences.")
    if "got10k" in rules and any(truth.frame_size is None for truth in truths.values()):
        remarks.append("frames are not at hand: got10k's rule could not move boxes into them.")
    if key.startswith("tnl2k") and not toolkit:
        remarks.append("frames whose box has no area are taken for absent; --toolkit has flags.")
    boards, runs, times = {}, {}, {}
    for tracker, path in paths.items():
        runs[tracker] = read_runs(path, key, truths)
        boards[tracker] = score_tracker(truths, runs[tracker], found.tag, rules, draws, seed)
        remarks += flaw_remarks(tracker, truths, runs[tracker])
        times[tracker] = read_times(path, key, truths)
    speeds = {name: got10k.speed(list(read.values())) for name, read in times.items() if read}
    scores = Scores(benchmark, found.rule, truths, total, boards, tuple(remarks), speeds, draws)
    return CollectedScores(scores, paths, runs, times)


def named_paths(results: Collection[str]) -> dict[str, str]:
    """{tracker: path} of `NAME=PATH` or `PATH`, whose last part is the name then.

    Raises: ValueError for two trackers of one name, and for none.
    """
    if not any(results):
        raise ValueError("--results names no folder of results; write --results=NAME=FOLDER.")
    paths: dict[str, str] = {}
    for text in results:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            name, path = Path(text).name.removesuffix(".zip"), text
            name = name.removesuffix("_tracking_result")
        if name in paths:
            raise ValueError(f"two trackers are called {name!r}; name them, NAME={path}.")
        paths[name] = path
    return paths


def common_sequences(paths: Mapping[str, str], benchmark: str, names: Collection[str]) -> list[str]:
    """The sequences, in order, that have a result of every tracker. Raises: ValueError for none."""
    found = [find_results(path, benchmark, names) for path in paths.values()]
    common = [name for name in names if all(name in tracker for tracker in found)]
    if not common:
        raise ValueError(f"no sequence of {benchmark} has a result of every tracker.")
    return common


def flaw_remarks(name: str, truths: Mapping[str, Truth], runs: Mapping) -> list[str]:
    """A sentence about each kind of flaw that some of a tracker's results have."""
    by_kind: dict[str, list[str]] = {}
    for sequence, boxes in runs.items():
        for flaw in box_flaws(boxes[0], len(truths[sequence])):
            by_kind.setdefault(flaw.kind, []).append(f"{sequence} ({flaw.text})")
    return [
        f"{name}: {len(texts)} of {len(runs)} results are flawed ({kind}): {shortened(texts, 2)}. "
        "Each rule treats that in its own way."
        for kind, texts in by_kind.items()
    ]
