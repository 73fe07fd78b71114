import subprocess
import sys
from pathlib import Path

import pytest

import small_datasets as small

ROOT = Path(__file__).parents[2]


def check(*args):
    command = [sys.executable, "-m", "launch.check_dataset", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path):
    small.write_folder(tmp_path / "sequences", small.plain_sequence("cat", 20))
    return tmp_path


def test_a_clean_folder_has_status_0(root):
    done = check(f"--root={root}", "--frames=decode")
    assert done.returncode == 0
    assert done.stdout == "folders: 1 sequences, 20 frames, 0 faults, 0 notes.\n"
    assert done.stderr == ""


def test_faults_are_told_and_have_status_1(root):
    (root / "sequences/cat/img/8.jpg").write_bytes(b"")
    for number in range(4):
        small.write_folder(root / f"sequences/dog{number}", {"groundtruth.txt": b"1;2;3;4"})
    (root / "nfs.zip").write_bytes(small.zip_bytes(small.nfs()))
    done = check(f"--root={root}", "--datasets=folders,nfs,otb,oops", "--shown=2")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAULT folders dog0: ")
    assert "dog0/groundtruth.txt:1: expected four numbers" in lines[0] or "dog0/img" in lines[0]
    assert lines[2] == "FAULT folders: 2 more of kind 'annotation'."
    assert lines[3].startswith("FAULT folders cat: empty frames: 1 of 20, first ")
    assert lines[4] == "folders: 1 sequences, 20 frames, 5 faults, 0 notes."
    assert lines[5].startswith("FAULT nfs: 1 sequences are there, 100 belong to the data set.")
    assert lines[6].startswith("note nfs nfs_bee: 2 frames, 2 of them visible")
    assert lines[7] == "nfs: 1 sequences, 2 frames, 1 faults, 1 notes."
    assert lines[8].startswith("FAULT otb: ")
    assert lines[9].startswith("FAULT oops: unknown data set 'oops'; did you mean one of ")
    assert len(lines) == 10


def test_a_root_without_data_sets_is_told(tmp_path):
    done = check(f"--root={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: no data set is in '{tmp_path}'; give --root")
