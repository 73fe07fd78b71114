r"""Runs one tracker of others over sequences, for benchmarks.track_accuracy, which calls it.

.venv-peers/bin/python -m benchmarks.run_peer --tracker=csrt --sequences=data/val --output=runs/val

OpenCV's contrib build and ncnn have a Python environment of their own (requirements-peers.txt), as
opencv-contrib-python cannot be installed beside opencv-python. JAX is not needed there.
"""

from pathlib import Path

import cv2
from absl import app, flags

from benchmarks import nanotrack
from benchmarks.opencv_trackers import NAMES, OpenCVTracker
from benchmarks.timed_runs import TimedMaker, files_sha256, run_sequences
from data_pipeline.datasets import make_dataset
from esat_jax.adapters.any_tracker import AnyTracker
from esat_jax.evaluation.manifest import ResultFolder
from launch import errors

_TRACKER = flags.DEFINE_enum("tracker", None, [*NAMES, "nanotrack"], "Which one.", required=True)
_NANOTRACK = flags.DEFINE_string("nanotrack", None, "Folder with NanoTrack's networks for ncnn.")
_SEQUENCES = flags.DEFINE_string("sequences", None, "Folder of sequences.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.", required=True)
_THREADS = flags.DEFINE_integer("threads", 1, "Of OpenCV and ncnn.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Tracks what is not finished."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    cv2.setNumThreads(_THREADS.value)
    name = _TRACKER.value
    facts = {"tracker": name, "device": "cpu", "threads": _THREADS.value, **_settings(name)}
    weights = _networks_sha256(_NANOTRACK.value) if name == "nanotrack" else None
    folder = ResultFolder(_OUTPUT.value, name, TimedMaker("folders", weights, facts))
    dataset = make_dataset(f"folders:{_SEQUENCES.value}")
    sequences = [dataset[i] for i in range(len(dataset))]
    run_sequences(lambda: _make(name), sequences, folder, {"opencv": cv2.__version__}, name)


def _make(name: str) -> AnyTracker:
    try:
        if name == "nanotrack":
            networks = nanotrack.Networks(_NANOTRACK.value, threads=_THREADS.value)
            return nanotrack.NanoTrack(networks)
        return OpenCVTracker(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} cannot run in this Python: {error}.") from error


def _settings(name: str) -> dict[str, object]:
    if name != "nanotrack":
        return {"opencv": cv2.__version__}
    return {
        "penalty": nanotrack.PENALTY,
        "window_share": nanotrack.WINDOW_SHARE,
        "rate": nanotrack.RATE,
    }


def _networks_sha256(folder: str | None) -> str:
    if not folder:
        raise ValueError("--tracker=nanotrack needs --nanotrack=FOLDER, with its networks.")
    return files_sha256(Path(folder, name) for name in nanotrack.FILES)


if __name__ == "__main__":
    errors.run(main)
