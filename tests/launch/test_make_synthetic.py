import subprocess
import sys

import numpy as np

from data_pipeline.datasets import make_dataset


def run(*arguments):
    command = [sys.executable, "-m", "launch.make_synthetic", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


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
