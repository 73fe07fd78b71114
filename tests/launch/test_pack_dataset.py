"""The tool runs as users run it: as a program, on a data set of two short videos."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import detweights
from data_pipeline.datasets import make_dataset
from data_pipeline.packing import Estimate
from launch import pack_dataset
from tool_run import ROOT, run_tool


def run(*arguments):
    return run_tool(ROOT, "pack_dataset", *arguments)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    for name in ("one", "two"):
        folder = tmp_path / "sequences" / name
        (folder / "img").mkdir(parents=True)
        for number in range(3):
            picture = detweights.smooth_image(f"{name}{number}", 120, 160, cells=(32, 8))
            cv2.imwrite(str(folder / "img" / f"{number}.jpg"), picture)
        np.savetxt(folder / "groundtruth.txt", [(10 + n, 20, 30, 40) for n in range(3)], "%d", ",")
    return tmp_path


def test_costs_are_said_shards_written_and_damage_found(root):
    output = root / "packed"
    packing = (f"--root={root}", "--dataset=folders", f"--output={output}")
    done = run(*packing, "--frames_per_shard=1", "--num_workers=1")
    assert done.returncode == 0, done.stderr
    assert "folders: 2 sequences, 6 frames to pack." in done.stdout
    assert "Disk: " in done.stdout.splitlines()[1]
    assert "Time: 1 min." in done.stdout
    assert "Search crops change by 0." in done.stdout
    assert f"Written: {output}, 6 frames" in done.stdout
    assert "6/6" in done.stderr  # the progress bar
    packed = make_dataset("packed:packed", root)
    assert [len(sequence) for sequence in packed] == [3, 3]
    assert packed[1].read_frame(2).shape == (120, 160, 3)

    done = run(f"--output={output}", "--verify")
    assert (done.returncode, done.stdout.strip()) == (0, "3 of 3 files are as they were written.")
    shard = output / "shard-00001.array_record"
    shard.write_bytes(shard.read_bytes()[:-1])
    done = run(f"--output={output}", "--verify")
    assert done.returncode == 1
    assert f"{shard}: has " in done.stdout
    assert "2 of 3 files" in done.stdout

    done = run(*packing, "--frames_per_shard=1", "--num_workers=1")  # over the damaged shard
    assert done.returncode == 0, done.stderr
    assert run(f"--output={output}", "--verify").returncode == 0
    done = run(f"--root={root}", "--dataset=packed:packed", f"--output={root / 'again'}")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pack the data set that it was made from.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--verify",), "is no packed data set, or one whose packing was stopped"),
        (("--dataset=folder",), "did you mean one of ['folders']"),
        (("--dataset=folders", "--max_target=100", "--keep_files"), "excludes keep_files"),
        (("--dataset=folders", "--output="), "--output is empty"),
    ],
)
def test_wrong_input_ends_in_a_sentence(root, arguments, sentence):
    done = run(f"--root={root}", f"--output={root / 'packed'}", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr


@pytest.fixture
def long_root(tmp_path, monkeypatch):
    """Four videos that take one process a second each."""
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    picture = detweights.smooth_image("long", 480, 640, cells=(64, 8))
    frame = cv2.imencode(".jpg", picture)[1].tobytes()
    for name in "abcd":
        (tmp_path / "sequences" / name / "img").mkdir(parents=True)
        for number in range(80):
            (tmp_path / "sequences" / name / "img" / f"{number}.jpg").write_bytes(frame)
        boxes = [(200, 200, 60, 60)] * 80
        np.savetxt(tmp_path / "sequences" / name / "groundtruth.txt", boxes, "%d", ",")
    return tmp_path


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def group_has_ended(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_a_stopped_packing_leaves_no_process_and_goes_on(long_root, how):
    output = long_root / "packed"
    command = [sys.executable, "-m", "launch.pack_dataset", "--dataset=folders", "--num_workers=2"]
    command += [f"--root={long_root}", f"--output={output}", "--frames_per_shard=80"]
    tool = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list(output.glob("shard-*.json")) or tool.poll() is not None)
    if how == "ctrl-c":  # the terminal sends it to all processes
        os.killpg(tool.pid, signal.SIGINT)
    else:
        tool.kill()
    _, stderr = tool.communicate(timeout=60)
    wait_for(lambda: group_has_ended(tool.pid))
    assert "Traceback" not in stderr
    done = sorted(output.glob("shard-*.json"))
    assert 1 <= len(done) < 4
    shards = [path.with_suffix(".array_record") for path in done]
    if how == "ctrl-c":
        assert (tool.returncode, stderr.splitlines()[-1]) == (130, "stopped.")
        files = {path.name for path in output.iterdir()}
        whole = {shard.name for shard in shards} | {path.name for path in done} | {"packing.json"}
        assert whole <= files
        # A shard that was whole before its note was written is made again; no part is left.
        assert all(name.endswith(".array_record") for name in files - whole)
    before = {path: path.stat().st_mtime_ns for path in shards}
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run(f"--output={output}", "--verify").returncode == 0
    assert make_dataset("packed:packed", long_root).lengths.tolist() == [80] * 4


def test_more_faulty_frames_than_allowed_end_in_a_sentence(root):
    for number in range(6, 20):
        name = root / "sequences" / "one" / "img" / f"{number}.jpg"
        name.write_bytes(b"")
    boxes = [(10 + n, 20, 30, 40) for n in range(17)]
    np.savetxt(root / "sequences" / "one" / "groundtruth.txt", boxes, "%d", ",")
    arguments = f"--root={root}", "--dataset=folders", f"--output={root / 'packed'}"
    done = run(*arguments)
    assert done.returncode == 1
    assert "Not packed: 14 frames (empty 14). (1) " in done.stdout
    assert done.stderr.splitlines()[-1] == (
        f"error: 14 of 20 frames are not in {root / 'packed'}, more than the 10 that "
        "config.data.max_skip_share allows: repair them and pack into another folder."
    )
    done = run(*arguments, "--config.data.max_skip_share=0.5")
    assert done.returncode == 0
    assert "Not packed: 14 frames" in done.stdout


def test_a_disk_that_is_too_small_is_said_before_it_is_full(root):
    dataset = make_dataset("folders", root)
    expected = Estimate(1e15, 0.01, 0.1, 0.0, 0.5, 0, 100)
    with pytest.raises(ValueError, match=r"MB free, 6000000000 MB are needed"):
        pack_dataset.announce(dataset, expected, 3.0, root / "not" / "yet")
