import concurrent.futures
import json
import logging
import multiprocessing
import os
import pickle

import numpy as np
import pytest

import small_datasets as small
from data_pipeline import index_cache
from data_pipeline.datasets import make_dataset
from data_pipeline.folders import Folders
from data_pipeline.index import Entry, make_index

NON_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def root(tmp_path):
    tree = small.plain_sequence("first", 3) | small.plain_sequence("second", 5)
    small.write_folder(tmp_path / "sequences", tree)
    return tmp_path


@pytest.fixture
def builds(monkeypatch):
    """Counts how often a sequence's annotations were read."""
    calls = []
    read = Folders.read
    monkeypatch.setattr(Folders, "read", lambda *args: calls.append(args[2]) or read(*args))
    return calls


def open_set(root):
    return make_dataset("folders", root, cache_dir=str(root / "cache"))


def index_file(root):
    (path,) = (root / "cache").iterdir()
    return path


def assert_whole(dataset, lengths=(3, 5)):
    np.testing.assert_array_equal(dataset.lengths, lengths)
    assert dataset[0].boxes_xywh[:, 0].tolist() == [0, 1, 2]
    assert dataset[1].read_frame(1)[0, 0, 0] == pytest.approx(10, abs=1)


def test_the_second_opening_reads_no_annotations(root, builds):
    assert_whole(open_set(root))
    assert builds == ["first", "second"]
    assert_whole(open_set(root))
    assert builds == ["first", "second"]


@pytest.mark.parametrize("change", ["box", "new sequence", "removed frame", "new frame"])
def test_a_changed_folder_is_indexed_again(root, builds, change):
    open_set(root)
    sequences = root / "sequences"
    lengths = (3, 5)
    if change == "box":
        (sequences / "second/groundtruth.txt").write_bytes(small.boxes(5, start=100))
    elif change == "new sequence":
        small.write_folder(sequences, small.plain_sequence("third", 2))
        lengths = (3, 5, 2)
    else:
        count = 4 if change == "removed frame" else 6
        (sequences / "second/groundtruth.txt").write_bytes(small.boxes(count))
        small.write_folder(sequences, small.plain_sequence("second", count))
        if change == "removed frame":
            (sequences / "second/img/5.jpg").unlink()
        lengths = (3, count)
    dataset = open_set(root)
    assert_whole(dataset, lengths)
    assert len(builds) == 2 + len(lengths)
    assert dataset[1].boxes_xywh[0, 0] == (100 if change == "box" else 0)


def empty(path):
    path.write_bytes(b"")


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-20])


def cut_in_the_boxes(path):
    path.write_bytes(path.read_bytes()[:150])


def replaced(path):
    path.write_bytes(bytes(range(256)) * 20)


def broken_header(path):
    path.write_bytes(path.read_bytes().replace(b"descr", b"descx", 1))


def without_stamps(path):
    path.write_bytes(path.read_bytes().replace(b'"stamps"', b'"stumps"'))


def other_format(path):
    path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 0'))


@pytest.mark.parametrize(
    "damage",
    [
        *(empty, cut_short, cut_in_the_boxes, replaced),
        *(broken_header, without_stamps, other_format),
    ],
)
def test_a_damaged_index_is_rebuilt_with_a_word(root, builds, caplog, damage):
    open_set(root)
    damage(index_file(root))
    assert_whole(open_set(root))
    assert f"{index_file(root)}: the index is damaged" in caplog.text
    assert len(builds) == 4
    open_set(root)
    assert len(builds) == 4


def test_an_index_read_by_other_rules_is_built_anew(root, builds, caplog):
    open_set(root)
    content = index_file(root).read_bytes()
    assert content.count(b'"rules": 2') == 1
    index_file(root).write_bytes(content.replace(b'"rules": 2', b'"rules": 1'))
    assert_whole(open_set(root))
    assert len(builds) == 4
    assert "damaged" not in caplog.text


