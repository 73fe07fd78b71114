import collections
import json
import math
import zipfile

import numpy as np
import pytest

import small_datasets as small
from data_pipeline.datasets import REGISTRY, make_dataset
from data_pipeline.records import read_split
from data_pipeline.stores import open_store

A = math.nan


def frames(first, count):
    return list(range(first, first + count))


# name -> (tree, {sequence: (numbers of its frames as the layout counts, visible, left of box 0)})
EXPECTED = {
    "lasot_train": (
        small.lasot,
        {n: (frames(1, 4), [1, 0, 0, 1], 0) for n in ("airplane-2", "zebra-1")},
    ),
    "lasot_test": (
        small.lasot,
        {n: (frames(1, 4), [1, 0, 0, 1], 0) for n in ("airplane-1", "zebra-10")},
    ),
    "lasot_ext": (
        small.lasot_ext,
        {n: (frames(1, 4), [1, 0, 0, 1], 0) for n in ("atv-1", "wingsuit-10")},
    ),
    "got10k_train": (
        small.got10k,
        {f"GOT-10k_Train_00000{n}": (frames(1, 4), [1, 0, 0, 1], 0) for n in (1, 2, 5, 6)},
    ),
    "got10k_vottrain": (
        small.got10k,
        {f"GOT-10k_Train_00000{n}": (frames(1, 4), [1, 0, 0, 1], 0) for n in (1, 6)},
    ),
    "got10k_votval": (small.got10k, {"GOT-10k_Train_000002": (frames(1, 4), [1, 0, 0, 1], 0)}),
    "got10k_val": (small.got10k, {"GOT-10k_Val_000001": (frames(1, 4), [1, 0, 0, 1], 0)}),
    "got10k_test": (small.got10k, {"GOT-10k_Test_000001": (frames(1, 3), [1, 0, 0], 0)}),
    "trackingnet_train": (
        small.trackingnet,
        {"aB-c_0": (frames(0, 12), [1] * 12, 0), "zz_1": (frames(0, 3), [1] * 3, 0)},
    ),
    "trackingnet_test": (small.trackingnet, {"tt_2": (frames(0, 11), [1] + [0] * 10, 0)}),
    "coco": (small.coco, {"000000000009_1": ([9], [0], 1.5), "000000000009_2": ([9], [1], 0)}),
    "tnl2k_train": (small.tnl2k, {"a_video": ([1, 2, 3], [1, 1, 1], 0)}),
    "tnl2k_test": (small.tnl2k, {"b_video": ([1, 2, 3], [1, 1, 1], 0)}),
    "otb": (
        small.otb,
        {
            "Basketball": (frames(1, 3), [1] * 3, 0),
            "Board": (frames(1, 2), [1] * 2, 0),
            "David": (frames(300, 2), [1] * 2, 0),
            "Human4_2": (frames(1, 2), [1] * 2, 9),
            "Jogging_1": (frames(1, 2), [1] * 2, 0),
            "Jogging_2": (frames(1, 2), [1] * 2, 12),
            "KiteSurf": (frames(1, 2), [1] * 2, 0),
            "Tiger1": (frames(6, 2), [1] * 2, 5),
        },
    ),
    "uav123": (
        small.uav123,
        {
            "uav_bird1_1": (frames(1, 3), [1, 0, 1], 0),
            "uav_bird1_2": (frames(775, 2), [1, 1], 0),
            "uav_car1_s": (frames(1, 2), [1, 1], 0),
        },
    ),
    "nfs": (small.nfs, {"nfs_bee": (frames(1, 2), [1, 1], 0)}),
    "folders": (
        small.folders,
        {"absent": (frames(1, 2), [0, 1], A), "my dog": (frames(1, 11), [1] * 11, 0)},
    ),
    "stills": (small.stills, {"a/1.jpg#0": ([1], [1], 1), "a/1.jpg#1": ([1], [1], 0)}),
    "stills_pseudo": (
        small.stills,
        {"a/1.jpg#0": ([1], [1], 1), "a/1.jpg#1": ([1], [1], 0), "3.jpg#0": ([3], [1], 4)},
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESAT_CACHE", str(tmp_path / "cache"))


def check(dataset, expected):
    assert dataset.names == tuple(expected)
    for sequence, (numbers, visible, left) in zip(dataset, expected.values(), strict=True):
        assert len(sequence) == len(numbers) == len(sequence.boxes_xywh)
        np.testing.assert_array_equal(sequence.visible, np.array(visible, bool))
        np.testing.assert_equal(sequence.boxes_xywh[0, 0], left)
        assert sequence.boxes_xywh.dtype == np.float64
        for i, number in enumerate(numbers):
            frame = sequence.read_frame(i)
            assert frame.shape == (*small.SIZE, 3)
            np.testing.assert_allclose(frame, 5 * number % 250, atol=1)
        assert sequence.is_video != dataset.name.startswith(("coco", "stills"))
    np.testing.assert_array_equal(dataset.lengths, [len(e[0]) for e in expected.values()])
    np.testing.assert_array_equal(dataset.num_visible, [sum(e[1]) for e in expected.values()])


def test_every_data_set_of_the_registry_is_tested():
    made_by_chance = {"stills_regions"}  # has tests of its own, below
    assert EXPECTED.keys() == REGISTRY.keys() - made_by_chance


@pytest.mark.parametrize("name", EXPECTED)
def test_a_data_set_is_read_from_its_default_folder(tmp_path, name):
    tree, expected = EXPECTED[name]
    small.write_folder(tmp_path / REGISTRY[name].folder, tree())
    check(make_dataset(name, tmp_path), expected)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", EXPECTED)
def test_a_data_set_is_read_from_one_archive(tmp_path, name, compression):
    tree, expected = EXPECTED[name]
    (tmp_path / "all.zip").write_bytes(small.zip_bytes(tree(), compression=compression))
    check(make_dataset(f"{name}:all.zip", tmp_path), expected | {})


@pytest.mark.parametrize("prefix", ["airplane/", ""])
def test_lasot_is_read_from_an_archive_per_class(tmp_path, prefix):
    classes = collections.defaultdict(dict)
    for path, data in small.lasot().items():
        kind, _, rest = path.partition("/")
        classes[kind][rest] = data
    root = tmp_path / "lasot"
    small.write_folder(root / "zebra", classes["zebra"])  # one class is unpacked
    (root / "airplane.zip").write_bytes(small.zip_bytes(classes["airplane"], prefix))
    for split in ("lasot_train", "lasot_test"):
        check(make_dataset(split, tmp_path), EXPECTED[split][1])


def test_lasot_is_read_without_folders_for_the_classes(tmp_path):
    small.write_folder(tmp_path / "lasot", small.lasot_sequence("zebra-10"))
    (tmp_path / "lasot/airplane-1.zip").write_bytes(
        small.zip_bytes(small.lasot_sequence("airplane-1"))
    )
    check(make_dataset("lasot_test", tmp_path), EXPECTED["lasot_test"][1])


def test_trackingnet_is_read_from_an_archive_per_video(tmp_path):
    tree, expected = EXPECTED["trackingnet_train"]
    small.write_folder(tmp_path, {p: d for p, d in tree().items() if "/anno/" in p})
    for chunk, name in (("TRAIN_0", "aB-c_0"), ("TRAIN_11", "zz_1"), ("TEST", "tt_2")):
        start = f"{chunk}/frames/{name}/"
        video = {p.removeprefix(start): d for p, d in tree().items() if p.startswith(start)}
        small.write_folder(tmp_path, {f"{chunk}/frames/{name}.zip": small.zip_bytes(video)})
    check(make_dataset("trackingnet_train:.", tmp_path), expected)
    check(make_dataset("trackingnet_test:.", tmp_path), EXPECTED["trackingnet_test"][1])


def test_coco_is_read_from_the_archives_as_published(tmp_path):
    tree = {f"train2017/{p.rpartition('/')[2]}": d for p, d in small.coco().items() if ".jpg" in p}
    (tmp_path / "train2017.zip").write_bytes(small.zip_bytes(tree))
    listing = {"annotations/instances_train2017.json": small.coco_annotations()}
    (tmp_path / "annotations_trainval2017.zip").write_bytes(small.zip_bytes(listing))
    check(make_dataset("coco:.", tmp_path), EXPECTED["coco"][1])


def test_tnl2k_test_is_read_without_its_split_folder(tmp_path):
    tree = {p.removeprefix("test/"): d for p, d in small.tnl2k().items() if "test/" in p}
    small.write_folder(tmp_path / "tnl2k", tree)
    check(make_dataset("tnl2k_test", tmp_path), EXPECTED["tnl2k_test"][1])


def test_the_root_may_come_from_the_environment(tmp_path, monkeypatch):
    small.write_folder(tmp_path / "nfs", small.nfs())
    monkeypatch.setenv("ESAT_DATA", str(tmp_path))
    check(make_dataset("nfs"), EXPECTED["nfs"][1])


def test_the_root_may_be_in_the_home_folder(tmp_path, monkeypatch):
    small.write_folder(tmp_path / "data/nfs", small.nfs())
    monkeypatch.setenv("HOME", str(tmp_path))
    check(make_dataset("nfs", "~/data", cache_dir="~/indexes"), EXPECTED["nfs"][1])
    assert len(list((tmp_path / "indexes").iterdir())) == 1


def test_named_sequences_are_left_out(tmp_path):
    small.write_folder(tmp_path / "lasot", small.lasot())
    dataset = make_dataset("lasot_train", tmp_path, skip=["airplane-2"])
    assert dataset.names == ("zebra-1",)
    assert dataset.find("zebra-1").name == dataset[0].name == "zebra-1"
    np.testing.assert_array_equal(dataset.lengths, [4])


def test_a_part_of_a_data_set_is_used_with_a_word(tmp_path, caplog):
    small.write_folder(tmp_path / "lasot", small.lasot())
    make_dataset("lasot_test", tmp_path)
    assert "lasot_test has 2 of its 280 sequences" in caplog.text


def test_sizes_of_the_splits():
    test = read_split("lasot_test.txt")
    assert len(test) == 70
    assert {len(line) for line in test} == {5}
    assert len(REGISTRY["lasot_train"].reader.names()) == 1120
    assert len(REGISTRY["lasot_ext"].reader.names()) == 150
    assert len(set(REGISTRY["otb"].reader.names())) == 100
    val, excluded = (
        {int(word) for line in read_split(f"got10k_{part}.txt") for word in line}
        for part in ("votval", "vot_excluded")
    )
    assert (len(val), len(excluded), len(val & excluded)) == (1249, 1000, 0)
    assert max(val | excluded) < 9335
    # The published file of votval has 6109 characters: its numbers and a line break after each.
    assert sum(len(str(number)) + 1 for number in val) == 6109


def test_vottrain_is_all_but_votval_and_the_excluded_lines(tmp_path):
    small.write_folder(tmp_path, {"train/list.txt": small.got10k()["train/list.txt"]})
    store = open_store(tmp_path)
    vottrain, votval = (
        {int(name[-6:]) - 1 for name in REGISTRY[f"got10k_{part}"].reader.names(store)}
        for part in ("vottrain", "votval")
    )
    assert (len(vottrain), len(votval)) == (7086, 1249)
    # Numbers from the published files.
    published = (
        *(3784, 8998, 1631, 23, 41, 4197, 234, 5723, 7622, 8832, 216, 4070, 7331, 3743, 9131),
        *(9206, 3828, 7756, 3825, 777, 3550, 3929, 5440, 6751, 7764, 1135, 8083, 5964, 7788),
        *(1992, 8069, 9174, 6160, 35, 8572, 2865, 46, 3952, 6418, 2510, 5783, 4903, 8488),
    )
    assert vottrain >= set(published)
    assert votval >= {1349, 5878, 562, 9333, 4900, 4090, 7842}
    assert not {4, 13, 9332, 9334} & (vottrain | votval)


def test_regions_of_photographs_lie_inside_and_are_the_same_every_time(tmp_path):
    tree = {f"stills/{i}.jpg": small.image(i) for i in range(30)}
    rows = [{"file": f"{i}.jpg", "w": 90, "h": 60} for i in range(30)]
    small.write_folder(tmp_path, tree | {"stills.jsonl": small.lines(map(json.dumps, rows))})
    regions = make_dataset("stills_regions", tmp_path, cache_dir=tmp_path / "cache")
    again = make_dataset("stills_regions", tmp_path, cache_dir=tmp_path / "other")
    assert len(regions) == 32 * 30
    boxes = np.concatenate([regions[i].boxes_xywh for i in range(len(regions))])
    np.testing.assert_array_equal(boxes, [again[i].boxes_xywh[0] for i in range(len(again))])
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [90.01, 60.01]).all()
    shares = boxes[:, 2] * boxes[:, 3] / (90 * 60)
    assert 0.0095 < shares.min() < 0.012
    assert 0.15 < shares.max() < 0.2505
    assert np.ptp(np.log(boxes[:, 2] / boxes[:, 3])) > 1


def test_a_photograph_without_its_size_has_no_regions(tmp_path):
    rows = [{"file": "1.jpg", "w": 90, "h": 0}]
    tree = {"stills/1.jpg": small.image(1), "stills.jsonl": small.lines(map(json.dumps, rows))}
    small.write_folder(tmp_path, tree)
    with pytest.raises(ValueError, match=r"stills\.jsonl:1: .*width and height in px .* 90 and 0"):
        make_dataset("stills_regions", tmp_path, cache_dir=tmp_path / "cache")
