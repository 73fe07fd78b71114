"""The tool runs as users run it: as a program, with a small network, on videos written here."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import detweights
import kept_programs
from esat_jax.evaluation.manifest import read_frame_scores
from esat_jax.evaluation.result_files import read_results, read_times
from esat_jax.tracker import Tracker
from esat_jax.weights import save_weights
from launch.evaluate import own_share
from tiny_tracker import make_steady, write_tracker

ROOT = pathlib.Path(__file__).parents[2]
FRAMES, BOXES_XYWH = detweights.video("evaluate", 12, 96, 128, (30, 24, 28, 22), (3, 2))
LENGTHS = {"first": 12, "second": 7, "third": 9, "single": 1}


def write_videos(root, lengths):
    """Sequences in the plain form, each with the first frames of one clip and another box."""
    clip = root.parent / "clip"
    clip.mkdir()
    for number, frame in enumerate(FRAMES):
        cv2.imwrite(str(clip / f"{number:05d}.jpg"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    for n, (name, length) in enumerate(lengths.items()):
        (root / name / "img").mkdir(parents=True)
        for i in range(length):
            os.link(clip / f"{i:05d}.jpg", root / name / "img" / f"{i:05d}.jpg")
        x, y, w, h = BOXES_XYWH[0] + (n % 5, n // 5 % 7, 0, n % 3)
        lines = [f"{x},{y},{w},{h}", *["nan,nan,nan,nan"] * (length - 1)]
        (root / name / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tracker(tmp_path_factory.mktemp("weights"), *make_steady())


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Compiled programs that outlive the tool."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def videos(tmp_path):
    return write_videos(tmp_path / "videos", LENGTHS)


def start(weights, videos, output, programs, *arguments):
    command = [sys.executable, "-m", "launch.evaluate", f"--weights={weights}"]
    command += [f"--benchmark=folders:{videos}", f"--output={output}", *arguments]
    environment = {"ESAT_CACHE": str(programs / "indexes"), **kept_programs.variables(programs)}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def read_files(folder):
    """{path: content} of the results, without the times, which differ from run to run."""
    paths = [path for path in folder.rglob("*.txt") if not path.stem.endswith("_time")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_results_are_those_of_the_tracker_and_are_not_made_twice(
    weights, videos, programs, tmp_path
):
    output = tmp_path / "out"
    status, printed, errors = finish(start(weights, videos, output, programs))
    assert status == 0, errors
    assert "0 of 4 sequences are finished already." in printed
    assert "single: 1 frames" in printed
    assert "\n4/4 " in printed
    assert "25 frames searched" in printed

    tracker = Tracker.from_weights(weights)
    results = read_results(output / "esat", "folders", LENGTHS)
    times = read_times(output, "folders", LENGTHS)
    for n, (name, length) in enumerate(LENGTHS.items()):
        folder = videos / name / "img"
        frames = [cv2.imread(str(path))[..., ::-1].copy() for path in sorted(folder.iterdir())]
        box_xywh = BOXES_XYWH[0] + (n % 5, n // 5 % 7, 0, n % 3)
        tracker.initialize(frames[0], box_xywh)
        found = [tracker.update(frame) for frame in frames[1:]]
        expected = np.stack([box_xywh, *(prediction.box_xywh for prediction in found)])
        np.testing.assert_allclose(results[name], expected, rtol=0, atol=1e-3 + 5e-4)
        scores, lost = read_frame_scores(output, "esat", name)
        np.testing.assert_allclose(scores[1:], [p.score for p in found], rtol=0, atol=1e-4)
        assert lost.tolist() == [False, *(p.lost for p in found)]
        assert times[name].shape == (length, 1)
        assert (times[name][1:] > 0).all()

    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.*")}
    status, printed, errors = finish(start(weights, videos, output, programs))
    assert status == 0, errors
    assert "4 of 4 sequences are finished already." in printed
    assert "compile" not in printed
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.*")} == before


def test_a_sequence_that_fails_is_told_and_the_others_finish(weights, videos, programs, tmp_path):
    damaged, output = videos / "second/img/00004.jpg", tmp_path / "out"
    whole = damaged.read_bytes()
    damaged.unlink()  # a link: the other sequences keep their frame
    damaged.write_bytes(whole[:-300])
    absent = videos / "single/groundtruth.txt"
    box = absent.read_text()
    absent.write_text("nan,nan,nan,nan\n")
    status, printed, errors = finish(start(weights, videos, output, programs))
    assert status == 1
    assert "second: failed" in printed
    assert "2 of 4 sequences failed and have no results" in errors
    assert "  single: row 1 with NaN" in errors
    assert "second/img/00004.jpg: the image file is cut short" in errors
    assert "Traceback" not in errors
    names = sorted(path.name for path in output.rglob("*.txt"))
    finished = ("first", "third")
    assert names == [f"{name}{end}.txt" for name in finished for end in ("", "_time")]

    damaged.write_bytes(whole)
    absent.write_text(box)
    status, printed, errors = finish(start(weights, videos, output, programs))
    assert status == 0, errors
    assert "2 of 4 sequences are finished already." in printed
    assert len(read_results(output / "esat", "folders", LENGTHS)["second"]) == 7

    damaged.write_bytes(whole[:-300])
    truth = videos / "second/groundtruth.txt"
    truth.write_text("20,20,30,30\n" + truth.read_text().partition("\n")[2])
    assert finish(start(weights, videos, output, programs, "--sequences=second"))[0] == 1
    names = [path.name for path in output.rglob("*") if path.name.startswith("second")]
    assert names == []  # boxes of what it was before would be scored


def test_other_weights_never_inherit_results(weights, videos, programs, tmp_path):
    output, retrained = tmp_path / "out", tmp_path / "retrained.safetensors"
    some = "--sequences=third,single"
    assert finish(start(weights, videos, output, programs, some))[0] == 0
    before = read_files(output)
    assert sorted(before) == ["esat/single.txt", "esat/third.txt"]
    config, variables = make_steady()
    variables["params"]["box_head"]["offset"]["conv_5"]["bias"] += 0.25
    save_weights(retrained, variables, config.to_dict())
    status, printed, errors = finish(start(retrained, videos, output, programs, some))
    assert (status, printed) == (1, "")
    assert "weights sha256 was" in errors
    assert "--replace" in errors
    assert errors.count("\n") <= 3  # the log's lines, and one sentence
    assert read_files(output) == before

    status, _, errors = finish(start(retrained, videos, output, programs, some, "--replace"))
    assert status == 0, errors
    after = read_files(output)
    assert after["esat/third.txt"] != before["esat/third.txt"]
    assert after["esat/single.txt"] == before["esat/single.txt"]  # the given box alone


@pytest.mark.slow
def test_after_stops_and_kills_at_any_moment_the_files_are_those_of_one_run(
    weights, programs, tmp_path
):
    random.seed(20)
    videos = write_videos(tmp_path / "videos", {f"v{n:03d}": 4 + n % 9 for n in range(150)})
    slowly = "--batch_size=1", "--workers=1"
    status, _, errors = finish(start(weights, videos, tmp_path / "unbroken", programs, *slowly))
    assert status == 0, errors
    unbroken = read_files(tmp_path / "unbroken")
    assert len(unbroken) == 150

    output, records = tmp_path / "broken", tmp_path / "broken/esat_run/frames"
    ends = {signal.SIGKILL: (-9, ""), signal.SIGTERM: (143, "SIGTERM"), signal.SIGINT: (130, "C")}
    finished = 0
    for number in (*[signal.SIGKILL] * 2, signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        process = start(weights, videos, output, programs, *slowly)
        while process.poll() is None and len(list(records.glob("*.json"))) < finished + 5:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(number)
        status, _, errors = finish(process)
        assert status == ends[number][0], errors
        assert "Traceback" not in errors
        if number != signal.SIGKILL:
            assert f"stopped by {ends[number][1]}" in errors.replace("Ctrl-", "")
            assert "the same command does the others" in errors
        partial = read_files(output)
        assert finished < len(partial) < 150
        assert all(unbroken[path] == content for path, content in partial.items())
        finished = len(list(records.glob("*.json")))
    status, printed, errors = finish(start(weights, videos, output, programs, *slowly))
    assert status == 0, errors
    assert f"{finished} of 150 sequences are finished already." in printed
    assert read_files(output) == unbroken


def test_parts_divide_the_sequences_and_their_frames():
    lengths = [900, 100, 300, 200, 400, 500, 100, 300]
    shares = [own_share(lengths, part, 3) for part in (1, 2, 3)]
    assert sorted(place for share in shares for place in share) == list(range(8))
    for share in shares:
        chosen = [lengths[place] for place in share]
        assert chosen == sorted(chosen, reverse=True)
        assert 800 <= sum(chosen) <= 1000
    assert own_share(lengths, 1, 1)[:3] == [0, 5, 4]
    assert own_share([5], 2, 2) == []


def test_wrong_input_ends_in_one_sentence_and_writes_nothing(weights, videos, programs, tmp_path):
    output = tmp_path / "out"
    for change, words in [
        ("--part=3/2", "--part is 1/3, 2/3 or 3/3 for three parts, for example; got '3/2'."),
        (f"--weights={videos / 'first/groundtruth.txt'}", "groundtruth.txt"),
        ("--sequences=first,fourth", "has no sequence 'fourth'"),
        ("--tracker=", "a tracker's name is a part of file names, such as esat; got ''."),
    ]:
        status, printed, errors = finish(start(weights, videos, output, programs, change))
        assert (status, printed) == (1, ""), errors
        assert errors.splitlines()[-1].startswith("error: ")
        assert words in errors
        assert not output.exists()
