r"""Writes what there is to say about trackers on a benchmark as one HTML file.

python -m launch.report --benchmark=lasot_test --root=/data \
    --results=baseline=raw/ostrack,ours=runs/lasot --output=runs/lasot.html

It has the scores of launch.score, curves, attributes, sequences, film strips of the sequences that
went worst, scores over time with the moments in which a tracker said that it was lost, and speed.
With --weights also what is inside the network: the correlations of the paper's Fig. 1, and
elimination, attention and features as in its Fig. 5. Those need frames; the rest does not. The file
opens offline, in light and dark.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import app, flags

from data_pipeline.datasets import make_dataset
from data_pipeline.sequences import Dataset
from esat_jax.atomic import complete_file
from esat_jax.report import sections
from esat_jax.report.markup import Html, element
from esat_jax.report.page import MOST_TRACKERS, Section, page
from esat_jax.report.sequence_view import SequenceResults, over_time_note, sequence_view
from launch import errors, score_flags
from launch.collected_scores import CollectedScores
from launch.report_inputs import Run, collect_sequences, find_run, weights_and_tracker
from launch.report_network import NetworkPictures, network_pictures

flags.adopt_module_key_flags(score_flags)  # so that --help lists them
_OUTPUT = flags.DEFINE_string("output", None, "The HTML file to write.")
_SUBJECT = flags.DEFINE_string(
    "subject", None, "The tracker whose worst sequences are shown; by default the last one."
)
_SEQUENCES = flags.DEFINE_list("sequences", None, "Sequences to show instead of the worst ones.")
_STRIPS = flags.DEFINE_integer("strips", 6, "Sequences to show as film strips.", lower_bound=0)
_FRAMES = flags.DEFINE_integer("frames", 7, "Frames of a film strip.", lower_bound=1)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "File of ESAT's weights, or NAME=FILE, for pictures of the network."
)
_FIGURES = flags.DEFINE_integer("figures", 3, "Frames to show the network on.", lower_bound=1)
_MEGABYTES = flags.DEFINE_float(
    "max_megabytes", 12.0, "Pictures beyond this size of the file are left out.", lower_bound=0
)
flags.mark_flag_as_required("output")


class Budget:
    """Bytes that pictures may have."""

    def __init__(self, size: float) -> None:
        self._left = size

    def fitting(self, pieces: Iterable[tuple[str, Html]], remarks: list[str]) -> dict[str, Html]:
        """The first of some named pieces, as many as there is room for; tells of the others."""
        kept, refused = {}, []
        for name, piece in pieces:
            size = len(piece.encode())
            if refused or size > self._left:
                refused.append(name)
                continue
            self._left -= size
            kept[name] = piece
        if refused:
            remarks.append(
                f"pictures of {len(refused)} were left out for their size, beginning with "
                f"{refused[0]}; --max_megabytes gives more room."
            )
        return kept


def main(argv: list[str]) -> None:
    """Writes the file and says how large it is."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if not Path(_OUTPUT.value).absolute().parent.is_dir():
        raise ValueError(f"--output={_OUTPUT.value}: its folder does not exist; make it first.")
    count = len(score_flags.RESULTS.value)
    if count > MOST_TRACKERS:
        raise ValueError(f"--results names {count} trackers; a report tells {MOST_TRACKERS} apart.")
    collected = score_flags.collect_named()
    text = make_report(collected)
    with complete_file(_OUTPUT.value) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{_OUTPUT.value}: {len(text.encode()) / 1e6:.1f} MB")


