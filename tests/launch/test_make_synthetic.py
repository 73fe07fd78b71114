import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.datasets import make_dataset
from tool_run import ROOT, run_tool


def run(*arguments):
    return run_tool(ROOT, "make_synthetic", *arguments)


def test_data_sets_are_written_that_the_readers_open(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    small = ("--sequences=2", "--frames=4", "--width=96", "--height=64")
    layouts = ("--layout=folders", "--layout=lasot_test", "--layout=coco")
    done = run(f"--output={tmp_path}", *layouts, *small)
    assert done.returncode == 0, done.stderr
    assert f"Written: folders, 2 sequences below {tmp_path}." in done.stdout
    sets = [make_dataset(name, tmp_path) for name in ("folders", "lasot_test", "coco")]
    assert [[len(sequence) for sequence in dataset] for dataset in sets] == [[4, 4], [4, 4], [1, 1]]
    frames = [dataset[0].read_frame(0) for dataset in sets]
    assert frames[0].shape == (64, 96, 3)
    assert (frames[0] != frames[1]).mean() > 0.5  # test sets do not repeat training sets

    again = run(f"--output={tmp_path / 'again'}", "--layout=folders", *small)
    assert again.returncode == 0, again.stderr
    copy = make_dataset("folders", tmp_path / "again")
    np.testing.assert_array_equal(copy[1].read_frame(3), sets[0][1].read_frame(3))


def test_wrong_input_ends_in_a_sentence(tmp_path):
    done = run(f"--output={tmp_path}", f"--images={tmp_path}")
    assert done.returncode == 1
    assert "expected images in cutouts/ or stills/, there are none" in done.stderr
    done = run("--output=")
    assert done.returncode == 1
    assert "--output is empty" in done.stderr


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_the_number_of_processes_changes_no_byte(tmp_path):
    small = ("--sequences=5", "--frames=3", "--width=96", "--height=64", "--seed=7")
    layouts = ("--layout=folders", "--layout=got10k_train", "--layout=coco")
    files = {}
    for workers in (0, 1, 3):
        done = run(
            f"--output={tmp_path / str(workers)}", *layouts, *small, f"--num_workers={workers}"
        )
        assert done.returncode == 0, done.stderr
        assert "folders: 100%" in done.stderr
        assert "15/15" in done.stderr  # frames
        files[workers] = contents(tmp_path / str(workers))
    # Of a sequence: 3 frames and boxes, in GOT-10k also 3 labels and its facts; the list; COCO.
    assert len(files[0]) == 5 * 4 + 5 * 8 + 1 + 5 + 1
    assert len({files[0][f"sequences/synthetic000{i}/img/00001.jpg"] for i in range(1, 6)}) == 5
    assert files[1] == files[0]
    assert files[3] == files[0]


def test_what_a_worker_cannot_do_ends_in_its_sentence(tmp_path):
    (tmp_path / "images/cutouts").mkdir(parents=True)
    damaged = tmp_path / "images/cutouts/a.png"
    damaged.write_bytes(b"no picture")
    images = f"--images={tmp_path / 'images'}"
    done = run(f"--output={tmp_path}", images, "--num_workers=2", "--frames=2", "--sequences=20")
    assert done.returncode == 1
    message = f"error: {damaged}: expected an image of 8 bits with alpha; remove it."
    assert done.stderr.splitlines()[-1] == message
    assert "Traceback" not in done.stderr


def children(pid):
    """Processes that `pid` has started, but for the one that counts what they share."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in found
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize("how", ["ctrl-c", "a worker is killed"])
def test_ctrl_c_and_a_dead_worker_end_in_one_sentence(tmp_path, how):
    command = [sys.executable, "-m", "launch.make_synthetic", f"--output={tmp_path}"]
    command += ["--num_workers=2", "--sequences=400", "--frames=20"]
    tool = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob("sequences/*/groundtruth.txt")):
        assert tool.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    workers = children(tool.pid)
    assert len(workers) == 2
    if how == "ctrl-c":  # the terminal sends it to all processes
        os.killpg(tool.pid, signal.SIGINT)
    else:
        os.kill(workers[0], signal.SIGKILL)
    stdout, stderr = tool.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert stdout == ""
    last = stderr.splitlines()[-1]
    if how == "ctrl-c":
        assert (tool.returncode, last) == (130, "stopped.")
    else:
        assert tool.returncode == 1
        assert last.startswith("error: a worker process ended suddenly (")
        assert last.endswith("use fewer workers. The same command writes all of it anew.")
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
