"""One right archive of each kind, and every way in which it can be wrong."""

import zipfile

import numpy as np
import pytest

from esat_jax.evaluation.result_files import write_results
from esat_jax.evaluation.submissions import (
    Expected,
    SubmissionError,
    check_submission,
    make_submission,
)

GOT = {f"GOT-10k_Test_{number:06d}": 4 + number for number in range(1, 5)}
NET = {"0-6LB4FqxoE_0": 5, "zYZH_1": 3, "a_time": 4}
FRAMES = {"got10k_test": GOT, "trackingnet_test": NET}
FIRST, LAST = "GOT-10k_Test_000001", "GOT-10k_Test_000004"
BOXES_1, TIMES_1 = f"{FIRST}/{FIRST}_001.txt", f"{FIRST}/{FIRST}_time.txt"
ZY = "zYZH_1.txt"


def expected(benchmark):
    frames = FRAMES[benchmark]
    return Expected(frames, {name: boxes(count)[0] for name, count in frames.items()})


def boxes(count):
    return np.array([10, 20, 30, 40]) + np.arange(count)[:, None] * [1.25, 0.5, 0, 0.125]


def right_entries(benchmark):
    entries = {}
    for name, count in FRAMES[benchmark].items():
        rows = "".join(",".join(f"{value:.4f}" for value in row) + "\n" for row in boxes(count))
        if benchmark == "got10k_test":
            entries[f"{name}/{name}_001.txt"] = rows
            entries[f"{name}/{name}_time.txt"] = "0.01250000\n" * count
        else:
            entries[f"{name}.txt"] = rows
    return entries


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries if isinstance(entries, list) else entries.items():
            archive.writestr(name, content)
    return path


def faults(path, benchmark):
    return [
        f"{finding.kind}: {finding.where}: {finding.text}"
        for finding in check_submission(path, benchmark, expected(benchmark))
        if finding.fault
    ]


@pytest.mark.parametrize("benchmark", FRAMES)
def test_a_right_archive_passes(tmp_path, benchmark):
    path = write_zip(tmp_path / "right.zip", right_entries(benchmark))
    assert check_submission(path, benchmark, expected(benchmark)) == []


