import zipfile

import numpy as np
import pytest

from esat_jax.evaluation.benchmarks import BENCHMARKS
from esat_jax.evaluation.result_files import (
    find_results,
    read_results,
    read_runs,
    read_times,
    result_path,
    write_result,
    write_results,
)

BOXES = np.array([[10.25, -3.5, 20, 30.1239], [11, 2, 19.9996, 31]])
TEXT = "10.250,-3.500,20.000,30.124\n11.000,2.000,20.000,31.000\n"


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("benchmark", "name", "boxes", "times"),
    [
        ("lasot_test", "cat-1", "t_tracking_result/cat-1.txt", "t_tracking_result/cat-1_time.txt"),
        ("tnl2k_test", "a b", "t_tracking_result/a b.txt", "t_tracking_result/a b_time.txt"),
        ("got10k_test", "G_1", "t/G_1/G_1_001.txt", "t/G_1/G_1_time.txt"),
        ("trackingnet_test", "x_0", "t/x_0.txt", "t_times/x_0_time.txt"),
        ("otb", "Jogging_1", "t/Jogging_1.txt", "t/Jogging_1_time.txt"),
        ("uav123", "uav_bike1", "t/uav_bike1.txt", "t/uav_bike1_time.txt"),
        ("nfs", "nfs_bee", "t/nfs_bee.txt", "t/nfs_bee_time.txt"),
        ("folders", "cat", "t/cat.txt", "t/cat_time.txt"),
    ],
)
def test_files_have_the_paths_and_bytes_that_toolkits_read(tmp_path, benchmark, name, boxes, times):
    path = write_result(tmp_path, benchmark, "t", name, BOXES, np.array([0.5, 0.0123]))
    assert tree(tmp_path) == {boxes: TEXT, times: "0.50000000\n0.01230000\n"}
    assert path == tmp_path / boxes == result_path(tmp_path, benchmark, "t", name)
    results = read_results(tmp_path, benchmark, [name])
    assert list(results) == [name]
    np.testing.assert_allclose(results[name], BOXES, atol=5e-4)
    read = read_times(tmp_path, benchmark, [name])
    np.testing.assert_array_equal(read[name], [[0.5], [0.0123]])
    if benchmark != "got10k_test":
        assert list(read_results(tmp_path, benchmark)) == [name]


def test_every_benchmark_has_its_own_paths(tmp_path):
    for benchmark in BENCHMARKS:
        written = write_results(tmp_path / benchmark, benchmark, "t", {"a": BOXES, "b": BOXES})
        assert len(written) == 2
        assert list(read_results(tmp_path / benchmark, benchmark)) == ["a", "b"]
        assert list(read_results(tmp_path / benchmark, benchmark, ["b", "a"])) == ["b", "a"]


def test_integers_are_cut_toward_zero(tmp_path):
    path = write_result(tmp_path, "lasot_test", "t", "cat-1", BOXES, integer=True)
    assert path.read_text() == "10,-3,20,30\n11,2,19,31\n"


