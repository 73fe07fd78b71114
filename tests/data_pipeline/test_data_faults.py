"""Planted faults: each ends in one sentence that names the file and says what to do."""

import os
import re

import numpy as np
import pytest

import small_datasets as small
from data_pipeline.datasets import make_dataset
from data_pipeline.sequences import FrameError

NON_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))


def put(path, data):
    def change(tree):
        tree[path] = data

    return change


def drop(path):
    def change(tree):
        del tree[path]

    return change


def replace(path, old, new):
    def change(tree):
        assert old in tree[path]
        tree[path] = tree[path].replace(old, new)

    return change


def move(old, new):
    def change(tree):
        for path in [path for path in tree if path.startswith(old)]:
            tree[new + path.removeprefix(old)] = tree.pop(path)

    return change


LASOT, GOT = "airplane/airplane-2", "train/GOT-10k_Train_000001"
ANNOTATION_FAULTS = {  # kind: (data set, its tree, fault, what is said)
    "wrong delimiter": (
        *("folders", small.folders, replace("my dog/groundtruth.txt", b",", b";")),
        r"my dog/groundtruth\.txt:1: expected four numbers 'x,y,w,h' in pixels, got '0;2;10;8'",
    ),
    "empty boxes": (
        *("folders", small.folders, put("my dog/groundtruth.txt", b"")),
        r"my dog/groundtruth\.txt: expected one box per frame, the file is empty",
    ),
    "binary boxes": (
        *("nfs", small.nfs, put("anno/nfs_bee.txt", small.image(1))),
        r"anno/nfs_bee\.txt: expected text, the file is binary",
    ),
    "half a box is nan": (
        *("uav123", small.uav123, put("anno/UAV123/car1_s.txt", b"1,2,3,4\n1,NaN,3,4\n")),
        r"car1_s\.txt:2: a box is four finite numbers, or four nan",
    ),
    "infinite box": (
        *("otb", small.otb, put("Board/groundtruth_rect.txt", b"1 2 inf 4\n1 2 3 4\n")),
        r"Board/groundtruth_rect\.txt:1: a box is four finite numbers",
    ),
    "cut in a line": (
        *("trackingnet_train", small.trackingnet, put("TRAIN_11/anno/zz_1.txt", b"1,2,3,4\n1,2")),
        r"TRAIN_11/anno/zz_1\.txt:2: expected four numbers",
    ),
    "absent boxes": (
        *("folders", small.folders, drop("my dog/groundtruth.txt")),
        r"my dog: a sequence has img/ and .*, and here groundtruth\.txt is missing; there is img",
    ),
    "folder of no sequence": (
        *("folders", small.folders, put("cat/imgs/1.jpg", small.image(1))),
        r"cat: .* here img and groundtruth\.txt are missing; there is imgs",
    ),
    "five numbers": (
        *("folders", small.folders, replace("my dog/groundtruth.txt", b"3,2,10,8", b"3,2,10,8,1")),
        r"my dog/groundtruth\.txt:4: expected four numbers .* got '3,2,10,8,1'",
    ),
    "polygon": (
        *("folders", small.folders, put("my dog/groundtruth.txt", b"1,1,9,1,9,9,1,9\n" * 11)),
        r"groundtruth\.txt:1: .* '1,1,9,1,9,9,1,9' \(eight are a polygon: write the box around it",
    ),
    "flag beyond all numbers": (
        *("got10k_train", small.got10k, put(f"{GOT}/cover.label", b"8\n8\n1" + b"0" * 30 + b"\n1")),
        r"cover\.label:3: expected whole numbers",
    ),
    "absent flags": (
        *("lasot_train", small.lasot, drop(f"{LASOT}/full_occlusion.txt")),
        r"airplane-2/full_occlusion\.txt: the file is missing",
    ),
    "absent label file": (
        *("got10k_train", small.got10k, drop(f"{GOT}/cover.label")),
        r"GOT-10k_Train_000001/cover\.label: the file is missing",
    ),
    "too few flags": (
        *("lasot_train", small.lasot, put(f"{LASOT}/out_of_view.txt", b"0,0,1")),
        r"airplane-2/out_of_view\.txt: expected 4 numbers, one per box, got 3",
    ),
    "too many labels": (
        *("got10k_train", small.got10k, put(f"{GOT}/absence.label", b"0\n" * 5)),
        r"absence\.label: expected 4 numbers, one per box, got 5",
    ),
    "flags that are no numbers": (
        *("lasot_train", small.lasot, put(f"{LASOT}/out_of_view.txt", b"0,0,x,0")),
        r"out_of_view\.txt:1: expected whole numbers",
    ),
    "extra frame": (
        *("folders", small.folders, put("my dog/img/12.jpg", small.image(12))),
        r"my dog/groundtruth\.txt: expected one box for each of the 12 images .* got 11",
    ),
    "missing frame": (
        *("tnl2k_test", small.tnl2k, drop("test/b_video/imgs/a3.jpg")),
        r"b_video/groundtruth\.txt: expected one box for each of the 2 images .* got 3",
    ),
    "no images": (
        *("tnl2k_test", small.tnl2k, move("test/b_video/imgs/", "test/b_video/img/")),
        r"b_video/imgs: the file is missing",
    ),
    "cut list of objects": (
        *("coco", small.coco, put("annotations/instances_train2017.json", b'{"images": [')),
        r"instances_train2017\.json: expected COCO's instances, the file is damaged",
    ),
    "object of no image": (
        *("coco", small.coco),
        replace("annotations/instances_train2017.json", b'"image_id": 9', b'"image_id": 7'),
        r"instances_train2017\.json: annotation 0 \(from 0\) is wrong \(KeyError: 7\)",
    ),
    "object with five numbers": (
        *("coco", small.coco),
        replace("annotations/instances_train2017.json", b"[1.5, 2, 10, 8]", b"[1.5, 2, 10, 8, 3]"),
        r"annotation 0 \(from 0\) .* four finite numbers \[x, y, w, h\], got '\[1\.5, 2, 10, 8, 3",
    ),
    "wrong line of stills": (
        *("stills", small.stills, replace("stills.jsonl", b'{"file": "2.jpg"', b'{"file": "2.jpg')),
        r"stills\.jsonl:2: expected a line such as",
    ),
    "still with half a box": (
        *("stills", small.stills, replace("stills.jsonl", b"[4, 4, 6, 6]", b"[4, 4, 6]")),
        r"stills\.jsonl:3: expected a line such as .* four finite numbers",
    ),
    "still with five numbers": (
        *("stills", small.stills, replace("stills.jsonl", b'8, "cat"]', b"8, 9]")),
        r"stills\.jsonl:1: .* a box is four finite numbers \[x, y, w, h\], got '\[1, 2, 10, 8, 9",
    ),
    "still with a nan": (
        *("stills", small.stills, replace("stills.jsonl", b"[0, 0, 5, 5", b"[0, NaN, 5, 5")),
        r"stills\.jsonl:1: .* a box is four finite numbers",
    ),
    "still with a number beyond all": (
        *("stills", small.stills, replace("stills.jsonl", b"[0, 0, 5", b"[0, 0, 1" + b"0" * 400)),
        r"stills\.jsonl:1: .* a box is four finite numbers",
    ),
    "still without a name": (
        *("stills", small.stills, replace("stills.jsonl", b'"a/1.jpg"', b"7")),
        r"stills\.jsonl:1: .* a file's name is text, got 7",
    ),
    "binary line of stills": (
        *("stills", small.stills, replace("stills.jsonl", b'"2.jpg"', b'"\xff\xd8.jpg"')),
        r"stills\.jsonl:2: expected a line such as .*UnicodeDecodeError",
    ),
    "line of stills of another kind": (
        *("stills", small.stills, replace("stills.jsonl", b'{"file": "2.jpg", "boxes": []', b"[")),
        r"stills\.jsonl:2: expected a line such as",
    ),
    "name that is no text": (
        *("folders", small.folders, move("my dog/", f"{NON_UTF8}/")),
        r"caf\\xe9/img: the sequence's name is no UTF-8 text; rename it",
    ),
}


