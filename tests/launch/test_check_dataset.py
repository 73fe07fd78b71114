import json
import re

import pytest

import small_datasets as small
from tool_run import ROOT, run_tool


def check(*args):
    return run_tool(ROOT, "check_dataset", *args)


@pytest.fixture
def root(tmp_path):
    small.write_folder(tmp_path / "sequences", small.plain_sequence("cat", 20))
    return tmp_path


def test_a_clean_folder_has_status_0(root):
    done = check(f"--root={root}", "--frames=decode")
    assert done.returncode == 0
    assert done.stdout == (
        "folders: 1 sequences, 20 frames, 20 of them decoded, 0 faults, 0 notes.\n"
    )
    assert done.stderr == ""


def test_faults_are_told_and_have_status_1(root):
    (root / "sequences/cat/img/8.jpg").write_bytes(b"")
    for number in range(4):
        small.write_folder(root / f"sequences/dog{number}", {"groundtruth.txt": b"1;2;3;4"})
    (root / "nfs.zip").write_bytes(small.zip_bytes(small.nfs()))
    done = check(f"--root={root}", "--datasets=folders,nfs,otb,oops,packed:x+otb", "--shown=2")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAULT folders cat: empty frames: 1 of 20, first ")
    assert lines[1].startswith("FAULT folders dog0: ")
    assert "dog0: a sequence has img/ and groundtruth.txt, and here img is missing" in lines[1]
    assert lines[3] == "FAULT folders: 2 more of kind 'missing file'."
    assert lines[4] == "folders: 1 sequences, 20 frames, 1 of them decoded, 5 faults, 0 notes."
    assert lines[5].startswith("FAULT nfs: 1 sequences are there, 100 belong to the data set.")
    assert lines[6].startswith("note nfs nfs_bee: 2 frames, 2 of them visible")
    assert lines[7] == "nfs: 1 sequences, 2 frames, 1 of them decoded, 1 faults, 1 notes."
    assert lines[8].startswith("FAULT otb: ")
    assert lines[9].startswith("FAULT oops: unknown data set 'oops'; did you mean one of ")
    assert lines[10] == (
        "FAULT packed:x+otb: packed data is opened as packed:PATH, and compared with its checksums "
        f"by python -m launch.pack_dataset --verify --output={root}/x."
    )
    assert len(lines) == 11


def test_damaged_photographs_are_found_without_asking(root):
    rows = [{"file": f"{name}.jpg", "boxes": [[1, 2, 9, 8], [3, 4, 9, 8]]} for name in "abc"]
    tree = {f"stills/{name}.jpg": small.image(1) for name in "ab"}
    tree |= {"stills/c.jpg": b"no image", "stills.jsonl": small.lines(map(json.dumps, rows))}
    small.write_folder(root, tree)
    done = check(f"--root={root}")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "folders: 1 sequences, 20 frames, 1 of them decoded, 0 faults, 0 notes."
    assert lines[1].startswith("FAULT stills c.jpg#0: damaged frames: 1, first ")
    assert lines[2] == "stills: 6 boxes on 3 photographs, 3 of them decoded, 1 faults, 0 notes."
    assert len(lines) == 3


def test_a_folder_in_the_wrong_layout_does_not_pass_in_silence(root):
    wrong = {
        "lasot/notes.txt": (b"", r"lasot_train, lasot_test: \S+/lasot: .* expected CLASS/"),
        "got10k/val/x.jpg": (b"", r"got10k_val: .*val/list\.txt.* expected \{train,val,test\}"),
        "otb.zip": (b"PK", r"otb: \S+/otb: no such folder or zip archive .* damaged"),
        "uav123/bird1/1.jpg": (b"", r"uav123: .* expected data_seq/UAV123/VIDEO/000001\.jpg"),
        "sequences/dog/a/1.jpg": (b"", r"folders dog: .* img and groundtruth\.txt are missing"),
        "stills.jsonl": (b"\n", r"stills: .* expected stills\.jsonl with lines"),
    }
    small.write_folder(root, {path: data for path, (data, _) in wrong.items()})
    done = check(f"--root={root}")
    assert (done.returncode, done.stderr) == (1, "")
    faults = [line for line in done.stdout.splitlines() if line.startswith("FAULT ")]
    for line, (_, said) in zip(faults, wrong.values(), strict=True):
        assert re.match(f"FAULT {said}", line), line


def test_a_split_that_is_not_there_is_a_note_and_other_folders_are_named(root):
    small.write_folder(root / "tnl2k", {p: d for p, d in small.tnl2k().items() if "test/" in p})
    small.write_folder(root / "LaSOT", {"a/b": b""})
    lines = check(f"--root={root}", "--frames=none").stdout.splitlines()
    assert lines[0].startswith("FAULT tnl2k_test: 1 sequences are there, 700 belong")
    assert lines[3].startswith("note tnl2k_train: ")
    assert lines[3].endswith("in this folder or archive.")
    assert lines[4] == "folders: 1 sequences, 20 frames, 0 of them decoded, 0 faults, 0 notes."
    assert lines[5].startswith("note not looked at, as no data set has such a name: LaSOT; ")


def test_no_name_is_no_clean_data_set(tmp_path):
    done = check(f"--root={tmp_path}", "--datasets=")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: --datasets names no data set: give names, or all")


def test_a_root_without_data_sets_is_told(tmp_path):
    (tmp_path / "videos").mkdir()
    done = check(f"--root={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: no data set is in '{tmp_path}': expected one of the fol")
    assert "or stills.jsonl, and there is videos; give --root" in done.stderr
    done = check(f"--root={tmp_path}/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/nowhere: no such folder or zip archive")
