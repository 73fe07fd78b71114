"""Results and scores against the GOT-10k toolkit itself, on a made-up val folder."""

import numpy as np
import pytest

import small_datasets as small
from esat_jax.evaluation import got10k
from esat_jax.evaluation.result_files import read_runs, read_times, write_result
from launch.benchmark_truth import read_truths

NAMES = [f"GOT-10k_Val_{number:06d}" for number in range(1, 7)]
SIZE = 320, 240


@pytest.fixture
def toolkit(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    why = "the GOT-10k toolkit is not installed; pip install got10k six"
    return pytest.importorskip("got10k.experiments", reason=why)


def make_val(root, rng):
    """Sequences whose targets leave the frame, hide, and are missed; results of two runs."""
    tree, results = {"got10k/val/list.txt": small.lines(NAMES)}, {}
    for name in NAMES:
        count = int(rng.integers(20, 60))
        boxes = np.array([150, 100, 60, 50]) + np.cumsum(rng.normal(0, 12, (count, 4)), axis=0)
        boxes[:, 2:] = np.maximum(np.abs(boxes[:, 2:]), 0.5)
        cover = rng.integers(0, 9, count)
        boxes[cover == 0] = np.where(rng.random() < 0.5, 0, boxes[cover == 0])
        boxes = np.round(boxes, 4)
        folder = f"got10k/val/{name}"
        tree |= {f"{folder}/{number:08d}.jpg": b"" for number in range(1, count + 1)}
        tree[f"{folder}/groundtruth.txt"] = small.lines(
            ",".join(f"{value:.4f}" for value in row) for row in boxes
        )
        tree[f"{folder}/cover.label"] = small.lines(cover)
        for label in ("absence", "cut_by_image"):
            tree[f"{folder}/{label}.label"] = small.lines((cover == 0).astype(int))
        tree[f"{folder}/meta_info.ini"] = f"[METAINFO]\nresolution: {SIZE}\n".encode()
        noise = rng.normal(0, 6, (2, count, 4)) * (rng.random((2, count, 1)) < 0.8)
        results[name] = boxes + noise
        results[name][..., 2:] = np.maximum(results[name][..., 2:], 0.01)
    small.write_folder(root, tree)
    return results


def test_the_toolkit_reads_our_files_and_gives_our_scores(toolkit, tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(7)
    for name, runs in make_val(tmp_path, rng).items():
        times = rng.uniform(0.005, 0.05, runs.shape[1])
        results = tmp_path / "results/GOT-10k"
        write_result(results, "got10k_val", "ours", name, runs[0], times)
        if name == NAMES[2]:  # its frames count twice
            write_result(results, "got10k_val", "ours", name, runs[1], run=2)
    experiment = toolkit.ExperimentGOT10k(
        str(tmp_path / "got10k"),
        subset="val",
        result_dir=str(tmp_path / "results"),
        report_dir=str(tmp_path / "reports"),
    )
    said = experiment.report(["ours"])["ours"]
    truths = read_truths("got10k_val", tmp_path)
    scores = got10k.score(truths, read_runs(results, "got10k_val", truths))
    assert 0.3 < scores["AO"] < 0.95
    assert scores["AO"] == pytest.approx(said["overall"]["ao"], abs=1e-12)
    assert scores["SR50"] == pytest.approx(said["overall"]["sr"], abs=1e-12)
    curve = scores.curves["success"].mean
    np.testing.assert_allclose(curve, said["overall"]["succ_curve"], atol=1e-12)
    for row, name in enumerate(scores.sequences):
        ao = scores.measures["AO"].values[row]
        assert ao == pytest.approx(said["seq_wise"][name]["ao"], abs=1e-12)
    speed = got10k.speed(list(read_times(results, "got10k_val", truths).values()))
    assert speed == pytest.approx(said["overall"]["speed_fps"], rel=1e-9)
