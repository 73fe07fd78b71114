import zipfile

import pytest

import small_datasets as small
from tool_run import ROOT, run_tool

NAME = "GOT-10k_Test_000001"


def submit(*args, root):
    return run_tool(ROOT, "submit", f"--root={root}", *args)


@pytest.fixture
def root(tmp_path):
    small.write_folder(tmp_path / "got10k", small.got10k())
    small.write_folder(tmp_path / "trackingnet", small.trackingnet())
    small.write_folder(
        tmp_path / "raw",
        {
            f"got10k/{NAME}.txt": b"0\t2\t10\t8\n1\t2\t10\t8\n2\t2\t10\t8\n",
            f"got10k/{NAME}_time.txt": b"0.1\n0.02\n0.02\n",
            "trackingnet/tt_2.txt": small.boxes(11),
        },
    )
    return tmp_path


def test_archives_are_made_of_the_data_sets_sequences_and_pass(root):
    for benchmark, count in (("got10k_test", 180), ("trackingnet_test", 511)):
        out = root / f"{benchmark}.zip"
        raw = root / "raw" / benchmark.removesuffix("_test")
        done = submit(f"--benchmark={benchmark}", f"--results={raw}", f"--output={out}", root=root)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"note: the data set here has 1 of its {count} sequences; the server wants all, and "
            "only these are looked at.",
            f"{out}: 1 sequences of {benchmark} expected, 0 faults.",
        ]
        done = submit(f"--benchmark={benchmark}", f"--check={out}", root=root)
        assert (done.returncode, done.stdout[-10:]) == (0, "0 faults.\n")
    with zipfile.ZipFile(root / "got10k_test.zip") as archive:
        assert archive.namelist() == [f"{NAME}/{NAME}_001.txt", f"{NAME}/{NAME}_time.txt"]
        assert archive.read(f"{NAME}/{NAME}_001.txt") == b"0,2,10,8\n1,2,10,8\n2,2,10,8\n"


def test_faults_are_told_by_kind_and_no_archive_is_left(root):
    (root / f"raw/got10k/{NAME}.txt").write_text("9,2,10,8\n1,2,nan,8\n")
    out = root / "out.zip"
    args = f"--results={root / 'raw/got10k'}", f"--output={out}"
    done = submit("--benchmark=got10k_test", *args, root=root)
    assert done.returncode == 1
    entry = f"{NAME}/{NAME}_001.txt"
    assert done.stdout.splitlines()[1:] == [
        f"FAULT nan: {entry}: row 2 with NaN: 1,2,nan,8",
        f"FAULT short: {entry}: 2 rows for 3 frames",
        f"note first box: {entry}: row 1 is 9,2,10,8, the given box is 0,2,10,8",
    ]
    assert done.stderr.endswith("error: the results have 2 faults; no archive was written.\n")
    assert not out.exists()
    done = submit("--benchmark=got10k_test", f"--check={root / 'none.zip'}", root=root)
    assert done.returncode == 1
    assert done.stderr.endswith("none.zip: No such file or directory\n")


def test_a_list_of_frames_stands_in_for_the_data_set(tmp_path):
    names = [f"video_{number}" for number in range(8)]
    (tmp_path / "frames.txt").write_text("".join(f"{name},2\n" for name in names))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("video_0.txt", "1,2,3,4\n1,2,3,4\n")
    args = "--benchmark=trackingnet_test", f"--frames={tmp_path / 'frames.txt'}", "--shown=2"
    done = submit(*args, f"--check={tmp_path / 'x.zip'}", root="")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "FAULT missing: video_1: video_1.txt is not there",
        "FAULT missing: video_2: video_2.txt is not there",
        "FAULT missing: 5 more.",
        f"{tmp_path / 'x.zip'}: 8 sequences of trackingnet_test expected, 7 faults.",
    ]
    (tmp_path / "frames.txt").write_text("video_0,2\nvideo_1,two\n")
    done = submit(*args, f"--check={tmp_path / 'x.zip'}", root="")
    assert "frames.txt:2: expected NAME,FRAMES once for each sequence, got 'vi" in done.stderr


def test_wrong_flags_are_one_sentence(tmp_path):
    done = submit("--benchmark=lasot_test", "--check=x.zip", root=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: lasot_test has no server; --benchmark is got10k_test or trackingnet_test.\n"
    )
    done = submit("--benchmark=got10k_test", "--results=x", root=tmp_path)
    assert done.stderr.startswith("error: give either --check=ZIP, or --results=FOLDER and")