def test_an_index_of_another_place_or_reader_is_not_taken(root, builds):
    open_set(root)
    (root / "sequences").rename(root / "moved")
    make_dataset("folders:moved", root, cache_dir=str(root / "cache"))
    assert len(builds) == 4


def test_without_a_cache_folder_the_index_stays_in_memory(root, caplog):
    index_cache._warn_once.cache_clear()
    (root / "file").write_bytes(b"")
    for _ in range(2):
        dataset = make_dataset("folders", root, cache_dir=str(root / "file/cache"))
    assert_whole(dataset)
    assert caplog.text.count("indexes of data sets stay in memory") == 1
    assert "set ESAT_CACHE" in caplog.text
    assert_whole(pickle.loads(pickle.dumps(dataset)))


def test_a_read_only_cache_folder_is_borne(root, builds, caplog, monkeypatch):
    index_cache._warn_once.cache_clear()
    real = index_cache.write_index

    def refuse(index, path):
        raise OSError(30, os.strerror(30), str(path))

    monkeypatch.setattr(index_cache, "write_index", refuse)
    assert_whole(open_set(root))
    assert "cannot be written (Read-only file system)" in caplog.text
    monkeypatch.setattr(index_cache, "write_index", real)
    open_set(root)
    # And one that was filled before it became read-only serves as ever.
    monkeypatch.setattr(index_cache, "write_index", refuse)
    assert_whole(open_set(root))
    assert len(builds) == 4


def test_nothing_is_left_behind_when_writing_fails(root, monkeypatch):
    monkeypatch.setattr(np.lib.format, "write_array", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_set(root)
    assert list((root / "cache").iterdir()) == []


def read_in_worker(dataset):
    return dataset.index.file, dataset[1].boxes_xywh, dataset[1].read_frame(4)[0, 0, 0]


def test_a_worker_gets_the_name_of_the_index_and_not_its_content(tmp_path):
    small.write_folder(tmp_path / "sequences", small.plain_sequence("a", 3))
    small_dataset = open_set(tmp_path)
    small.write_folder(tmp_path / "sequences", small.plain_sequence("b", 200))
    dataset = open_set(tmp_path)
    assert len(pickle.dumps(dataset)) < len(pickle.dumps(small_dataset)) + 20
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        file, boxes_xywh, gray = pool.submit(read_in_worker, dataset).result()
    assert file == dataset.index.file
    np.testing.assert_array_equal(boxes_xywh, dataset[1].boxes_xywh)
    assert gray == pytest.approx(25, abs=1)


def test_two_processes_that_build_the_same_index_can_swap_it(root):
    dataset = open_set(root)
    index_file(root).unlink()
    open_set(root)
    assert_whole(pickle.loads(pickle.dumps(dataset)))


def test_a_worker_refuses_an_index_that_was_rebuilt_for_changed_data(root):
    dataset = pickle.dumps(open_set(root))
    (root / "sequences/second/groundtruth.txt").write_bytes(small.boxes(5, start=100))
    open_set(root)
    with pytest.raises(ValueError, match=r"was rebuilt while it was in use"):
        pickle.loads(dataset)


def test_boxes_of_an_index_cannot_be_written(root):
    with pytest.raises(ValueError, match="read-only"):
        open_set(root)[0].boxes_xywh[0] = 0


def test_indexing_is_logged(root, caplog):
    with caplog.at_level(logging.INFO):
        open_set(root)
    assert f"indexing folders in {root / 'sequences'}" in caplog.text


def test_sequences_are_found_by_their_whole_name():
    names = ["a", "aa", 'a", "b', "b", "a.", NON_UTF8, "", "b"]
    entries = [
        Entry(
            np.zeros((1, 4)), np.ones(1, bool), json.dumps({"name": name, "x": "a"}).encode(), None
        )
        for name in names
    ]
    index = make_index(entries, {})
    for name in names:
        expected = [i for i, other in enumerate(names) if other == name]
        assert index.places([name]).tolist() == expected
    assert index.places(["a", "b"]).tolist() == [0, 3, 7]
    assert index.places(["c"]).tolist() == index.places([]).tolist() == []
