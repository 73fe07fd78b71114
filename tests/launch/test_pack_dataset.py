"""The tool runs as users run it: as a program, on a data set of two short videos."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

import detweights
from data_pipeline.datasets import make_dataset
from data_pipeline.packing import Estimate
from launch import pack_dataset


def run(*arguments):
    command = [sys.executable, "-m", "launch.pack_dataset", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


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
    ],
)
def test_wrong_input_ends_in_a_sentence(root, arguments, sentence):
    done = run(f"--root={root}", f"--output={root / 'packed'}", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr


def test_a_disk_that_is_too_small_is_said_before_it_is_full(root):
    dataset = make_dataset("folders", root)
    expected = Estimate(1e15, 0.01, 0.1, 0.0, 0.5, 0, 100)
    with pytest.raises(ValueError, match=r"MB free, 6000000000 MB are needed"):
        pack_dataset.announce(dataset, expected, 3.0, root / "not" / "yet")
