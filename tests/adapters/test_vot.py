"""The tracker in the VOT toolkit; without it, what its protocol calls."""

import importlib
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

import detweights
from esat_jax.adapters.vot import VotTracker
from esat_jax.tracker import Tracker
from tiny_tracker import make_steady, write_tracker

ROOT = pathlib.Path(__file__).parents[2]
BOXES = [(40.0, 60.0, 40.0, 32.0), (150.0, 90.0, 30.0, 50.0)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tracker(tmp_path_factory.mktemp("vot"), *make_steady())


@pytest.fixture(scope="module")
def adapter(weights):
    return VotTracker(str(weights))


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Images in memory, and their paths."""
    folder = tmp_path_factory.mktemp("frames")
    images, _ = detweights.video("vot", 4, 200, 260, (40, 60, 40, 32), (3, 1))
    paths = [str(folder / f"{i}.png") for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(path, image[..., ::-1])
    return images, paths


# ------------------------------------------------------------ without the toolkit


def test_objects_are_followed_as_one_at_a_time(weights, adapter, frames):
    images, paths = frames
    expected = []
    tracker = Tracker.from_weights(weights)
    for box in BOXES:
        tracker.initialize(images[0], np.array(box))
        expected.append([tracker.update(image) for image in images[1:]])
    for _ in range(2):  # another sequence begins anew
        given = adapter.init(paths[0], [(box, {}) for box in BOXES])
        assert [box for box, _ in given] == BOXES
        for i, path in enumerate(paths[1:]):
            found = adapter.update({"color": path, "depth": "none.png"}, [])
            for (box, values), one in zip(found, expected, strict=True):
                np.testing.assert_allclose(box, one[i].box_xywh, atol=1e-6)
                assert values == {"confidence": pytest.approx(one[i].score)}
                assert all(type(number) is float for number in box)  # it is pickled


def test_objects_may_appear_later(adapter, frames):
    _, paths = frames
    adapter.init(paths[0], (BOXES[0], {}))
    found = adapter.update(paths[1], [(BOXES[1], {})])
    assert len(found) == 2
    assert found[1] == (BOXES[1], {"confidence": 1.0})
    assert len(adapter.update(paths[2])) == 2


def test_the_toolkit_is_told_what_is_wrong(adapter, frames, tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors: there is no such file"):
        VotTracker(str(tmp_path / "none.safetensors"))
    with pytest.raises(ValueError, match="there is no whole export here"):
        VotTracker(str(tmp_path))
    with pytest.raises(ValueError, match="add `convert = rectangle`"):
        adapter.init(frames[1][0], [([[0, 1], [1, 1]], {})])
    with pytest.raises(ValueError, match=r"none\.png: No such file"):
        adapter.init(str(tmp_path / "none.png"), [(BOXES[0], {})])
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"damaged\.jpg is damaged"):
        adapter.init(str(tmp_path / "damaged.jpg"), [(BOXES[0], {})])


# ------------------------------------------------------------ with the toolkit


def toolkit(*modules):
    for module in modules:
        try:
            importlib.import_module(module)
        except (ImportError, TypeError) as error:  # attributee 0.1.10 raises TypeError
            pytest.skip(f"needs requirements-toolkits.txt: {error}")


def vot(workspace, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-m", "vot", *arguments],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return done.stdout + done.stderr


def write_registry(workspace, weights):
    serve = f'from esat_jax.adapters.vot_trax import serve; serve("{weights}")'
    (workspace / "trackers.ini").write_text(
        "[python]\nlabel = ESAT\nprotocol = python\nconvert = rectangle\n"
        f"command = esat_jax.adapters.vot:VotTracker\narg_path = {weights}\n"
        f"[trax]\nlabel = ESAT\nprotocol = traxpython\npaths = {ROOT}\ncommand = {serve}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["python", "trax"])
def test_vot_test(weights, tmp_path, protocol):
    """Three objects through 50 frames, with the time-out of 30 s that is the toolkit's own."""
    toolkit("vot", "trax")
    write_registry(tmp_path, weights)
    printed = vot(tmp_path, "test", protocol)
    assert "Test concluded successfuly" in printed, printed


@pytest.mark.slow
def test_vot_evaluate(weights, tmp_path, frames):
    toolkit("vot", "trax")
    write_registry(tmp_path, weights)
    (tmp_path / "config.yaml").write_text("registry:\n- ./trackers.ini\nstack: ./stack.yaml\n")
    (tmp_path / "stack.yaml").write_text(
        "title: One run\nexperiments:\n  baseline:\n    type: unsupervised\n    repetitions: 1\n"
    )
    sequence = tmp_path / "sequences/made"
    (sequence / "color").mkdir(parents=True)
    for i, image in enumerate(frames[0]):
        cv2.imwrite(str(sequence / f"color/{i + 1:08d}.png"), image[..., ::-1])
    (sequence / "sequence").write_text("channels.color=color/%08d.png\nfps=30\n")
    row = ",".join(map(str, BOXES[0]))
    (sequence / "groundtruth.txt").write_text(f"{row}\n" * len(frames[0]))
    (tmp_path / "sequences/list.txt").write_text("made\n")
    printed = vot(tmp_path, "evaluate", "--workspace", str(tmp_path), "python", "trax")
    assert "Evaluation concluded successfuly" in printed, printed

    tracker = Tracker.from_weights(weights)
    tracker.initialize(frames[0][0], np.array(BOXES[0]))
    scores = [tracker.update(image).score for image in frames[0][1:]]
    for protocol in ("python", "trax"):
        results = tmp_path / "results" / protocol / "baseline/made"
        assert (results / "made_001.bin").stat().st_size > 0
        found = (results / "made_001_confidence.value").read_text().splitlines()
        np.testing.assert_allclose([float(x) for x in found[1:]], scores, atol=1e-4)