def make_report(collected: CollectedScores) -> str:
    """The whole file, of what the flags ask for."""
    scores, remarks = collected.scores, []
    runs = {name: run for name, path in collected.paths.items() if (run := find_run(path))}
    weights, tracker = None, list(scores.boards)[-1]
    if _WEIGHTS.value:
        weights, tracker = weights_and_tracker(_WEIGHTS.value, runs, scores.boards)
    subject = _SUBJECT.value or tracker
    if subject not in scores.boards:
        raise ValueError(f"--subject={subject} is none of {', '.join(scores.boards)}.")
    results = collect_sequences(collected, runs, remarks)
    ranked = sorted(results, key=lambda name: results[name].mean_overlap(subject))
    dataset = make_dataset(scores.benchmark, score_flags.ROOT.value)
    budget = Budget(1e6 * _MEGABYTES.value)
    chosen = _SEQUENCES.value or ranked[: _STRIPS.value]
    strips = budget.fitting(_strips(results, chosen, subject, dataset), remarks)
    network = []
    if weights:
        pictures = NetworkPictures(weights, tracker, dataset)
        network = _network(pictures, [results[name] for name in _spread(ranked)], remarks)
        network = list(budget.fitting(network, remarks).values())
    keys = {name: _key(name, chosen) for name in strips}
    title, intro = sections.headline(scores)
    parts = [
        sections.score_section(scores),
        sections.curve_section(scores),
        sections.attribute_section(scores),
        sections.sequence_section(scores, _lost_shares(results, runs), keys),
        _strip_section(strips, results, subject, remarks),
        Section("network", "Inside the network", network) if network else None,
        sections.speed_section(scores, collected.times),
        sections.remark_section(scores, remarks),
    ]
    return page(title, intro, list(scores.boards), [part for part in parts if part])


def _strips(
    results: Mapping[str, SequenceResults], chosen: list[str], subject: str, dataset: Dataset
) -> Iterator[tuple[str, Html]]:
    for name in chosen:
        if name not in results:
            raise ValueError(f"--sequences: {name!r} is not among the sequences that are scored.")
        read_frame, key = dataset.find(name).read_frame, _key(name, chosen)
        yield name, sequence_view(results[name], subject, read_frame, _FRAMES.value, key)


def _strip_section(
    strips: Mapping[str, Html],
    results: Mapping[str, SequenceResults],
    subject: str,
    remarks: list[str],
) -> Section | None:
    if not strips:
        return None
    count, total = len(strips), len(results)
    which = "asked for" if _SEQUENCES.value else f"in which {subject} overlaps the target least"
    remarks.append(f"film strips show {count} of {total} sequences, those {which}.")
    text = (
        f"The {count} of {total} sequences {which}: the first frame, and of each equal part of the "
        f"others the one in which {subject} overlaps the target least, with everyone's overlap. "
    )
    note = element(
        "p", text, over_time_note([len(results[n].truth) for n in strips]), class_="note"
    )
    return Section("strips", "Film strips", [note, *strips.values()])


def _network(
    pictures: NetworkPictures, chosen: list[SequenceResults], remarks: list[str]
) -> list[tuple[str, Html]]:
    looks = []
    for results in chosen:
        try:
            looks.append(pictures.look(results))
        except (ValueError, OSError) as error:
            remarks.append(f"no picture of the network on {results.name}: {error}")
    return network_pictures(looks) if looks else []


def _spread(ranked: list[str]) -> list[str]:
    """Sequences from the worst to the best, equally far from each other."""
    count = min(_FIGURES.value, len(ranked))
    return [ranked[i] for i in np.linspace(0, len(ranked) - 1, count).round().astype(int)]


def _lost_shares(
    results: Mapping[str, SequenceResults], runs: Mapping[str, Run]
) -> dict[str, dict[str, float]]:
    """Tracker -> sequence -> share of the frames that it calls lost."""
    return {
        tracker: {
            name: float(one.frame_scores[tracker][1].mean())
            for name, one in results.items()
            if tracker in one.frame_scores
        }
        for tracker in runs
    }


def _key(name: str, chosen: list[str]) -> str:
    """The place in the page of a sequence, whose name may hold anything."""
    return f"sequence-{chosen.index(name) + 1}"


if __name__ == "__main__":
    errors.run(main)