CAUSES = {  # what training counts the fault under, where it goes on without the sequence
    "wrong delimiter": "damaged box",
    "empty boxes": "empty file",
    "cut in a line": "damaged box",
    "absent boxes": "missing file",
    "folder of no sequence": "no sequence",
    "five numbers": "damaged box",
    "polygon": "damaged box",
    "flag beyond all numbers": "damaged flag",
    "absent flags": "missing file",
    "absent label file": "missing file",
    "too few flags": "wrong count",
    "too many labels": "wrong count",
    "flags that are no numbers": "damaged flag",
    "extra frame": "wrong count",
    "object with five numbers": "damaged object",
    "wrong line of stills": "damaged line",
    "still with half a box": "damaged line",
    "binary line of stills": "damaged line",
    "line of stills of another kind": "damaged line",
    "name that is no text": "unusable name",
}
REFUSED = {  # because trackers are compared on them, or because nothing, or too little, is left
    *("binary boxes", "half a box is nan", "infinite box", "missing frame", "no images"),
    *("cut list of objects", "object of no image", "still with five numbers", "still with a nan"),
    *("still with a number beyond all", "still without a name"),
}


def write_fault(tmp_path, kind):
    name, make_tree, plant, message = ANNOTATION_FAULTS[kind]
    tree = make_tree()
    plant(tree)
    small.write_folder(tmp_path / "root", tree)
    if name == "stills" and "half" in kind:
        name = "stills_pseudo"
    return f"{name}:root", message


