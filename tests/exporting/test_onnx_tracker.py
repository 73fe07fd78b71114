import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

import detweights
from esat_jax.adapters.any_tracker import load_tracker
from esat_jax.tracker import Tracker
from tiny_tracker import make_steady

pytest.importorskip("onnxruntime", reason="needs requirements-export.txt")
onnx = pytest.importorskip("onnx", reason="needs requirements-export.txt")

from esat_jax.exporting.files import export_tracker  # noqa: E402
from esat_jax.exporting.onnx_tracker import OnnxTracker  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
FRAMES = 101


@pytest.fixture(scope="module")
def steady():
    config, variables = make_steady()
    return config.to_dict(), variables


@pytest.fixture(scope="module")
def clip():
    return detweights.video("onnx", FRAMES, 240, 320, (40, 60, 40, 32), (2, 1))


@pytest.fixture(scope="module")
def expected(steady, clip):
    return follow(Tracker(*steady), *clip)


@pytest.fixture(scope="module", params=["float32", "float16"])
def exported(request, steady, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    export_tracker(folder, *steady, target="onnx", dtype=request.param)
    return folder, request.param


def follow(tracker, frames, boxes_xywh):
    """Predictions of all frames but the first; every tenth gives the target anew."""
    found = []
    for i in range(1, len(frames)):
        if i % 10 == 1:  # a network that was never trained loses it soon
            tracker.initialize(frames[i - 1], boxes_xywh[i - 1])
        found.append(tracker.update(frames[i]))
    return found


def test_boxes_of_a_hundred_frames_are_those_of_the_tracker(exported, clip, expected):
    folder, dtype = exported
    found = follow(OnnxTracker(folder, threads=1), *clip)
    ours, theirs = (np.stack([x.box_xywh for x in boxes]) for boxes in (found, expected))
    assert len(np.unique(theirs.round(1), axis=0)) > 80  # few at the frame's corners
    difference_px = np.abs(ours - theirs).max(axis=1)
    scores = np.array([[x.score for x in boxes] for boxes in (found, expected)])
    if dtype == "float16":  # now and then two cells are so near that another one wins
        assert 1e-4 < np.median(difference_px) < 0.05
        assert np.median(np.abs(scores[0] - scores[1])) < 1e-3
        return
    assert difference_px.max() < 0.01
    np.testing.assert_allclose(*scores, atol=1e-5)
    assert [x.lost for x in found] == [x.lost for x in expected]


def test_candidates_are_eliminated_in_the_graph(exported, steady):
    graph = onnx.load(exported[0] / "search.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("TopK") == len(steady[0]["ce"]["layers"]) == 1
    assert len(graph.node) == len({node.name for node in graph.node})


def test_faults_are_told_in_a_sentence_and_leave_the_state(exported, clip):
    frames, boxes_xywh = clip
    tracker = OnnxTracker(exported[0])
    with pytest.raises(ValueError, match="call initialize first"):
        tracker.update(frames[0])
    tracker.initialize(frames[0], boxes_xywh[0])
    for wrong in (frames[1][..., :1], frames[1].astype(np.float32), frames[1][:5]):
        with pytest.raises(ValueError, match="frame must be"):
            tracker.update(wrong)
    with pytest.raises(ValueError, match="outside the frame"):
        tracker.initialize(frames[0], [900, 900, 5, 5])
    after = tracker.update(frames[1])
    again = OnnxTracker(exported[0])
    again.initialize(frames[0], boxes_xywh[0])
    np.testing.assert_array_equal(after.box_xywh, again.update(frames[1]).box_xywh)


def test_adapters_take_the_folder(exported):
    tracker = load_tracker(exported[0])
    assert isinstance(tracker, OnnxTracker)
    with pytest.raises(ValueError, match="there is no whole export here"):
        load_tracker(exported[0].parent)


def test_launch_track_takes_the_folder(exported, steady, clip, tmp_path):
    frames, boxes_xywh = clip[0][:6], clip[1]
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"frames/{number}.png"), frame[..., ::-1])
    folder = tmp_path / "export"
    description = export_tracker(
        folder, *steady, target="onnx", dtype=exported[1], random_part="the box head"
    )
    command = [sys.executable, "-m", "launch.track", f"--weights={folder}", "--annotated=none"]
    command += [f"--source={tmp_path / 'frames'}", f"--output={tmp_path / 'out'}"]
    command += [f"--box={','.join(map(str, boxes_xywh[0]))}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING: the box head is random: the boxes mean nothing.") == 2
    tracker = OnnxTracker(folder)
    tracker.initialize(frames[0], boxes_xywh[0])
    rows = [boxes_xywh[0], *(tracker.update(frame).box_xywh for frame in frames[1:])]
    np.testing.assert_allclose(
        np.loadtxt(tmp_path / "out/boxes.txt", delimiter=","), rows, atol=1e-3
    )
    (folder / description["graphs"]["search"]["file"]).write_bytes(b"")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"error: {folder}/search.onnx: missing or damaged; export it again.\n"
    )


def test_what_holds_no_tracker_is_told_in_a_sentence(exported, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"none: there is no such file\.$"):
        load_tracker(tmp_path / "none")
    monkeypatch.delitem(sys.modules, "esat_jax.exporting.onnx_tracker")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match="onnxruntime is not installed: pip install -r requirem"):
        load_tracker(exported[0])


def test_tracking_with_onnx_does_not_need_jax():
    code = (
        "import sys, esat_jax.exporting.onnx_tracker; assert not {'jax', 'flax'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
