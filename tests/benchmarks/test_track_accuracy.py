"""The table as users make it, with small networks on made-up sequences."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import detweights
import kept_programs
from esat_jax.weights import save_weights
from tiny_tracker import make_steady

ROOT = Path(__file__).parents[2]
NAMES = ("left", "right", "still")
VELOCITIES = ((-3, 1), (3, 2), (0, 0))
FRAMES = 8
PEERS_PYTHON = Path(os.environ.get("ESAT_PEERS_PYTHON", ROOT / ".venv-peers/bin/python"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sequences, and two weights files, one and two."""
    folder = tmp_path_factory.mktemp("accuracy")
    for name, velocity in zip(NAMES, VELOCITIES, strict=True):
        made = detweights.video(name, FRAMES, 120, 160, (60, 40, 40, 32), velocity)
        images = folder / "sequences" / name / "img"
        images.mkdir(parents=True)
        for number, frame in enumerate(made[0], start=1):
            cv2.imwrite(str(images / f"{number:05d}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        np.savetxt(images.parent / "groundtruth.txt", made[1], fmt="%d", delimiter=",")
    for name, window in (("one", 4.0), ("two", 2.0)):
        config, variables = make_steady(**{"search.factor": window})
        save_weights(folder / f"{name}.safetensors", variables, config.to_dict())
    return folder


def run_benchmark(folder, cache, *flags):
    command = [sys.executable, "-m", "benchmarks.track_accuracy", *map(str, flags)]
    command += [f"--sequences={folder / 'sequences'}", f"--output={folder / 'out'}"]
    environment = os.environ | {"ESAT_CACHE": str(folder / "cache")}
    environment |= kept_programs.variables(cache)
    return subprocess.run(
        *(command,),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )


@pytest.fixture(scope="module")
def done(folder, program_cache):
    weights = f"{folder / 'one.safetensors'},{folder / 'two.safetensors'}"
    done = run_benchmark(folder, program_cache, f"--weights={weights}", "--peers=")
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "out/accuracy.json").read_text())["trackers"]


def expected_auc(truth, boxes):
    """By hand: shares of frames above 21 overlaps, pixels of both borders counted."""
    overlaps = [1.0]  # of the given box
    for (ax, ay, aw, ah), (bx, by, bw, bh) in list(zip(truth, boxes, strict=True))[1:]:
        width = min(ax + aw - 1, bx + bw - 1) - max(ax, bx) + 1
        height = min(ay + ah - 1, by + bh - 1) - max(ay, by) + 1
        common = max(width, 0) * max(height, 0)
        overlaps.append(common / (aw * ah + bw * bh - common))
    shares = [sum(o > k / 20 for o in overlaps) / len(overlaps) for k in range(21)]
    return sum(shares) / 21


def files(folder, tracker):
    read = {}
    for name in NAMES:
        truth = np.loadtxt(folder / "sequences" / name / "groundtruth.txt", delimiter=",")
        boxes = np.loadtxt(folder / "out" / tracker / f"{name}.txt", delimiter=",")
        read[name] = truth, boxes
    return read


def test_auc_is_that_of_the_result_files_and_the_first_frame_is_given(folder, done):
    for row, tracker in zip(done[1], ("one", "two"), strict=True):
        assert row["tracker"] == tracker
        expected = {}
        for name, (truth, boxes) in files(folder, tracker).items():
            np.testing.assert_array_equal(truth[0], boxes[0])
            expected[name] = expected_auc(truth, boxes)
        assert row["AUC_by_sequence"] == pytest.approx(expected)
        assert row["AUC"]["value"] == pytest.approx(np.mean(list(expected.values())))
    assert done[1][0]["AUC"]["value"] != done[1][1]["AUC"]["value"]


