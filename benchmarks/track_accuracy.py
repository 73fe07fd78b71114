r"""How well trackers follow the targets of a folder of sequences, and how fast: one table.

python -m benchmarks.track_accuracy --sequences=data/val --output=runs/val \
    --weights=checkpoints/esat_s.safetensors,checkpoints/esat_xs.safetensors \
    --nanotrack=data/nanotrack

All get the same frames and the same first boxes, and track one sequence after the other: ours, from
weights files or folders of launch.export, OpenCV's CSRT and KCF, and NanoTrack, from a folder with
its networks for ncnn. Those of others run in a Python environment of their own:

python3 -m venv .venv-peers && .venv-peers/bin/pip install -r requirements-peers.txt

--output receives accuracy.md, accuracy.json, and the result files that launch.score and
launch.report read. What is finished is not tracked again, unless weights, settings, device or
threads changed. All cores take part; `taskset -c 0,1 python -m ...` allows two.
"""

import json
import subprocess
from collections.abc import Collection
from pathlib import Path

import jax
from absl import app, flags

from benchmarks.accuracy_table import RULES, accuracy_markdown, accuracy_rows
from benchmarks.environment import environment
from benchmarks.timed_runs import TimedMaker, files_sha256, run_sequences
from data_pipeline.datasets import make_dataset
from data_pipeline.sequences import Sequence
from esat_jax.adapters.any_tracker import load_tracker
from esat_jax.atomic import complete_file
from esat_jax.batched_tracker import available_cores
from esat_jax.evaluation.manifest import ResultFolder, file_sha256
from launch import errors
from launch.collected_scores import collect_scores

_SEQUENCES = flags.DEFINE_string(
    "sequences", None, "Folder of sequences, NAME/groundtruth.txt and images.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results and tables.", required=True)
_WEIGHTS = flags.DEFINE_list(
    "weights", [], "Our trackers, weights files or folders of launch.export; the first is compared."
)
_PEERS = flags.DEFINE_list("peers", ["csrt", "kcf"], "Of csrt, kcf; --peers= is none.")
_NANOTRACK = flags.DEFINE_string("nanotrack", None, "Folder of NanoTrack's networks for ncnn.")
_PEERS_PYTHON = flags.DEFINE_string(
    "peers_python", ".venv-peers/bin/python", "Python with what requirements-peers.txt names."
)


def main(argv: list[str]) -> None:
    """Tracks with everyone, scores, prints and writes the table."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    peers = [*_PEERS.value, *(["nanotrack"] if _NANOTRACK.value else [])]
    ours = named_weights(_WEIGHTS.value, taken=peers)
    if not (ours or peers):
        raise ValueError(
            "name trackers: --weights=FILE,FILE, --peers=csrt,kcf, --nanotrack=FOLDER."
        )
    dataset = make_dataset(f"folders:{_SEQUENCES.value}")
    sequences = [dataset[i] for i in range(len(dataset))]
    for name in peers:  # first: what they need may be missing
        run_peer(name)
    for name, path in ours.items():
        run_own(name, path, sequences)
    names = [*ours, *peers]
    output = Path(_OUTPUT.value)
    collected = collect_scores(
        f"folders:{_SEQUENCES.value}", [f"{name}={output / name}" for name in names], rules=RULES
    )
    ran_on = {name: _ran_on(output / f"{name}_run" / "manifest.json") for name in names}
    rows = accuracy_rows(collected.scores, collected.times, ran_on)
    text = accuracy_markdown(rows, collected.scores)
    print(text, end="")
    facts = {"benchmark": "track_accuracy", "draws": collected.scores.draws, "trackers": rows}
    contents = {"accuracy.md": text, "accuracy.json": json.dumps(facts | environment(), indent=1)}
    for file, content in contents.items():
        with complete_file(output / file) as part:
            part.write_text(content.rstrip("\n") + "\n")


def named_weights(paths: Collection[str], taken: Collection[str]) -> dict[str, str]:
    """{name: path}, named by file. Raises: ValueError for two trackers of one name."""
    named: dict[str, str] = {}
    for path in paths:
        name = Path(path).name.removesuffix(".safetensors")
        if name in named or name in taken:
            raise ValueError(f"{path}: another tracker is called {name!r} too; rename the file.")
        named[name] = path
    return named


def run_own(name: str, path: str, sequences: list[Sequence]) -> None:
    """Tracks with a weights file on JAX's device, or with an exported folder on the CPU."""
    exported = Path(path).is_dir()
    device = "cpu" if exported else jax.local_devices()[0].device_kind
    facts = {"tracker": name, "device": device, "threads": available_cores()}
    maker = TimedMaker("folders", _sha256(path), facts)
    folder = ResultFolder(_OUTPUT.value, name, maker)
    run_sequences(lambda: load_tracker(path), sequences, folder, environment(), name)


def run_peer(name: str) -> None:
    """Tracks with another's tracker in its own Python. Raises: ValueError if that is not there."""
    python = Path(_PEERS_PYTHON.value)
    if not python.exists():
        raise ValueError(
            f"{name} needs a Python environment of its own, and there is no {python}. Make it: "
            "python3 -m venv .venv-peers && .venv-peers/bin/pip install -r requirements-peers.txt; "
            "name another with --peers_python; or leave it out, --peers= and no --nanotrack."
        )
    command = [
        *(str(python), "-m", "benchmarks.run_peer", f"--tracker={name}"),
        *(f"--sequences={_SEQUENCES.value}", f"--output={_OUTPUT.value}"),
        f"--threads={available_cores()}",
        *([f"--nanotrack={_NANOTRACK.value}"] if name == "nanotrack" else []),
    ]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"{name} did not run; the lines above say why.")


def _sha256(path: str) -> str:
    """Of a file, or of all files in a folder."""
    if not Path(path).exists():
        raise ValueError(f"--weights={path}: nothing is there.")
    if Path(path).is_file():
        return file_sha256(path)
    return files_sha256(sorted(file for file in Path(path).iterdir() if file.is_file()))


def _ran_on(manifest: Path) -> str:
    facts = json.loads(manifest.read_text())["made_by"]
    return f"{facts['device']}, {facts['threads']} threads"


if __name__ == "__main__":
    errors.run(main)
