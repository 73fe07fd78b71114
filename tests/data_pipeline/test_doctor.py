"""Planted faults, and what the doctor says of them."""

import json

import numpy as np
import pytest

import small_datasets as small
from data_pipeline.doctor import (
    examine_dataset,
    examine_sequence,
    examine_together,
    group_stills,
)
from data_pipeline.sequences import Sequence

CLEAN = small.plain_sequence("cat", 20)


def examine(tmp_path, name, tree, frames="decode"):
    """All findings as (is it a fault, kind, sequence) -> text."""
    small.write_folder(tmp_path, tree)
    dataset, findings = examine_dataset(f"{name}:.", str(tmp_path))
    for sequence in dataset:
        findings += examine_sequence(sequence, frames)
    keys = [(finding.fault, finding.kind, finding.sequence) for finding in findings]
    assert len(set(keys)) == len(keys)
    return {key: finding.text for key, finding in zip(keys, findings, strict=True)}


def row(box):
    return small.boxes(20).replace(b"\n7,2,10,8", b"\n" + box)


def file(name, data):
    return CLEAN | {f"cat/{name}": data}


def without(name):
    return {path: data for path, data in CLEAN.items() if path != f"cat/{name}"}


def big(data=b""):
    return data or small.image(8, size=(48, 40))


def cut_short(size=100):
    return small.image(8, size=(300, 300))[:-size]


