"""The flags that name results to score; launch.score and launch.report take the same ones."""

from absl import flags

from esat_jax import bootstrap
from esat_jax.evaluation.benchmarks import BENCHMARKS
from esat_jax.evaluation.scoreboard import RULES
from launch.collected_scores import CollectedScores, collect_scores

_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, f"Data set, or NAME:PATH for a folder elsewhere: {', '.join(BENCHMARKS)}."
)
ROOT = flags.DEFINE_string("root", "", "Folder of all data sets; by default $ESAT_DATA.")
RESULTS = flags.DEFINE_list("results", None, "Folders or archives of results, or NAME=PATH.")
_RULES = flags.DEFINE_list("rules", ["all"], f"Of {', '.join(RULES)}.")
_TOOLKIT = flags.DEFINE_string(
    "toolkit",
    None,
    "Folder `annos` of the LaSOT or TNL2K toolkit: flags of absence, attributes; `anno` of OTB's.",
)
_PARTIAL = flags.DEFINE_bool("partial", False, "Score the sequences that all trackers have.")
_DRAWS = flags.DEFINE_integer("draws", bootstrap.DRAWS, "Bootstrap samples.", lower_bound=100)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap samples.")
flags.mark_flags_as_required(["benchmark", "results"])


def collect_named() -> CollectedScores:
    """The scores of what the flags name. Raises: ValueError naming what cannot be used."""
    return collect_scores(
        _BENCHMARK.value,
        RESULTS.value,
        root=ROOT.value,
        rules=_RULES.value,
        toolkit=_TOOLKIT.value,
        partial=_PARTIAL.value,
        draws=_DRAWS.value,
        seed=_SEED.value,
    )
