"""GOT-10k's own toolkit runs and scores the tracker on a made-up validation set."""

import json
import subprocess
import sys

import numpy as np
import pytest

from data_pipeline.datasets import make_dataset
from data_pipeline.layout_files import write_sequences
from data_pipeline.scene import SceneRule
from data_pipeline.synthetic import SyntheticDataset
from esat_jax.tracker import Tracker
from tiny_tracker import make_steady, write_tracker

pytest.importorskip("got10k", reason="needs requirements-toolkits.txt")

from got10k.experiments import ExperimentGOT10k

from esat_jax.adapters.got10k import Got10kTracker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights, the data set, and what the toolkit wrote and reported."""
    folder = tmp_path_factory.mktemp("got10k")
    write_tracker(folder, *make_steady())
    made = SyntheticDataset(rule=SceneRule(120, 160, 6), count=3)
    list(write_sequences(made, 3, folder / "data", "got10k_val"))
    experiment = ExperimentGOT10k(
        str(folder / "data/got10k"), "val", str(folder / "results"), str(folder / "reports")
    )
    tracker = Got10kTracker(folder / "tiny.safetensors", name="tiny")
    experiment.run(tracker)
    report = experiment.report([tracker.name])[tracker.name]
    (folder / "report.json").write_text(json.dumps(report["overall"]))
    return folder


def test_its_boxes_are_those_of_the_tracker(folder):
    tracker = Tracker.from_weights(folder / "tiny.safetensors")
    dataset = make_dataset("got10k_val", folder / "data")
    assert len(dataset) == 3
    for i in range(3):
        sequence = dataset[i]
        results = folder / "results/GOT-10k/tiny" / sequence.name
        boxes_xywh = [sequence.boxes_xywh[0]]
        tracker.initialize(sequence.read_frame(0), boxes_xywh[0])
        for k in range(1, 6):
            boxes_xywh.append(tracker.update(sequence.read_frame(k)).box_xywh)
        rows = np.loadtxt(results / f"{sequence.name}_001.txt", delimiter=",")
        # Pillow and OpenCV may decode a pixel differently by 1.
        np.testing.assert_allclose(rows, boxes_xywh, atol=0.5)
        times = np.loadtxt(results / f"{sequence.name}_time.txt")
        assert times.shape == (6,)
        assert (times > 0).all()
        assert len(list(results.iterdir())) == 2  # one run: it is deterministic


def test_its_scores_are_those_of_launch_score(folder):
    report = json.loads((folder / "report.json").read_text())
    command = [
        *(sys.executable, "-m", "launch.score", "--benchmark=got10k_val"),
        *(f"--root={folder / 'data'}", f"--results=tiny={folder / 'results/GOT-10k/tiny'}"),
        f"--output={folder / 'scores'}",
    ]
    subprocess.run(command, check=True, timeout=200, capture_output=True)
    scores = json.loads((folder / "scores/scores.json").read_text())["trackers"]["tiny"]
    ours = {name: score["value"] for name, score in scores["rules"]["got10k"]["scores"].items()}
    assert ours["AO"] == pytest.approx(report["ao"], abs=1e-6)
    assert ours["SR50"] == pytest.approx(report["sr"], abs=1e-6)
    assert scores["frames_per_second"] == pytest.approx(report["speed_fps"], rel=1e-6)