PLANTED = {  # what: (tree, is it a fault, kind, sentence)
    "negative box": (
        *(file("groundtruth.txt", row(b"7,2,-10,8")), True, "negative box"),
        "1 of 20 boxes, first that of frame 7, have a negative size",
    ),
    "box of no size": (
        *(file("groundtruth.txt", row(b"0,0,0,0")), False, "zero box"),
        "1 of 20 boxes, first that of frame 7, have no area: the target counts as absent",
    ),
    "nan": (
        *(file("groundtruth.txt", row(b"nan,nan,nan,nan")), False, "absent box"),
        "1 of 20 boxes, first that of frame 7, are nan",
    ),
    "1-pixel target": (
        *(file("groundtruth.txt", row(b"7,2,1,1")), False, "tiny box"),
        "1 of 20 boxes, first that of frame 7, are less than 2 px",
    ),
    "box outside the frame": (
        *(file("groundtruth.txt", row(b"32,2,10,8")), True, "box outside"),
        "boxes outside their frame: 1, first that of frame 7",
    ),
    "box left of the frame": (
        *(file("groundtruth.txt", row(b"-10,2,10,8")), True, "box outside"),
        "boxes outside their frame: 1, first that of frame 7",
    ),
    "box of a larger picture": (
        *(file("groundtruth.txt", row(b"7,2,65,8")), True, "huge box"),
        "boxes more than twice as wide or high as their frame: 1, first that of frame 7",
    ),
    "first frame absent": (
        *(file("groundtruth.txt", b"0,0,0,0\n" + small.boxes(19)), False, "no first box"),
        "the first frame has no box",
    ),
    "too short": (
        *(small.plain_sequence("cat", 19), False, "too short"),
        "19 frames, 19 of them visible: training never draws it",
    ),
    "hardly visible": (
        file("groundtruth.txt", small.boxes(4) + b"nan,nan,nan,nan\n" * 16),
        *(False, "too short", "20 frames, 4 of them visible"),
    ),
    "empty frame": (
        *(file("img/8.jpg", b""), True, "empty frame"),
        "empty frames: 1 of 20, first ",
    ),
    "truncated JPEG": (
        *(file("img/8.jpg", cut_short()), True, "damaged frame"),
        "damaged frames: 1, first ",
    ),
    "web page": (
        *(file("img/8.jpg", b"<html>"), True, "damaged frame"),
        "the file is no image",
    ),
    "changed frame size": (
        *(file("img/8.jpg", big()), False, "changing size"),
        "frames have different sizes: 32 x 24, 40 x 48 px",
    ),
    "extra frame": (
        *(file("img/21.jpg", small.image(1)), True, "wrong count"),
        "expected one box for each of the 21 images of the sequence, got 20",
    ),
    "missing frame": (
        *(without("img/8.jpg"), True, "wrong count"),
        "expected one box for each of the 19 images of the sequence, got 20",
    ),
    "absent boxes": (
        *(without("groundtruth.txt") | small.plain_sequence("b", 20), True, "missing file"),
        "cat: a sequence has img/ and groundtruth.txt, and here groundtruth.txt is missing; there "
        "is img.",
    ),
    "other names": (
        {path.replace("cat/img/", "cat/frames/"): data for path, data in CLEAN.items()},
        *(True, "missing file", "and here img is missing; there is frames, groundtruth.txt."),
    ),
    "no sequence": (
        *({"cat/1/a.jpg": small.image(1), "cat/readme": b""}, True, "no sequence"),
        "and here img and groundtruth.txt are missing; there is 1, readme. Rename what is there",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_found(tmp_path, what):
    tree, fault, kind, text = PLANTED[what]
    found = examine(tmp_path, "folders", tree)
    texts = {key: value for key, value in found.items() if key[:2] == (fault, kind)}
    assert texts.keys() == {(fault, kind, "cat")}
    assert text in texts[fault, kind, "cat"]
    # Whatever else is said follows from the same fault, and is no fault.
    assert not [key for key in found if key[0] and key[1] != kind]


@pytest.mark.parametrize("frames", ["none", "exists", "decode"])
def test_a_clean_data_set_has_no_findings(tmp_path, frames):
    assert examine(tmp_path, "folders", CLEAN, frames) == {}


def test_frames_are_looked_at_as_closely_as_asked(tmp_path):
    tree = CLEAN | {"cat/img/8.jpg": cut_short(), "cat/img/9.jpg": b""}
    small.write_folder(tmp_path, tree)
    dataset, _ = examine_dataset("folders:.", str(tmp_path))
    kinds = {
        frames: [finding.kind for finding in examine_sequence(dataset[0], frames)]
        for frames in ("none", "exists", "decode")
    }
    assert kinds == {
        "none": [],
        "exists": ["empty frame"],
        "decode": ["empty frame", "damaged frame"],
    }


@pytest.mark.parametrize("packed", [False, True])
def test_missing_and_superfluous_frames_of_a_numbered_sequence(tmp_path, packed):
    tree = small.lasot_sequence("airplane/airplane-1", 4)
    tree |= small.images("airplane/airplane-1/img", (5, 6))
    del tree["airplane/airplane-1/img/00000003.jpg"]
    if packed:
        tree = {"airplane.zip": small.zip_bytes(tree)}
    found = examine(tmp_path, "lasot_test", tree, "exists")
    text = found[True, "missing frame", "airplane-1"]
    where = "airplane/airplane-1/img/00000003.jpg"
    assert text == f"missing frames: 1 of 4, first {tmp_path / where}. Fetch the sequence again."
    assert "2, first 00000005.jpg" in found[True, "frame without box", "airplane-1"]


def test_a_missing_folder_of_frames_is_one_finding(tmp_path):
    tree = small.lasot_sequence("airplane/airplane-1", 4)
    tree = {path: data for path, data in tree.items() if "/img/" not in path}
    found = examine(tmp_path, "lasot_test", tree)
    assert "img: the folder of its frames is missing" in found[True, "missing frame", "airplane-1"]


def test_missing_sequences_are_counted_and_named(tmp_path):
    found = examine(tmp_path, "lasot_test", small.lasot(), "none")
    text = found[True, "count", ""]
    assert text.startswith("2 sequences are there, 280 belong to the data set; missing are ")
    assert "airplane-9, airplane-13, airplane-15, basketball-1, " in text
    assert "zebra-10" not in text
    found = examine(tmp_path / "got", "got10k_train", small.got10k(), "none")
    assert "4 sequences are there, 9335 belong" in found[True, "count", ""]
    assert "missing are GOT-10k_Train_000003, GOT-10k_Train_000004" in found[True, "count", ""]
    found = examine(tmp_path / "otb", "otb", small.otb(), "none")
    assert "8 sequences are there, 100 belong" in found[True, "count", ""]
    assert "missing are Biker, Bird1, " in found[True, "count", ""]
    found = examine(tmp_path / "net", "trackingnet_train", small.trackingnet(), "none")
    assert "missing are TRAIN_1, TRAIN_10, TRAIN_2" in found[True, "count", ""]
    found = examine(tmp_path / "uav", "uav123", small.uav123(), "none")
    assert "3 sequences are there, 123 belong" in found[True, "count", ""]


def test_a_first_frame_without_a_box_is_a_fault_of_a_test_set(tmp_path):
    tree = small.nfs() | {"anno/nfs_bee.txt": b"0\t0\t0\t0\n1\t2\t10\t8\n"}
    assert (True, "no first box", "nfs_bee") in examine(tmp_path, "nfs", tree)


def test_boxes_kept_secret_are_no_fault(tmp_path):
    found = examine(tmp_path, "got10k_test", small.got10k())
    assert [key for key in found if key[0]] == [(True, "count", "")]
    assert {key[1] for key in found} == {"count", "absent box"}


@pytest.mark.parametrize("name", ["otb", "uav123"])
def test_folders_that_sequences_share_have_no_superfluous_frames(tmp_path, name):
    found = examine(tmp_path, name, getattr(small, name)())
    assert [key for key in found if key[0]] == [(True, "count", "")]


def test_what_is_known_of_published_files_is_said(tmp_path):
    tree = small.lasot_sequence("monkey/monkey-17", 4) | small.images("monkey/monkey-17/img", (5,))
    found = examine(tmp_path / "lasot", "lasot_test", tree)
    assert (
        "known: its annotations end at frame 2260" in found[False, "frame without box", "monkey-17"]
    )
    name = "test_015_Sord_video_Q01_done"
    tree = small.images(f"test/{name}/imgs", range(490, 495), "{:08d}.png")
    tree |= {
        f"test/{name}/imgs/00000492.png": small.image(492, ".png")[:-30],
        f"test/{name}/groundtruth.txt": small.boxes(5),
    }
    text = examine(tmp_path / "tnl2k", "tnl2k_test", tree)[True, "damaged frame", name]
    assert "00000492.png" in text
    assert "known: " in text
    assert "README" in text
    tree = small.images("train/maliao_4-Done/imgs", range(3))
    tree |= {"train/maliao_4-Done/groundtruth.txt": small.boxes(4)}
    found = examine(tmp_path / "train", "tnl2k_train", tree)
    assert "revised_annotations.zip" in found[True, "wrong count", "train/maliao_4-Done"]


def test_a_photograph_is_decoded_once_for_all_its_boxes(tmp_path, monkeypatch):
    calls = []
    read = Sequence.read_frame
    monkeypatch.setattr(Sequence, "read_frame", lambda *args: calls.append(1) or read(*args))
    rows = [{"file": "a.jpg", "boxes": [[1, 2, 9, 8], [40, 2, 9, 8], [1, 30, 9, 8]]}]
    rows += [{"file": "b.jpg", "boxes": [[1, 2, 9, 8]] * 5}, {"file": "a.jpg", "boxes": [[0] * 4]}]
    tree = {"stills.jsonl": small.lines(map(json.dumps, rows)), "stills/a.jpg": small.image(1)}
    small.write_folder(tmp_path, tree | {"stills/b.jpg": b"no image"})
    dataset, findings = examine_dataset("stills:.", str(tmp_path))
    groups = group_stills(dataset)
    assert groups == [[0, 1, 2, 8], [3, 4, 5, 6, 7]]
    for group in groups:
        findings += examine_together([dataset[i] for i in group], "exists")
    assert len(calls) == 2
    assert [(f.fault, f.kind, f.sequence) for f in findings] == [
        (False, "zero box", "a.jpg#0"),
        (True, "box outside", "a.jpg#1"),
        (True, "box outside", "a.jpg#2"),
        (True, "damaged frame", "b.jpg#0"),
    ]
    assert "have no area: training skips and counts them." in findings[0].text


def test_every_damaged_line_of_stills_is_named(tmp_path):
    tree = {"stills.jsonl": b'{"file": "a.jpg", "boxes": [[1, 2, 3, 4]]}\n' + b"oops\n" * 40}
    found = examine(tmp_path, "stills", tree, "none")
    assert found.keys() == {
        (True, "damaged line", f"stills.jsonl, line {number}") for number in range(2, 42)
    }
    text = found[True, "damaged line", "stills.jsonl, line 41"]
    assert text.startswith(f"{tmp_path}/stills.jsonl:41: expected a line such as ")


def test_stills_are_looked_at(tmp_path):
    found = examine(tmp_path, "stills_pseudo", small.stills() | {"stills/3.jpg": b"no image"})
    assert found.keys() == {(True, "damaged frame", "3.jpg#0")}
    (tmp_path / "stills/3.jpg").unlink()
    dataset, _ = examine_dataset("stills_pseudo:.", str(tmp_path))
    kinds = [[finding.kind for finding in examine_sequence(still, "exists")] for still in dataset]
    assert kinds == [[], [], ["missing frame"]]


def test_the_doctor_looks_anew_and_not_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))
    examine(tmp_path, "folders", CLEAN)
    assert not (tmp_path / "cache").exists()


def test_frame_numbers_of_findings_count_from_0(tmp_path):
    found = examine(tmp_path, "folders", file("groundtruth.txt", b"1,2,-3,4\n" + small.boxes(19)))
    assert "first that of frame 0," in found[True, "negative box", "cat"]
    assert np.char.count(found[True, "negative box", "cat"], "\n") == 0
