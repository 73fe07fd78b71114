"""The tool runs as users run it: as a program, with a small network, on files written here."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import jax
import numpy as np
import pytest

import detweights
from configs import esat_vit_b256
from esat_jax.initial_variables import initial_variables
from esat_jax.tracker import Tracker
from esat_jax.weights import save_weights

ROOT = pathlib.Path(__file__).parents[2]
FRAMES, BOXES_XYWH = detweights.video("track", 10, 96, 128, (30, 24, 28, 22), (3, 2))
BOX = ",".join(map(str, BOXES_XYWH[0]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    config = esat_vit_b256.get_config("smoke").to_dict()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, initial_variables(config, seed=0), config)
    return path


def write_images(folder, frames):
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def write_video(path, frames, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 15, (128, 96))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def command(*arguments):
    return [sys.executable, "-m", "launch.track", *map(str, arguments)]


def environment():
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def run_track(*arguments):
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def read_scores(output):
    return [line.split(",") for line in (output / "scores.txt").read_text().splitlines()]


def decode(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read()[1]) is not None:
        frames.append(frame)
    return frames


def test_a_video_gives_boxes_scores_and_an_annotated_video(weights, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", FRAMES)
    output = tmp_path / "results"
    done = run_track(
        f"--weights={weights}", f"--source={clip}", f"--box={BOX}", f"--output={output}"
    )
    assert done.returncode == 0, done.stderr
    assert "10 frames" in done.stdout
    assert "random" not in done.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["annotated.mp4", "boxes.txt", "scores.txt"]

    tracker = Tracker.from_weights(weights)
    frames = [frame[..., ::-1].copy() for frame in decode(clip)]
    tracker.initialize(frames[0], BOXES_XYWH[0])
    predictions = [tracker.update(frame) for frame in frames[1:]]
    rows = [BOXES_XYWH[0], *(p.box_xywh for p in predictions)]
    expected = "".join(",".join(f"{number:.3f}" for number in row) + "\n" for row in rows)
    assert (output / "boxes.txt").read_text() == expected
    first, *others = read_scores(output)
    assert first == ["0", "nan", "0", "given"]
    for number, (row, prediction) in enumerate(zip(others, predictions, strict=True), start=1):
        assert row == [
            str(number),
            f"{prediction.score:.4f}",
            str(int(prediction.lost)),
            "tracked",
        ]
    annotated = decode(output / "annotated.mp4")
    assert [frame.shape for frame in annotated] == [(288, 384, 3)] * 10  # enlarged to be legible


def test_a_damaged_image_is_named_and_keeps_its_row(weights, tmp_path):
    folder = write_images(tmp_path / "images", FRAMES[:6])
    (folder / "3.jpg").write_bytes((folder / "3.jpg").read_bytes()[:-200])
    output = tmp_path / "results"
    done = run_track(
        *(f"--weights={weights}", f"--source={folder}", f"--box={BOX}", f"--output={output}"),
        "--annotated=frames",
    )
    assert done.returncode == 0, done.stderr
    assert "3.jpg is damaged" in done.stderr
    assert "1 damaged" in done.stdout
    boxes = (output / "boxes.txt").read_text().splitlines()
    assert len(boxes) == 6
    assert boxes[3] == boxes[2]
    assert boxes[4] != boxes[3]
    scores = read_scores(output)
    assert scores[3] == ["3", "nan", "1", "damaged"]
    assert [row[3] for row in scores] == ["given", *["tracked"] * 2, "damaged", *["tracked"] * 2]
    names = sorted(path.name for path in (output / "annotated").iterdir())
    assert names == [f"{number:08d}.jpg" for number in range(6)]


def test_a_picture_too_small_to_track_in_is_damaged(weights, tmp_path):
    folder, output = write_images(tmp_path / "images", FRAMES[:4]), tmp_path / "results"
    cv2.imwrite(str(folder / "2.jpg"), FRAMES[2][:9, :9])
    done = run_track(
        *(f"--weights={weights}", f"--source={folder}", f"--box={BOX}", f"--output={output}"),
        "--annotated=frames",
    )
    assert done.returncode == 0, done.stderr
    reason = "a frame must be larger than 10 px each way, got 9 x 9"
    assert f"2.jpg is damaged ({reason}): the box before it is kept." in done.stderr
    assert [row[3] for row in read_scores(output)] == ["given", "tracked", "damaged", "tracked"]
    images = [cv2.imread(str(path)) for path in sorted((output / "annotated").iterdir())]
    assert [image.shape for image in images] == [(288, 384, 3)] * 4


def test_an_error_names_the_frame_and_the_partial_files_and_leaves_earlier_ones(weights, tmp_path):
    config = esat_vit_b256.get_config("smoke").to_dict()
    diverged = jax.tree.map(lambda x: x * np.nan, initial_variables(config, seed=0))
    save_weights(tmp_path / "diverged.safetensors", diverged, config)
    folder, output = write_images(tmp_path / "images", FRAMES[:4]), tmp_path / "results"
    rest = f"--source={folder}", f"--box={BOX}", f"--output={output}", "--annotated=frames"
    assert run_track(f"--weights={weights}", *rest).returncode == 0
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    done = run_track(f"--weights={tmp_path / 'diverged.safetensors'}", *rest)
    assert done.returncode == 1
    assert "error: 1.jpg: the network's box" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("Stopped; this part was kept: ")
    partial = ["boxes.partial.txt", "scores.partial.txt", "annotated.partial"]
    assert done.stdout.split()[5:] == [str(output / name) for name in partial]
    assert all((output / name).exists() for name in partial)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_whole_run_replaces_the_frames_of_an_earlier_one(weights, tmp_path):
    folder, output = write_images(tmp_path / "images", FRAMES[:5]), tmp_path / "results"
    given = f"--source={folder}", f"--box={BOX}", f"--output={output}", "--annotated=frames"
    for start in (0, 3):
        done = run_track(f"--weights={weights}", *given, f"--start_frame={start}")
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["annotated", "boxes.txt", "scores.txt"]
    images = sorted(path.name for path in (output / "annotated").iterdir())
    assert images == ["00000003.jpg", "00000004.jpg"]
    assert [row[0] for row in read_scores(output)] == ["3", "4"]


def test_frames_that_a_damaged_avi_lacks_are_counted(weights, tmp_path):
    clip = write_video(tmp_path / "clip.avi", FRAMES.repeat(3, axis=0), codec="MJPG")
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 8] = np.random.default_rng(0).bytes(len(data) // 8)
    clip.write_bytes(data)
    output = tmp_path / "results"
    done = run_track(
        *(f"--weights={weights}", f"--source={clip}", f"--box={BOX}", f"--output={output}"),
        "--annotated=none",
    )
    assert done.returncode == 0, done.stderr
    missing = 30 - len(read_scores(output))
    assert 0 < missing < 8
    assert f"announces 30 frames, so {missing} more are missing" in done.stdout


def test_a_part_of_a_source_is_tracked_without_pictures_by_random_weights(tmp_path):
    folder, output = write_images(tmp_path / "images", FRAMES), tmp_path / "results"
    done = run_track(
        *("--config=configs/esat_vit_b256.py:smoke", f"--source={folder}", f"--box={BOX}"),
        *(f"--output={output}", "--annotated=none", "--start_frame=2", "--max_frames=3"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING: weights are random: the boxes mean nothing.") == 2
    assert sorted(path.name for path in output.iterdir()) == ["boxes.txt", "scores.txt"]
    assert [row[0] for row in read_scores(output)] == ["2", "3", "4"]


def test_every_run_of_weights_with_a_random_box_head_says_so(tmp_path):
    config = esat_vit_b256.get_config("smoke").to_dict()
    path, initial = tmp_path / "start.safetensors", ["params/box_head/score/conv_5/kernel"]
    save_weights(path, initial_variables(config, seed=0), config, initial)
    images = write_images(tmp_path / "images", FRAMES[:2])
    done = run_track(
        f"--weights={path}", f"--source={images}", f"--box={BOX}", f"--output={tmp_path / 'out'}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING: the box head is random: the boxes mean nothing.") == 2


def test_ctrl_c_leaves_nothing_that_looks_whole(weights, tmp_path):
    source, output = write_images(tmp_path / "images", FRAMES.repeat(100, axis=0)), tmp_path / "out"
    running = subprocess.Popen(
        command(f"--weights={weights}", f"--source={source}", f"--box={BOX}", f"--output={output}"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    video = output / "annotated.partial.mp4"
    while not (video.exists() and video.stat().st_size > 1000) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    names = sorted(path.name for path in output.iterdir())
    assert names == ["annotated.partial.mp4", "boxes.partial.txt", "scores.partial.txt"]
    assert all(name in out for name in names)
    rows = (output / "boxes.partial.txt").read_text().splitlines()
    assert 1 <= len(rows) < 1000
    assert len((output / "scores.partial.txt").read_text().splitlines()) == len(rows)


def test_wrong_input_ends_in_one_sentence_and_writes_nothing(weights, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", FRAMES)
    folder = write_images(tmp_path / "images", FRAMES[:2])
    (folder / "0.jpg").write_bytes(b"")
    output = tmp_path / "results"
    good = {"weights": weights, "source": clip, "box": BOX, "output": output}
    for change, words in [
        ({"box": None}, "there is no display to draw the box on"),
        ({"box": "1,2,3"}, "--box is x,y,width,height in px"),
        ({"box": "500,0,9,9"}, "outside the frame of 128 x 96 px"),
        ({"box": "0,0,16000,16000"}, "a crop of 4 times box (0, 0, 16000, 16000) has a side of"),
        ({"source": tmp_path / "no.mp4"}, "no.mp4: no such video file"),
        ({"source": folder}, "0.jpg is damaged (it cannot be decoded): begin at a later one"),
        ({"start_frame": 10}, "count from 0 to 9, got start_frame 10"),
        ({"weights": clip}, "clip.mp4"),
        ({"weights": None}, "give either --weights=FILE, or --config=FILE"),
    ]:
        given = {key: value for key, value in (good | change).items() if value is not None}
        done = run_track(*(f"--{key}={value}" for key, value in given.items()))
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert not output.exists()