@pytest.mark.parametrize("kind", ANNOTATION_FAULTS)
def test_damaged_annotations_end_in_one_sentence(tmp_path, kind):
    name, message = write_fault(tmp_path, kind)
    with pytest.raises(ValueError, match=message) as error:
        make_dataset(name, tmp_path)
    text = str(error.value)
    assert re.search(r"the annotations of \d of \d sequences cannot be used \([a-z ]+ \d\)", text)
    assert re.search("Fetch|fetch|rename|correct", text)
    assert "\n" not in text
    text.encode()  # can be printed


@pytest.mark.parametrize("kind", ANNOTATION_FAULTS)
def test_training_leaves_damaged_sequences_out_and_counts_them(tmp_path, kind, caplog):
    name, message = write_fault(tmp_path, kind)
    if kind in REFUSED:
        with pytest.raises(ValueError, match=message):
            make_dataset(name, tmp_path, max_skip_share=0.5)
        return
    dataset = make_dataset(name, tmp_path, max_skip_share=0.01)
    assert len(dataset) > 0
    (text,) = (line for line in caplog.messages if "cannot be used" in line)
    assert f"({CAUSES[kind]} 1), and these are left out: (1) " in text
    assert re.search(message, text)
    for sequence in dataset:
        assert sequence.read_frame(0).shape == (*small.SIZE, 3)


def test_other_sequences_can_be_used_without_the_damaged_one(tmp_path):
    tree = small.lasot()
    for number, name in enumerate(("airplane/airplane-2", "zebra/zebra-1")):
        tree[f"{name}/groundtruth.txt"] = b"1,2,3,4\n" * number
    small.write_folder(tmp_path / "lasot", tree)
    with pytest.raises(ValueError, match="annotations of 2 of 2 sequences cannot be") as error:
        make_dataset("lasot_train", tmp_path)
    assert "airplane-2/groundtruth.txt" in str(error.value)
    assert "zebra-1/full_occlusion.txt" in str(error.value)
    small.write_folder(tmp_path / "lasot", small.lasot_sequence("zebra/zebra-1"))
    assert make_dataset("lasot_train", tmp_path, skip=["airplane-2"]).names == ("zebra-1",)


def write_many(folder, num_good, num_bad):
    tree = {f"good{number}/img/1.jpg": small.image(1) for number in range(num_good)}
    tree |= {f"good{number}/groundtruth.txt": small.boxes(1) for number in range(num_good)}
    tree |= {f"bad{number:02}/img/1.jpg": b"" for number in range(num_bad)}
    tree |= {f"bad{number:02}/groundtruth.txt": b"1;2;3;4" for number in range(num_bad)}
    small.write_folder(folder, tree)


