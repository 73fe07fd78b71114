r"""Scores results from files alone, under every benchmark code's rule, side by side.

python -m launch.score --benchmark=lasot_test --root=/data \
    --results=baseline=raw/ostrack,ours=runs/lasot/esat_tracking_result --output=runs/scores

--results takes folders or zip archives of result files, in any layout and with any separator, as
this project and other trackers' authors write them; NAME=PATH names a tracker. Trackers are
compared with the first one: "difference" means that the interval of the paired difference leaves
out 0, "noise" that it does not. --output receives scores.md, scores.csv and scores.json.

A sequence without a result is an error; --partial scores the sequences that all trackers have, and
says so. The exit status is 1 if a rule could not be applied to a result.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from absl import app, flags

from data_pipeline.datasets import REGISTRY
from esat_jax import bootstrap
from esat_jax.atomic import complete_file
from esat_jax.evaluation import got10k
from esat_jax.evaluation.benchmarks import BENCHMARKS, find_benchmark
from esat_jax.evaluation.result_files import find_results, read_runs, read_times
from esat_jax.evaluation.result_rows import box_flaws, shortened
from esat_jax.evaluation.score_exports import as_json, csv_text
from esat_jax.evaluation.score_tables import Scores, markdown
from esat_jax.evaluation.scoreboard import RULES, score_tracker
from esat_jax.evaluation.scores import Truth
from launch import errors
from launch.benchmark_truth import read_truths

_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, f"Data set, or NAME:PATH for a folder elsewhere: {', '.join(BENCHMARKS)}."
)
_ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
_RESULTS = flags.DEFINE_list("results", None, "Folders or archives of results, or NAME=PATH.")
_RULES = flags.DEFINE_list("rules", ["all"], f"Of {', '.join(RULES)}.")
_TOOLKIT = flags.DEFINE_string(
    "toolkit", None, "Folder `annos` of the LaSOT or TNL2K toolkit: flags of absence, attributes."
)
_PARTIAL = flags.DEFINE_bool("partial", False, "Score the sequences that all trackers have.")
_DRAWS = flags.DEFINE_integer("draws", bootstrap.DRAWS, "Bootstrap samples.", lower_bound=100)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap samples.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder that receives scores.md, .csv and .json.")
flags.mark_flags_as_required(["benchmark", "results"])


def named_paths(results: Collection[str]) -> dict[str, str]:
    """{tracker: path} of `NAME=PATH` or `PATH`, whose last part is the name then.

    Raises: ValueError for two trackers of one name.
    """
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


def collect_scores() -> Scores:
    """Reads what the flags name, and scores it."""
    name, rules = _BENCHMARK.value, list(RULES) if _RULES.value == ["all"] else _RULES.value
    unknown = set(rules) - set(RULES)
    if unknown:
        raise ValueError(f"unknown rules {sorted(unknown)}; there are {', '.join(RULES)}.")
    paths, benchmark = named_paths(_RESULTS.value), find_benchmark(name)
    truths = read_truths(name, _ROOT.value, _TOOLKIT.value)
    key, here = name.partition(":")[0], len(truths)
    total = max(REGISTRY[key].total or 0, here)
    if _PARTIAL.value:
        truths = {seq: truths[seq] for seq in common_sequences(paths, key, truths)}
    boards, remarks, speeds = {}, [], {}
    if here < total:
        remarks.append(f"the data set here has {here} of its {total} sequences.")
    if "got10k" in rules and any(truth.frame_size is None for truth in truths.values()):
        remarks.append("frames are not at hand: got10k's rule could not move boxes into them.")
    if key.startswith("tnl2k") and not _TOOLKIT.value:
        remarks.append("frames whose box has no area are taken for absent; --toolkit has flags.")
    for tracker, path in paths.items():
        runs = read_runs(path, key, truths)
        boards[tracker] = score_tracker(
            truths, runs, benchmark.tag, rules, _DRAWS.value, _SEED.value
        )
        remarks += flaw_remarks(tracker, truths, runs)
        times = read_times(path, key, truths)
        if times:
            speeds[tracker] = got10k.speed(list(times.values()))
    return Scores(name, benchmark.rule, truths, total, boards, tuple(remarks), speeds, _DRAWS.value)


def main(argv: list[str]) -> int:
    """Prints the tables, writes them, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    scores = collect_scores()
    print(markdown(scores), end="")
    if _OUTPUT.value:
        folder = Path(_OUTPUT.value)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            "scores.md": markdown(scores),
            "scores.csv": csv_text(scores),
            "scores.json": json.dumps(as_json(scores), indent=1, allow_nan=False) + "\n",
        }
        for file, text in contents.items():
            with complete_file(folder / file) as part:
                part.write_text(text)
    return 1 if any(board.refusals for board in scores.boards.values()) else 0


if __name__ == "__main__":
    errors.run(main)
