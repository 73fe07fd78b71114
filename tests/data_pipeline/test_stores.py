import concurrent.futures
import functools
import multiprocessing
import os
import pickle
import zipfile

import numpy as np
import pytest

import small_datasets as small
from data_pipeline import stores
from data_pipeline.stores import WatchedStore, changed, open_store

TREE = {"a/b/1.txt": b"one" * 100, "a/b/2.txt": b"", "c.txt": b"c"}


@pytest.fixture(params=["folder", "archive", "archive of a", "in an archive", "repeated name"])
def store(tmp_path, request):
    root = tmp_path / "set"
    if request.param == "folder":
        small.write_folder(root, TREE)
    elif request.param == "archive of a":
        small.write_folder(root, {"c.txt": b"c"})
        tree = {path[2:]: data for path, data in TREE.items() if path.startswith("a/")}
        (root / "a.zip").write_bytes(small.zip_bytes(tree))
    elif request.param == "in an archive":
        root = tmp_path / "x.zip/inner/set"
        (tmp_path / "x.zip").write_bytes(small.zip_bytes(TREE, "inner/set/"))
    else:
        prefix = "set/" if request.param == "repeated name" else ""
        extra = {"__MACOSX/._c.txt": b"", "set/.DS_Store": b""} if prefix else {}
        packed = {prefix + path: data for path, data in TREE.items()} | extra
        (tmp_path / "set.zip").write_bytes(
            small.zip_bytes(packed, compression=zipfile.ZIP_DEFLATED)
        )
    return open_store(root)


def test_files_are_read_and_listed_wherever_they_are(store):
    for path, data in TREE.items():
        assert store.read_bytes(path) == data
        assert store.exists(path)
    assert store.list() == ["a", "c.txt"]
    assert store.list("a") == ["b"]
    assert store.list("a/b") == ["1.txt", "2.txt"]
    sizes = store.sizes("a/b")
    assert sizes.keys() == {"1.txt", "2.txt"}
    assert sizes["1.txt"] > sizes["2.txt"] == 0
    assert store.exists("a/b")
    assert not store.exists("a/b/3.txt")
    assert not store.exists("d")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("a/b/3.txt")
    with pytest.raises(FileNotFoundError):
        store.list("d")


def test_members_are_read_without_the_archive_being_searched(store):
    found = store.find_members("a/b", ("1.txt", "3.txt"))
    if found is None:
        assert os.path.isdir(store.root)
        return
    archive, members = found
    assert store.read_member(archive, members[0], "a/b/1.txt") == TREE["a/b/1.txt"]
    with pytest.raises(FileNotFoundError, match=r"a/b/3\.txt: no such file in the archive"):
        store.read_member(archive, members[1], "a/b/3.txt")


def test_a_store_travels_to_other_processes_and_threads(store):
    assert pickle.loads(pickle.dumps(store)).read_bytes("c.txt") == b"c"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store.read_bytes, ["a/b/1.txt"] * 100)) == {TREE["a/b/1.txt"]}
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, fork) as pool:
        assert set(pool.map(store.read_bytes, ["a/b/1.txt"] * 20)) == {TREE["a/b/1.txt"]}


def test_what_changed_is_noticed(tmp_path):
    small.write_folder(tmp_path, TREE)
    watched = WatchedStore(str(tmp_path))
    watched.read_bytes("c.txt")
    watched.list("a/b")
    watched.exists("later.txt")
    stamps = watched.stamps()
    assert not changed(stamps)
    os.utime(tmp_path / "a/b/1.txt", (1, 1))  # its content was not asked for
    assert not changed(stamps)
    for change in (
        lambda: (tmp_path / "c.txt").write_bytes(b"longer"),
        lambda: (tmp_path / "a/b/3.txt").write_bytes(b""),
        lambda: (tmp_path / "later.txt").write_bytes(b""),
        lambda: (tmp_path / "c.txt").unlink(),
    ):
        stamps = watched.stamps()
        change()
        assert changed(stamps)


def test_there_must_be_a_folder_or_an_archive(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty.zip").write_bytes(b"")
    for name in ("nothing", "file", "empty.zip", "empty.zip/inside"):
        with pytest.raises(ValueError, match=r"no such folder or zip archive"):
            open_store(tmp_path / name)


def damaged(data, kind):
    start = data.index(b"c.txt") - 30
    data = bytearray(data)
    if kind == "content":
        data[start + 35] ^= 1
    elif kind == "header":
        data[start] ^= 1
    elif kind == "encrypted":
        data[data.rindex(b"c.txt") - 46 + 8] |= 1
    elif kind == "method":
        data[data.rindex(b"c.txt") - 46 + 10] = 95
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("content", r"set\.zip/c\.txt: the entry is damaged \(its checksum differs\)"),
        ("header", r"set\.zip/c\.txt: the archive is damaged here"),
        ("encrypted", r"set\.zip/c\.txt: the entry is encrypted"),
        ("method", r"set\.zip/c\.txt: the entry is packed with method 95"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path, kind, message):
    (tmp_path / "set.zip").write_bytes(damaged(small.zip_bytes(TREE), kind))
    store = open_store(tmp_path / "set.zip")
    assert store.read_bytes("a/b/1.txt") == TREE["a/b/1.txt"]
    with pytest.raises(OSError, match=message):
        store.read_bytes("c.txt")


def test_a_changed_archive_is_looked_at_again(tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(small.zip_bytes({"1.txt": b"1"}))
    store = open_store(path)
    assert store.list() == ["1.txt"]
    assert store.read_bytes("1.txt") == b"1"
    (tmp_path / "new.zip").write_bytes(small.zip_bytes({"0.txt": b"0" * 99, "1.txt": b"one"}))
    (tmp_path / "new.zip").replace(path)
    assert store.list() == ["0.txt", "1.txt"]
    assert store.read_bytes("1.txt") == b"one"


def test_missing_members_of_no_names(tmp_path):
    (tmp_path / "set.zip").write_bytes(small.zip_bytes(TREE))
    _, members = open_store(tmp_path / "set.zip").find_members("a/b", ())
    assert members.shape == (0, 4)
    assert members.dtype == np.int64


def test_many_threads_may_read_from_more_archives_than_are_kept_open(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_opened", functools.lru_cache(2)(stores._opened.__wrapped__))
    for number in range(8):
        packed = small.zip_bytes({"a.txt": bytes([number]) * 5000})
        (tmp_path / f"{number}.zip").write_bytes(packed)
    store = open_store(tmp_path)
    places = [(number, *store.find_members(f"{number}", ("a.txt",))) for number in range(8)]

    def read(i):
        number, archive, members = places[i % 8]
        return store.read_member(archive, members[0], "a.txt") == bytes([number]) * 5000

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(2000)))