def test_damaged_sequences_up_to_the_limit_are_left_out_and_one_more_stops(tmp_path, caplog):
    # 0.05 of 40 sequences, and ten more
    write_many(tmp_path / "sequences", num_good=28, num_bad=12)
    dataset = make_dataset("folders", tmp_path, max_skip_share=0.05)
    assert sorted(dataset.names) == sorted(f"good{number}" for number in range(28))
    assert "annotations of 12 of 40 sequences cannot be used (damaged box 12), and" in caplog.text
    with pytest.raises(ValueError, match=r"than the 10 that config\.data\.max_skip_") as error:
        make_dataset("folders", tmp_path, max_skip_share=0.0)
    for number in range(12):
        assert f"/bad{number:02}/groundtruth.txt:1" in str(error.value)
    skipped = make_dataset("folders", tmp_path, skip=["bad00", "bad11"], max_skip_share=0.0)
    assert skipped.names == dataset.names


def test_a_data_set_of_which_most_is_damaged_stops_the_run(tmp_path):
    write_many(tmp_path / "sequences", num_good=3, num_bad=4)
    with pytest.raises(ValueError, match=r"4 of 7 .* more than the 3 that"):
        make_dataset("folders", tmp_path, max_skip_share=1.0)
    write_many(tmp_path / "sequences", num_good=4, num_bad=4)
    assert len(make_dataset("folders", tmp_path, max_skip_share=1.0)) == 4


def test_many_damaged_sequences_are_counted_and_twenty_told(tmp_path):
    write_many(tmp_path / "sequences", num_good=1, num_bad=30)
    with pytest.raises(ValueError, match=r"30 of 31 .* 10 more\. All: .*check_dataset") as error:
        make_dataset("folders", tmp_path)
    assert str(error.value).count("expected four numbers") == 20
    assert str(error.value).count("skip_sequences") == 1


def test_a_set_that_trackers_are_compared_on_is_never_silently_smaller(tmp_path):
    tree = small.lasot() | {"airplane/airplane-1/groundtruth.txt": b"1,2,3"}
    small.write_folder(tmp_path / "lasot", tree)
    with pytest.raises(ValueError, match=r"lasot_test: .* 1 of 2 sequences .*airplane-1"):
        make_dataset("lasot_test", tmp_path, max_skip_share=1.0)
    assert len(make_dataset("lasot_train", tmp_path)) == 2  # the other split is whole


def test_boxes_of_negative_size_are_counted_and_absent(tmp_path, caplog):
    tree = small.plain_sequence("a", 3) | {"a/groundtruth.txt": b"1,2,-3,4\n1,2,3,-4\n1,2,3,4\n"}
    small.write_folder(tmp_path / "sequences", tree)
    for _ in range(2):  # counted anew, and from the index
        caplog.clear()
        dataset = make_dataset("folders", tmp_path)
        assert "folders: 2 boxes have a negative size: the target counts as absent" in caplog.text
    np.testing.assert_array_equal(dataset[0].visible, [False, False, True])


def test_blank_lines_between_stills_are_no_fault(tmp_path):
    tree = small.stills()
    tree["stills.jsonl"] = b"\r\n \n" + tree["stills.jsonl"].replace(b"\n", b"\n\n")
    small.write_folder(tmp_path, tree)
    assert make_dataset("stills", tmp_path).names == ("a/1.jpg#0", "a/1.jpg#1")