@pytest.mark.parametrize("benchmark", FRAMES)
def test_an_archive_that_was_made_passes_and_the_results_stay(tmp_path, benchmark):
    results = {name: boxes(count) for name, count in FRAMES[benchmark].items()}
    times = {name: np.full(count, 0.0125) for name, count in FRAMES[benchmark].items()}
    write_results(tmp_path / "raw", benchmark, "t", results, times)
    before = {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*.txt")}
    for name in ("one.zip", "two.zip"):
        out = tmp_path / name
        assert make_submission(tmp_path / "raw", benchmark, expected(benchmark), out) == []
        assert faults(out, benchmark) == []
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = set(archive.namelist())
        for raw, content in before.items():
            if "_times" not in str(raw):
                entry = raw.relative_to(tmp_path / "raw/t").as_posix()
                assert archive.read(entry) == content
                names.remove(entry)
    assert not names
    assert before == {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*.txt")}


def test_tabs_and_integers_of_other_trackers_become_commas_digit_for_digit(tmp_path):
    for name, count in NET.items():
        rows = [f"{x}\t20\t30.10\t4e1\r\n" for x in range(10, 10 + count)]
        (tmp_path / f"{name}.txt").write_text("".join(rows))
    path = tmp_path / "out.zip"
    assert make_submission(tmp_path, "trackingnet_test", expected("trackingnet_test"), path) == []
    with zipfile.ZipFile(path) as archive:
        assert archive.read(ZY) == b"10,20,30.10,4e1\n11,20,30.10,4e1\n12,20,30.10,4e1\n"


def test_nothing_is_written_if_the_server_could_not_use_it(tmp_path):
    results = {name: boxes(count) for name, count in GOT.items()}
    results[LAST] = results[LAST][:-1]
    write_results(tmp_path / "raw", "got10k_test", "t", results)
    with pytest.raises(SubmissionError, match="the results have 5 faults") as error:
        make_submission(
            tmp_path / "raw", "got10k_test", expected("got10k_test"), tmp_path / "out.zip"
        )
    kinds = sorted(finding.kind for finding in error.value.findings)
    assert kinds == ["short", "times", "times", "times", "times"]
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def lines(count, row="1,2,3,4"):
    return f"{row}\n" * count


def rows_1(entries, number, text):
    """The rows of the first GOT-10k sequence with one replaced."""
    rows = entries[BOXES_1].splitlines()
    rows[number - 1] = text
    return entries | {BOXES_1: "\n".join(rows) + "\n"}


def without(entries, *names):
    return {name: content for name, content in entries.items() if name not in names}


GOT_ZIPS = {  # what is done to the right archive -> the one line that tells it
    "a missing sequence": (
        lambda e: without(e, BOXES_1, TIMES_1),
        f"missing: {FIRST}: {BOXES_1} is not there",
    ),
    "a surplus file": (
        lambda e: e | {"readme.txt": "hello"},
        "surplus: readme.txt: it belongs to no sequence; files are called "
        "SEQUENCE/SEQUENCE_001.txt",
    ),
    "a surplus sequence": (
        lambda e: e | {"GOT-10k_Test_000999/GOT-10k_Test_000999_001.txt": lines(3)},
        "surplus: GOT-10k_Test_000999/GOT-10k_Test_000999_001.txt: it belongs to no sequence; "
        "files are called SEQUENCE/SEQUENCE_001.txt",
    ),
    "a file of macOS": (
        lambda e: e | {f"__MACOSX/{FIRST}/._{FIRST}_001.txt": "\0\5"},
        f"surplus: __MACOSX/{FIRST}/._{FIRST}_001.txt: a file of the operating system, not of a "
        "sequence",
    ),
    "a short file": (
        lambda e: e | {BOXES_1: "".join(e[BOXES_1].splitlines(keepends=True)[:-2])},
        f"short: {BOXES_1}: 3 rows for 5 frames",
    ),
    "a long file": (
        lambda e: e | {BOXES_1: e[BOXES_1] + lines(1)},
        f"long: {BOXES_1}: 6 rows for 5 frames",
    ),
    "nan": (
        lambda e: rows_1(e, 3, "NaN,NaN,NaN,NaN"),
        f"nan: {BOXES_1}: row 3 with NaN: nan,nan,nan,nan",
    ),
    "infinite": (
        lambda e: rows_1(e, 3, "1,inf,3,4"),
        f"infinite: {BOXES_1}: row 3 with infinite numbers: 1,inf,3,4",
    ),
    "a negative size": (
        lambda e: rows_1(e, 2, "1,2,3,-4"),
        f"negative: {BOXES_1}: row 2 with a negative width or height: 1,2,3,-4",
    ),
    "a zero size": (
        lambda e: e | {BOXES_1: e[BOXES_1].splitlines()[0] + "\n" + lines(4, "0,0,0,0")},
        f"zero: {BOXES_1}: 4 rows with a width or height of zero, the first is row 2: 0,0,0,0",
    ),
    "spaces": (
        lambda e: e | {BOXES_1: e[BOXES_1].replace(",", " ")},
        f"separator: {BOXES_1}: row 1 is separated by spaces: "
        "'10.0000 20.0000 30.0000 40.0000'; the server reads commas",
    ),
    "five columns": (
        lambda e: rows_1(e, 4, "1,2,3,4,0.97"),
        f"columns: {BOXES_1}: row 4 is '1,2,3,4,0.97', expected x,y,w,h",
    ),
    "words": (
        lambda e: rows_1(e, 1, "x,y,w,h"),
        f"columns: {BOXES_1}: row 1 is 'x,y,w,h', expected x,y,w,h",
    ),
    "numbers of Python alone": (
        lambda e: rows_1(e, 3, "1_0,2,3,4"),
        f"columns: {BOXES_1}: row 3 is '1_0,2,3,4', expected x,y,w,h",
    ),
    "one time for all frames": (
        lambda e: e | {TIMES_1: lines(1, "0.2")},
        f"times: {TIMES_1}: 1 row for 5 frames",
    ),
    "an empty file": (lambda e: e | {BOXES_1: "\n"}, f"columns: {BOXES_1}: it is empty"),
    "a byte order mark": (
        lambda e: e | {BOXES_1: "\ufeff" + e[BOXES_1]},
        f"encoding: {BOXES_1}: it is no plain text: save it as UTF-8 without a mark",
    ),
    "a duplicate entry": (
        lambda e: [*e.items(), (BOXES_1, e[BOXES_1])],
        f"duplicate: {BOXES_1}: it is 2 times in the archive",
    ),
    "a duplicate sequence": (
        lambda e: e | {f"old/{FIRST}/{FIRST}_001.txt": e[BOXES_1]},
        f"duplicate: old/{FIRST}/{FIRST}_001.txt: sequence {FIRST} is also in {BOXES_1}",
    ),
    "a file out of its folder": (
        lambda e: without(e, TIMES_1) | {f"{FIRST}_time.txt": e[TIMES_1]},
        f"nested: {FIRST}_time.txt: expected at {TIMES_1}",
    ),
    "another folder around one sequence": (
        lambda e: (
            without(e, BOXES_1, TIMES_1)
            | {f"x/{BOXES_1}": e[BOXES_1]}
            | {f"x/{TIMES_1}": e[TIMES_1]}
        ),
        "nested: x/: 2 files lie here, others elsewhere",
    ),
    "times that are missing": (
        lambda e: without(e, TIMES_1),
        f"times: {FIRST}: {TIMES_1} is missing",
    ),
    "times of fewer frames": (
        lambda e: e | {TIMES_1: lines(4, "0.02")},
        f"times: {TIMES_1}: 4 rows for 5 frames",
    ),
    "times in milliseconds": (
        lambda e: e | {TIMES_1: lines(5, "12.5")},
        f"times: {TIMES_1}: the median is 12.5; seconds per frame are 0.0001 to 10",
    ),
    "times of zero": (
        lambda e: e | {TIMES_1: lines(5, "0.00000000")},
        f"times: {TIMES_1}: the median is 0; seconds per frame are 0.0001 to 10",
    ),
    "negative times": (
        lambda e: e | {TIMES_1: "0.1\n-1\n0.1\n0.1\n0.1\n"},
        f"times: {TIMES_1}: row 2 is -1; seconds per frame are 0 to 600",
    ),
    "a time of many hours": (
        lambda e: e | {TIMES_1: "0.1\n0.1\n0.1\n0.1\n1.7e9\n"},
        f"times: {TIMES_1}: row 5 is 1.7e+09; seconds per frame are 0 to 600",
    ),
    "times that are nan": (
        lambda e: e | {TIMES_1: lines(5, "nan")},
        f"times: {TIMES_1}: row 1 is nan; seconds per frame are 0 to 600",
    ),
    "times of two runs, boxes of one": (
        lambda e: e | {TIMES_1: lines(5, "0.1,0.2")},
        f"times: {TIMES_1}: row 1 is '0.1,0.2', expected 1 number",
    ),
}
NET_ZIPS = {
    "a missing sequence": (lambda e: without(e, ZY), f"missing: zYZH_1: {ZY} is not there"),
    "a file of times": (
        lambda e: e | {"zYZH_1_time.txt": lines(3, "0.1")},
        "surplus: zYZH_1_time.txt: it belongs to no sequence; files are called SEQUENCE.txt",
    ),
    "a file that the server mixes up": (
        lambda e: e | {"my_zYZH_1.txt": lines(3)},
        "surplus: my_zYZH_1.txt: the server takes it for zYZH_1, finds two files and scores none",
    ),
    "a folder": (
        lambda e: without(e, ZY) | {f"results/{ZY}": e[ZY]},
        f"nested: results/{ZY}: expected at {ZY}",
    ),
    "backslashes": (
        lambda e: e | {"TEST\\x.txt": lines(3)},
        "surplus: TEST\\x.txt: folders are separated by backslashes, which are part of the name "
        "on the server",
    ),
    "tabs": (
        lambda e: e | {ZY: lines(3, "1\t2\t3\t4")},
        f"separator: {ZY}: row 1 is separated by tabs: '1\\t2\\t3\\t4'; the server reads commas",
    ),
    "semicolons": (
        lambda e: e | {ZY: lines(3, "1;2;3;4")},
        f"separator: {ZY}: row 1 is separated by semicolons: '1;2;3;4'; the server reads commas",
    ),
    "a duplicate": (
        lambda e: e | {f"b/{ZY}": e[ZY]},
        f"duplicate: b/{ZY}: sequence zYZH_1 is also in {ZY}",
    ),
    "a binary file": (
        lambda e: e | {ZY: b"\xff\xfe1\0"},
        f"encoding: {ZY}: it is no plain text: save it as UTF-8 without a mark",
    ),
    "a short file": (lambda e: e | {ZY: lines(2)}, f"short: {ZY}: 2 rows for 3 frames"),
    "nan in one number": (
        lambda e: e | {ZY: lines(2) + "nan,2,3,4\n"},
        f"nan: {ZY}: row 3 with NaN: nan,2,3,4",
    ),
}


@pytest.mark.parametrize(
    ("benchmark", "change", "line"),
    [("got10k_test", *case) for case in GOT_ZIPS.values()]
    + [("trackingnet_test", *case) for case in NET_ZIPS.values()],
    ids=[f"GOT-10k, {name}" for name in GOT_ZIPS] + [f"TrackingNet, {name}" for name in NET_ZIPS],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_every_wrong_archive_has_its_line_and_no_other(tmp_path, benchmark, change, line):
    path = write_zip(tmp_path / "wrong.zip", change(right_entries(benchmark)))
    assert faults(path, benchmark) == [line]


def test_a_folder_around_all_sequences_is_allowed_by_got10k(tmp_path):
    entries = {f"tracker/{name}": text for name, text in right_entries("got10k_test").items()}
    path = write_zip(tmp_path / "wrapped.zip", entries)
    (finding,) = check_submission(path, "got10k_test", expected("got10k_test"))
    assert (finding.kind, finding.where, finding.fault) == ("nested", "tracker/", False)
    deeper = {f"a/{name}": text for name, text in entries.items()}
    lines = faults(write_zip(tmp_path / "deeper.zip", deeper), "got10k_test")
    assert len(lines) == 8
    assert lines[0] == f"nested: a/tracker/{BOXES_1}: expected at {BOXES_1}"


def test_what_is_no_archive_or_damaged_is_told(tmp_path):
    path = tmp_path / "x.zip"
    path.write_text("Rar!")
    assert faults(path, "got10k_test") == ["archive: x.zip: it is no zip archive, or was cut short"]
    data = bytearray(write_zip(path, right_entries("trackingnet_test")).read_bytes())
    place = data.index(b"10.0000")  # in the first file
    data[place] = ord("9")
    path.write_bytes(data)
    (line,) = faults(path, "trackingnet_test")
    assert line.startswith("archive: 0-6LB4FqxoE_0.txt: the entry is damaged or encrypted (Bad CRC")
    path.write_bytes(data[: len(data) // 2])
    assert faults(path, "trackingnet_test") == [
        "archive: x.zip: it is no zip archive, or was cut short"
    ]
    write_zip(path, {})
    assert [line.split(":")[0] for line in faults(path, "trackingnet_test")] == ["missing"] * 3


def test_a_first_row_that_is_not_the_given_box_is_a_note(tmp_path):
    entries = right_entries("trackingnet_test") | {ZY: lines(3, "10,20,40,60")}
    path = write_zip(tmp_path / "corners.zip", entries)
    (finding,) = check_submission(path, "trackingnet_test", expected("trackingnet_test"))
    assert not finding.fault
    assert finding.text == "row 1 is 10,20,40,60, the given box is 10,20,30,40"


def test_three_runs_with_three_columns_of_times_pass(tmp_path):
    entries = right_entries("got10k_test")
    for run in (2, 3):
        entries[f"{FIRST}/{FIRST}_{run:03d}.txt"] = entries[BOXES_1]
    entries[TIMES_1] = lines(5, "0.1,0.2, 0.3")
    path = write_zip(tmp_path / "runs.zip", entries)
    assert check_submission(path, "got10k_test", expected("got10k_test")) == []
    path = write_zip(tmp_path / "first.zip", without(entries, BOXES_1))
    assert "is not there" in faults(path, "got10k_test")[0]


def test_benchmarks_without_a_server_are_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", {})
    with pytest.raises(ValueError, match="otb has no server; there are got10k_test, trackingnet"):
        check_submission(path, "otb", Expected({}))
