"""What a report reads besides result files: scores of frames, and whose weights made them."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from esat_jax.evaluation.manifest import file_sha256, read_frame_scores
from esat_jax.report.sequence_view import SequenceResults
from esat_jax.report.tables import sequence_values
from launch.collected_scores import CollectedScores


@dataclasses.dataclass(frozen=True)
class Run:
    """What launch.evaluate left beside a tracker's results: its folder --output, and --tracker."""

    root: Path
    tracker: str

    @property
    def weights_sha256(self) -> str:
        """Of the weights that made the results; "" if the manifest does not tell."""
        path = self.root / f"{self.tracker}_run" / "manifest.json"
        try:
            return str(json.loads(path.read_text())["made_by"]["weights sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def find_run(path: str | Path) -> Run | None:
    """The run that made the results at `path`, either its --output or the folder of its boxes.

    None if there is none, or if several trackers' runs are there.
    """
    path = Path(path)
    inside = sorted(path.glob("*_run/manifest.json"))
    if len(inside) == 1:
        return Run(path, inside[0].parent.name.removesuffix("_run"))
    run = Run(path.parent, path.name.removesuffix("_tracking_result"))
    beside = run.root / f"{run.tracker}_run" / "manifest.json"
    return run if not inside and beside.is_file() else None


def collect_sequences(
    collected: CollectedScores, runs: Mapping[str, Run], remarks: list[str]
) -> dict[str, SequenceResults]:
    """All results by sequence; adds a sentence about scores of frames that are not there."""
    truths, values = collected.scores.truths, sequence_values(collected.scores)
    frame_scores = {name: {} for name in truths}
    for tracker, run in runs.items():
        missing = []
        for name, truth in truths.items():
            try:
                found = read_frame_scores(run.root, run.tracker, name)
            except (OSError, ValueError):
                missing.append(name)
                continue
            if len(found[0]) == len(truth):
                frame_scores[name][tracker] = found
            else:
                missing.append(name)
        if missing:
            remarks.append(
                f"{tracker}: {len(missing)} of {len(truths)} sequences have no scores of frames "
                f"that fit the data set; the first of them is {missing[0]}."
            )
    return {
        name: SequenceResults(
            name,
            truth,
            {tracker: runs_of[name][0] for tracker, runs_of in collected.runs.items()},
            frame_scores[name],
            {tracker: by_sequence[name] for tracker, by_sequence in values.items()},
        )
        for name, truth in truths.items()
    }


def weights_and_tracker(
    text: str, runs: Mapping[str, Run], trackers: Collection[str]
) -> tuple[str, str]:
    """(file, tracker) of a --weights, FILE or NAME=FILE.

    Raises: ValueError if no tracker's results were made by the file, or others made them.
    """
    name, equals, file = text.partition("=")
    if not equals or "/" in name:
        name, file = "", text
    made_by = file_sha256(file)
    if made_by is None:
        raise ValueError(f"--weights={text}: there is no file {file}.")
    recorded = {tracker: run.weights_sha256 for tracker, run in runs.items()}
    if name and name not in trackers:
        raise ValueError(f"--weights={text}: {name} is none of {', '.join(trackers)}.")
    if name and recorded.get(name, "") not in ("", made_by):
        raise ValueError(
            f"--weights={text}: the results of {name} were made by other weights, says their "
            "manifest."
        )
    name = name or next((each for each, sha in recorded.items() if sha == made_by), "")
    if not name:
        raise ValueError(
            f"--weights={text}: no manifest says that these weights made any of the results; name "
            f"the tracker, --weights=NAME={file}."
        )
    return file, name