def test_the_other_lines_of_stills_are_used_and_the_limit_stops(tmp_path, caplog):
    good = [b'{"file": "%d.jpg", "boxes": [[1, 2, 10, 8]]}' % number for number in range(30)]
    (tmp_path / "stills.jsonl").write_bytes(b"\n".join([*good, b"oops", b"{}"]))
    dataset = make_dataset("stills", tmp_path, max_skip_share=0.0)
    assert dataset.names == tuple(f"{number}.jpg#0" for number in range(30))
    assert "2 of 32 sequences cannot be used (damaged line 2)" in caplog.text
    assert f"{tmp_path}/stills.jsonl:31: " in caplog.text
    assert f"{tmp_path}/stills.jsonl:32: " in caplog.text
    (tmp_path / "stills.jsonl").write_bytes(b"\n".join(good + [b"oops"] * 11))
    with pytest.raises(ValueError, match=r"stills: .* 11 of 41 .* than the 10 .*jsonl:31: .*:41"):
        make_dataset("stills", tmp_path, max_skip_share=0.0)


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"file": "a.jpg", "boxes": []}'])
def test_a_list_without_stills_is_told(tmp_path, content):
    (tmp_path / "stills.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"stills is not here \(no sequence is there\)"):
        make_dataset("stills", tmp_path)


def test_an_absent_list_of_got10k_is_told(tmp_path):
    tree = small.got10k()
    del tree["train/list.txt"]
    small.write_folder(tmp_path / "got10k", tree)
    with pytest.raises(ValueError, match=r"got10k_train is not here \(.*train/list\.txt"):
        make_dataset("got10k_train", tmp_path)


def test_another_list_of_got10k_gives_no_vottrain(tmp_path):
    tree = small.got10k() | {"train/list.txt": b"GOT-10k_Train_000001\n"}
    small.write_folder(tmp_path / "got10k", tree)
    with pytest.raises(ValueError, match=r"list\.txt: vottrain .* 9335 sequences, got 1 lines"):
        make_dataset("got10k_vottrain", tmp_path)
    assert make_dataset("got10k_train", tmp_path).names == ("GOT-10k_Train_000001",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("otb:nowhere", r"nowhere: no such folder or zip archive .* as NAME/\{img/0001\.jpg"),
        ("otb:root", r"root: otb is not here \(no sequence is there\); expected NAME/\{img"),
        ("uav123:root", r"root: uav123 is not here .* expected data_seq/UAV123"),
        ("ots", r"unknown data set 'ots'; did you mean one of \['otb'"),
        ("/data/otb", r"unknown data set '/data/otb'; a folder is given as .*folders:/data/otb\."),
        ("packed", r"packed data is opened as packed:PATH, and compared"),
    ],
)
def test_a_data_set_that_is_not_there_is_told(tmp_path, name, message):
    small.write_folder(tmp_path / "root", small.folders())
    with pytest.raises(ValueError, match=message):
        make_dataset(name, tmp_path)


def test_no_root_is_told(monkeypatch):
    monkeypatch.delenv("ESAT_DATA", raising=False)
    with pytest.raises(ValueError, match=r"Set config\.data\.root, --root or ESAT_DATA"):
        make_dataset("otb")


# Faults in archives.


def flip(data, marker, offset):
    data = bytearray(data)
    data[data.index(marker) + offset] ^= 1
    return bytes(data)


def test_an_unreadable_annotation_in_an_archive_is_told(tmp_path):
    path = "my dog/groundtruth.txt"
    packed = flip(small.zip_bytes(small.folders()), path.encode(), len(path))
    (tmp_path / "set.zip").write_bytes(packed)
    with pytest.raises(ValueError, match=r"set\.zip/my dog/groundtruth\.txt: the entry is damaged"):
        make_dataset("folders:set.zip", tmp_path)
    assert make_dataset("folders:set.zip", tmp_path, skip=["my dog"]).names == ("absent",)


@pytest.mark.parametrize("size", [0, 100, -30])
def test_an_archive_that_is_cut_short_is_told(tmp_path, size):
    (tmp_path / "set.zip").write_bytes(small.zip_bytes(small.folders())[:size])
    with pytest.raises(ValueError, match=r"set\.zip: the archive is damaged .* fetch it again"):
        make_dataset("folders:set.zip", tmp_path)


def test_a_damaged_archive_of_frames_is_told(tmp_path):
    tree = small.trackingnet()
    for path in [path for path in tree if path.startswith("TRAIN_0/frames")]:
        del tree[path]
    small.write_folder(tmp_path / "trackingnet", tree | {"TRAIN_0/frames/aB-c_0.zip": b"PK" * 99})
    with pytest.raises(ValueError, match=r"aB-c_0\.zip: the archive is damaged"):
        make_dataset("trackingnet_train", tmp_path)