def test_intervals_are_those_of_all_draws_of_three_sequences(folder, done):
    one, two = (np.array(list(row["AUC_by_sequence"].values())) for row in done[1])

    def bounds(values):
        # All 27 equally likely draws: the lowest and the highest are 1 / 27 > 2.5 % of them.
        means = [values[list(drawn)].mean() for drawn in itertools.product(range(3), repeat=3)]
        return [min(means), max(means)]

    assert [done[1][0]["AUC"][key] for key in ("low", "high")] == pytest.approx(bounds(one))
    against = done[1][1]["first_minus_this"]
    assert against["value"] == pytest.approx((one - two).mean())
    assert [against[key] for key in ("low", "high")] == pytest.approx(bounds(one - two))
    assert "first_minus_this" not in done[1][0]


def test_overlaps_of_goten_leave_out_the_first_frame(folder, done):
    for row in done[1]:
        overlaps = []
        for truth, boxes in files(folder, row["tracker"]).values():
            for (ax, ay, aw, ah), (bx, by, bw, bh) in list(zip(truth, boxes, strict=True))[1:]:
                width = max(min(ax + aw, bx + bw) - max(ax, bx), 0)
                height = max(min(ay + ah, by + bh) - max(ay, by), 0)
                overlaps.append(width * height / (aw * ah + bw * bh - width * height))
        assert row["AO"]["value"] == pytest.approx(np.mean(overlaps))
        assert row["SR50"]["value"] == pytest.approx(np.mean(np.array(overlaps) > 0.5))


def test_frames_a_second_are_those_of_the_times_without_first_frames(folder, done):
    for row in done[1]:
        times = [np.loadtxt(folder / "out" / row["tracker"] / f"{n}_time.txt") for n in NAMES]
        spent = sum(seconds[1:].sum() for seconds in times)
        assert row["frames_per_second"] == pytest.approx(3 * (FRAMES - 1) / spent)
        assert row["on"].startswith("cpu, ")


def test_the_table_is_printed_and_written(folder, done):
    text = (folder / "out/accuracy.md").read_text()
    assert done[0].stdout.endswith(text)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    for row in done[1]:
        assert f"{100 * row['AUC']['value']:.2f} [" in rows[row["tracker"]]
    assert f"{100 * done[1][1]['first_minus_this']['value']:+.2f} [" in rows["two"]
    for name in NAMES:
        assert f"{100 * done[1][0]['AUC_by_sequence'][name]:.1f}" in rows[name]


def test_finished_results_serve_until_the_weights_are_others(folder, done, program_cache, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    weights = f"{tmp_path / 'one.safetensors'},{tmp_path / 'two.safetensors'}"
    again = run_benchmark(tmp_path, program_cache, f"--weights={weights}", "--peers=")
    assert again.returncode == 0, again.stderr
    assert "one: 3 of 3 sequences are finished already." in again.stdout
    assert "two: 0 of 3 sequences are finished already." in again.stdout
    one, two = json.loads((tmp_path / "out/accuracy.json").read_text())["trackers"]
    assert one == done[1][0]
    assert two["AUC_by_sequence"] == one["AUC_by_sequence"]


def test_what_is_missing_is_said_in_a_sentence(folder, program_cache):
    missing = run_benchmark(folder, program_cache, "--peers_python=nowhere/python")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: csrt needs a Python environment of its own")
    assert "pip install -r requirements-peers.txt" in missing.stderr
    # The Python of the tests has opencv-python, which is without CSRT.
    here = run_benchmark(folder, program_cache, f"--peers_python={sys.executable}", "--peers=csrt")
    assert here.returncode == 1
    assert "error: this build of OpenCV has no TrackerCSRT_create" in here.stderr
    same = f"{folder / 'one.safetensors'},{folder / 'one.safetensors'}"
    twice = run_benchmark(folder, program_cache, f"--weights={same}", "--peers=")
    assert "another tracker is called 'one' too" in twice.stderr


@pytest.mark.skipif(
    not PEERS_PYTHON.exists(), reason="needs .venv-peers or ESAT_PEERS_PYTHON, with peers installed"
)
def test_trackers_of_opencv_follow_a_moving_target(folder, program_cache):
    done = run_benchmark(folder, program_cache, f"--peers_python={PEERS_PYTHON}")
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "out/accuracy.json").read_text())["trackers"]
    assert [row["tracker"] for row in rows] == ["csrt", "kcf"]
    for row in rows:
        assert min(row["AUC_by_sequence"].values()) > 0.6