def test_a_result_that_is_none_is_not_written(tmp_path):
    for value, words in ((np.nan, "NaN"), (np.inf, "infinite"), (-1, "negative"), (2e-4, "zero")):
        boxes = BOXES.copy()
        boxes[1, 2] = value
        with pytest.raises(ValueError, match=f"cat-1: row 2 with .*{words}"):
            write_result(tmp_path, "lasot_test", "t", "cat-1", boxes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tracker", ["", ".", "..", "a/b", "/a", "..\\a"])
def test_a_tracker_whose_name_leads_elsewhere_is_refused(tmp_path, tracker):
    with pytest.raises(ValueError, match="a tracker's name is a part of file names, such as esat"):
        write_result(tmp_path, "otb", tracker, "Car1", BOXES, np.array([0.1, 0.1]))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = write_result(tmp_path, "otb", "t", "a", BOXES)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_result(tmp_path, "otb", "t", "a", BOXES + 1)
    assert tree(tmp_path) == {"t/a.txt": TEXT}
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3,4\n5,6,7,8\n",
        "1\t2\t3\t4\n5\t6\t7\t8",
        "1 2  3 4\r\n5 6 7 8\r\n\r\n",
        " 1, 2, 3, 4\n5.0,6.0,7.000,8e0,\n",
        "\ufeff1;2;3;4\n5;6;7;8\n",
        "1.0000000e+00,2.0,3.0,4.0\n5,6,7,8\n",
        "1,2\t3 4\n5\t6,7,8\n",
    ],
)
def test_other_trackers_text_is_read(tmp_path, text):
    (tmp_path / "cat-1.txt").write_text(text, encoding="utf-8")
    rows = read_results(tmp_path, "lasot_test", ["cat-1"])["cat-1"]
    np.testing.assert_array_equal(rows, [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(read_results(tmp_path / "cat-1.txt", "lasot_test")["cat-1"], rows)


def test_nan_and_inf_are_read_for_the_rules_to_judge(tmp_path):
    (tmp_path / "a.txt").write_text("NaN,nan,NaN,NaN\n1,Inf,-inf,-4\n")
    rows = read_results(tmp_path, "otb", ["a"])["a"]
    np.testing.assert_array_equal(rows, [[np.nan] * 4, [1, np.inf, -np.inf, -4]])


@pytest.mark.parametrize(
    ("benchmark", "names", "files"),
    [
        ("uav123", ["uav_bike1", "uav_car1_s"], ["bike1.txt", "car1_s.txt"]),
        ("nfs", ["nfs_bee", "nfs_dog_1"], ["bee.txt", "dog_1.txt"]),
        ("otb", ["Jogging_1", "Jogging_2"], ["Jogging-1.txt", "Jogging.2.txt"]),
        ("otb", ["Car1", "Human4_2"], ["Car1.txt", "Human4.txt"]),
        ("got10k_val", ["G_000001", "G_000002"], ["G_000001.txt", "x/G_000002_001.txt"]),
        ("trackingnet_test", ["a_time", "b"], ["a_time.txt", "b.txt", "a_time_time.txt"]),
        ("tnl2k_test", ["x_001", "y"], ["deep/er/x_001.txt", "deep/y.txt"]),
        ("lasot_test", ["cat-1", "cat-2"], ["cat-1.txt", "cat-2.txt", "cat-2_time.txt", "z.txt"]),
    ],
)
def test_files_of_other_toolkits_names_are_found(tmp_path, benchmark, names, files):
    for number, file in enumerate(files):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number},2,3,4\n")
    results = read_results(tmp_path, benchmark, names)
    assert {name: rows[0, 0] for name, rows in results.items()} == dict(
        zip(names, range(2), strict=True)
    )


def test_archives_are_read_like_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("ours/cat-1.txt", "1,2,3,4\n")
        archive.writestr("__MACOSX/ours/cat-1.txt", "junk")
    found = find_results(tmp_path / "raw.zip", "lasot_test", ["cat-1"])
    assert found["cat-1"][1][0] == f"{tmp_path}/raw.zip/ours/cat-1.txt"
    assert read_results(tmp_path / "raw.zip", "lasot_test")["cat-1"].shape == (1, 4)
    (tmp_path / "bad.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"bad\.zip: the archive cannot be read"):
        read_results(tmp_path / "bad.zip", "lasot_test")


def test_runs_of_got10k_and_columns_of_their_times(tmp_path):
    for run in (1, 3):
        boxes = BOXES + run
        write_result(tmp_path, "got10k_val", "t", "G_1", boxes, run=run)
    (tmp_path / "t/G_1/G_1_time.txt").write_text("0.1,0.2\n0.3,0.4\n")
    runs = read_runs(tmp_path, "got10k_val", ["G_1"])["G_1"]
    assert [run[0, 0] for run in runs] == [11.25, 13.25]
    times = read_times(tmp_path, "got10k_val", ["G_1"])
    np.testing.assert_array_equal(times["G_1"], [[0.1, 0.2], [0.3, 0.4]])


def test_a_sequence_called_time_is_not_taken_for_times(tmp_path):
    write_results(tmp_path, "trackingnet_test", "t", {"a": BOXES, "a_time": BOXES})
    assert read_times(tmp_path, "trackingnet_test", ["a", "a_time"]) == {}
    write_result(tmp_path, "trackingnet_test", "t", "a_time", BOXES, np.array([0.5, 0.25]))
    assert list(read_times(tmp_path, "trackingnet_test", ["a", "a_time"])) == ["a_time"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"1,2,3,4\n1,2,3\n", r"cat-1\.txt:2: expected four numbers x,y,w,h, got '1,2,3'"),
        (b"1,2,3,4,0.9\n", r"cat-1\.txt:1: expected four numbers"),
        (b"1,2,3,4\n\n1,2,3,4\n", r"cat-1\.txt:2: expected four numbers x,y,w,h, got ''"),
        (b"x,y,w,h\n1,2,3,4\n", "got 'x,y,w,h'"),
        (b"1,,3,4\n", "got '1,,3,4'"),
        (b"1_0,2,3,4\n", "got '1_0,2,3,4'"),
        (b"1" * 80 + b"\n", f"got '{'1' * 60} ...'"),
        ("1,2,3,4\n".encode("utf-16"), "binary"),
        (b"\x89PNG\r\n\x1a\n\0\0", "binary"),
    ],
)
def test_files_that_are_no_boxes_are_one_sentence(tmp_path, data, words):
    (tmp_path / "cat-1.txt").write_bytes(data)
    with pytest.raises(ValueError, match=words) as error:
        read_results(tmp_path, "lasot_test", ["cat-1"])
    assert str(error.value).startswith(str(tmp_path / "cat-1.txt"))
    assert "\n" not in str(error.value)


def test_missing_and_double_sequences_are_named(tmp_path):
    names = [f"cat-{number}" for number in range(1, 7)]
    write_results(tmp_path, "lasot_test", "a", dict.fromkeys(names[:2], BOXES))
    with pytest.raises(
        ValueError,
        match=r"4 of the 6 sequences of lasot_test have no result: cat-3, cat-4, cat-5 and 1 more",
    ):
        read_results(tmp_path, "lasot_test", names)
    write_results(tmp_path, "lasot_test", "b", {"cat-1": BOXES})
    with pytest.raises(ValueError, match=r"sequence cat-1 has another file, .*one tracker"):
        read_results(tmp_path, "lasot_test", names[:2])
    with pytest.raises(ValueError, match="nothing is there"):
        read_results(tmp_path / "none", "lasot_test", names)
    with pytest.raises(ValueError, match="unknown benchmark 'lasot_tst'; did you mean"):
        read_results(tmp_path, "lasot_tst", names)