@pytest.mark.parametrize("fault", ["damaged", "missing", "empty", "text"])
def test_a_frame_in_an_archive_that_cannot_be_had_is_told(tmp_path, fault):
    path = "data_seq/UAV123/bird1/000775.jpg"
    tree = small.uav123()
    content = {"empty": b"", "text": b"<html>404</html>"}
    if fault in content:
        tree[path] = content[fault]
    if fault == "missing":
        del tree[path]
    packed = small.zip_bytes(tree)
    if fault == "damaged":
        packed = flip(packed, path.encode(), len(path) + 200)
    (tmp_path / "set.zip").write_bytes(packed)
    sequence = make_dataset("uav123:set.zip", tmp_path).find("uav_bird1_2")
    assert sequence.read_frame(1).shape == (*small.SIZE, 3)
    with pytest.raises(FrameError, match=r"set\.zip/data_seq/UAV123/bird1/000775\.jpg") as error:
        sequence.read_frame(0)
    causes = {"damaged": "unreadable", "text": "damaged"}
    assert error.value.cause == causes.get(fault, fault)


# Faults of single frames.


def cut(data):
    return data[: len(data) // 2]


FRAME_FAULTS = {
    "missing": (None, "missing", "the file is missing"),
    "empty": (b"", "empty", "the file is empty"),
    "cut short": (cut(small.image(2, size=(200, 300))), "damaged", "cut short"),
    "without its end": (small.image(2)[:-2], "damaged", "cut short"),
    "zeros at its end": (cut(small.image(2, size=(99, 99))) + bytes(999), "damaged", "cut short"),
    "cut short png": (cut(small.image(2, ".png", (200, 300))), "damaged", "cut short"),
    "web page": (b"<html>Quota exceeded</html>", "damaged", "no image"),
    "folder": ("folder", "unreadable", "the file cannot be read"),
}


@pytest.mark.parametrize("kind", FRAME_FAULTS)
def test_a_frame_that_cannot_be_had_is_named(tmp_path, kind):
    data, cause, message = FRAME_FAULTS[kind]
    small.write_folder(tmp_path / "lasot_ext", small.lasot_ext())
    path = tmp_path / "lasot_ext/atv/atv-1/img/00000002.jpg"
    path.unlink()
    if data == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    sequence = make_dataset("lasot_ext", tmp_path)[0]
    assert sequence.read_frame(0).shape == (*small.SIZE, 3)
    with pytest.raises(FrameError, match=re.escape(f"{path}: ")) as error:
        sequence.read_frame(1)
    assert message in str(error.value)
    assert "frame 1 (from 0) of sequence atv-1 of lasot_ext" in str(error.value)
    assert "Fetch it again, or list the sequence in config.data.skip_sequences" in str(error.value)
    assert error.value.cause == cause


def test_a_frame_whose_name_is_no_text_is_read_and_named(tmp_path):
    tree = small.plain_sequence("a", 2)
    tree[f"a/img/{NON_UTF8}3.jpg"] = tree.pop("a/img/2.jpg")
    small.write_folder(tmp_path / "sequences", tree)
    sequence = make_dataset("folders", tmp_path)[0]
    np.testing.assert_allclose(sequence.read_frame(1), 10, atol=1)
    assert sequence.frame_path(1).endswith(r"a/img/caf\xe93.jpg")


@pytest.mark.parametrize("i", [-1, 3])
def test_there_is_no_frame_before_the_first_or_after_the_last(tmp_path, i):
    small.write_folder(tmp_path / "sequences", small.plain_sequence("a", 3))
    dataset = make_dataset("folders", tmp_path)
    with pytest.raises(IndexError, match=f"folders a has 3 frames, got index {i}"):
        dataset[0].read_frame(i)
    with pytest.raises(IndexError, match="folders has 1 sequences, got index 1"):
        dataset[1]
    with pytest.raises(ValueError, match="folders has no sequence 'b'"):
        dataset.find("b")
