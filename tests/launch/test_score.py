"""Scores from files, in the layouts of LaSOT and GOT-10k, against the original codes' numbers."""

import csv
import json

import pytest

import score_fixtures as given
import small_datasets as small
from tool_run import ROOT, run_tool

LASOT = given.LASOT
GOT = {name: f"GOT-10k_Val_{n:06d}" for n, name in enumerate(given.SEQUENCES, start=1)}


def score(*args, cache):
    return run_tool(ROOT, "score", *args, variables={"ESAT_CACHE": str(cache)})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """LaSOT and GOT-10k's val with the made-up benchmark, and raw results of three trackers."""
    root, tree = tmp_path_factory.mktemp("score"), given.lasot_tree()
    tree["got10k/val/list.txt"] = small.lines(GOT.values())
    for name in given.SEQUENCES:
        truth = given.INPUTS
        got10k, size = f"got10k/val/{GOT[name]}", truth[f"{name}/size"]
        tree[f"{got10k}/groundtruth.txt"] = given.text(truth[f"{name}/B/gt"])
        tree[f"{got10k}/cover.label"] = small.lines(truth[f"{name}/cover"])
        for label in ("absence", "cut_by_image"):
            tree[f"{got10k}/{label}.label"] = small.lines(truth[f"{name}/absent"])
        info = f"[METAINFO]\nresolution: ({size[0]}, {size[1]})\n"
        tree[f"{got10k}/meta_info.ini"] = info.encode()
        for tracker in ("good", "bad", "bad_zeroed"):
            folder = f"got/{tracker}/{GOT[name]}/{GOT[name]}"
            tree[f"{folder}_001.txt"] = given.text(given.result("B", tracker, name))
            if (tracker, name) != ("good", "occl-1"):
                times = given.OUTPUTS[f"got10k/{tracker}/times/{name}"]
                tree[f"{folder}_time.txt"] = small.lines(f"{t:.8f}" for t in times)
    small.write_folder(root, tree)
    return root


@pytest.fixture(scope="module")
def lasot(root):
    raw = [f"{root}/raw/{tracker}_tracking_result" for tracker in ("good", "mediocre", "bad")]
    done = score(
        *("--benchmark=lasot_test", f"--root={root}", f"--toolkit={root / 'annos'}"),
        *(f"--results={','.join(raw)}", f"--output={root / 'out'}"),
        cache=root / "cache",
    )
    return done, json.loads((root / "out/scores.json").read_text())


def test_every_column_is_the_original_codes_score(lasot):
    _, scores = lasot
    for code in ("ostrack", "pytracking"):
        for tracker in ("good", "mediocre"):
            numbers = given.NUMBERS["ope"][code]["lasot_A"]["scores"][tracker]
            found = scores["trackers"][tracker]["rules"][code]["scores"]
            assert found["AUC"]["value"] == pytest.approx(numbers["AUC"] / 100, abs=1e-6)
            assert found["P20"]["value"] == pytest.approx(numbers["Precision"] / 100, abs=1e-6)
            assert found["NP20"]["value"] == pytest.approx(numbers["NormPrecision"] / 100, abs=1e-6)
    numbers = given.NUMBERS["matlab"]["lasot/A"]
    for tracker in ("good", "mediocre", "bad"):
        found = scores["trackers"][tracker]["rules"]["lasot_toolkit"]
        for key in ("AUC", "P20", "NP20"):
            assert found["scores"][key]["value"] == pytest.approx(numbers[key][tracker], abs=1e-9)
        for attribute, values in numbers["attributes"].items():
            assert found["attributes"][attribute]["AUC"] == pytest.approx(values["AUC"][tracker])
        for name, value in numbers["per_sequence"]["AUC"][tracker].items():
            row = scores["sequences"].index(LASOT[name])
            if name not in numbers["dropped"]["success"][tracker]:
                assert found["per_sequence"]["AUC"][row] == pytest.approx(value, abs=1e-9)
            else:
                assert found["per_sequence"]["AUC"][row] is None


def test_the_tables_name_every_rule_and_refuse_with_a_sentence(lasot, root):
    done, scores = lasot
    assert done.returncode == 1  # two rules refused one tracker
    assert done.stdout == (root / "out/scores.md").read_text()
    assert done.stdout.startswith("# lasot_test: 8 of 280 sequences, 830 frames\n")
    assert "The benchmark's own rule is that of: LaSOT/TNL2K toolkit (MATLAB)." in done.stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    table = {row[1]: row for row in rows[6:11]}
    assert rows[4] == ["score", "rule", "good", "mediocre", "bad"]
    assert table["OSTrack family"][0] == "success AUC / AO"
    assert table["OSTrack family"][2].startswith("70.55 [")
    assert table["pytracking"][3].startswith("36.78 [")
    assert table["pytracking"][4] == "-"
    assert table["LaSOT/TNL2K toolkit (MATLAB)"][4].startswith("11.61 [")
    assert "* the data set here has 8 of its 280 sequences.\n" in done.stdout
    assert "## mediocre against good" in done.stdout
    first = LASOT["plain-1"]
    assert f"* bad has no score by the rule of pytracking: {first}: row 1 is nan," in done.stdout
    assert "* bad: 8 of 8 results are flawed (nan): " in done.stdout
    assert "* mediocre: 8 of 8 results are flawed (zero): " in done.stdout
    assert "(4 rows with a width or height of zero, the first is row " in done.stdout
    assert "refused" in scores["trackers"]["bad"]["rules"]["ostrack"]
    assert any(row[:2] == ["FOC", "5"] for row in rows)


def test_intervals_and_comparisons_say_what_is_noise(lasot):
    _, scores = lasot
    found = scores["trackers"]["good"]["rules"]["ostrack"]["scores"]["AUC"]
    assert found["low"] < found["value"] < found["high"]
    pairs = {(pair["tracker"], pair["rule"], pair["score"]): pair for pair in scores["comparisons"]}
    pair = pairs["mediocre", "ostrack", "AUC"]
    assert pair["minus"] == "good"
    assert pair["value"] == pytest.approx((39.376487 - 70.545807) / 100, abs=1e-6)
    assert pair["high"] < 0
    assert pair["verdict"] == "difference"
    assert ("bad", "lasot_toolkit", "AUC") in pairs
    assert ("bad", "ostrack", "AUC") not in pairs


def test_sheets_have_a_line_for_everything(lasot, root):
    with (root / "out/scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    chosen = {
        line["of"]: line
        for line in lines
        if (line["tracker"], line["rule"], line["score"]) == ("good", "lasot_toolkit", "AUC")
    }
    numbers = given.NUMBERS["matlab"]["lasot/A"]
    assert float(chosen["all"]["value"]) == pytest.approx(numbers["AUC"]["good"], abs=1e-12)
    assert float(chosen["all"]["low"]) < float(chosen["all"]["value"])
    assert float(chosen["FOC"]["value"]) == pytest.approx(
        numbers["attributes"]["FOC"]["AUC"]["good"], abs=1e-12
    )
    assert float(chosen[LASOT["ties-1"]]["value"]) == pytest.approx(
        numbers["per_sequence"]["AUC"]["good"]["ties-1"], abs=1e-12
    )
    assert chosen["all"]["sequences"] == "8"


def test_got10k_is_scored_with_its_own_rule_and_speed(root):
    done = score(
        *("--benchmark=got10k_val", f"--root={root}", "--rules=got10k,lasot_toolkit"),
        *(f"--results=a={root / 'got/good'},b={root / 'got/bad'}", f"--output={root / 'g'}"),
        cache=root / "cache",
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((root / "g/scores.json").read_text())["trackers"]
    numbers = given.NUMBERS["got10k"]
    for tracker, name in (("a", "good"), ("b", "bad")):
        found = scores[tracker]["rules"]["got10k"]["scores"]
        assert found["SR50"]["value"] == pytest.approx(numbers[name]["SR50"], abs=1e-9)
        assert found["SR75"]["value"] == pytest.approx(numbers[name]["SR75_from_curve"], abs=1e-9)
        speed = scores[tracker]["frames_per_second"]
        assert speed == pytest.approx(numbers[name]["speed_fps"], rel=1e-5)
    assert scores["a"]["rules"]["got10k"]["scores"]["AO"]["value"] == pytest.approx(
        numbers["good"]["AO"], abs=1e-9
    )
    assert scores["b"]["rules"]["got10k"]["scores"]["AO"]["value"] is None
    assert "OSTrack" not in done.stdout


def test_missing_results_are_an_error_unless_partial_is_said(root, tmp_path):
    names = [LASOT[name] for name in ("plain-1", "ties-1")]
    for name in names:
        rows = (root / f"raw/good_tracking_result/{name}.txt").read_text()
        (tmp_path / f"{name}.txt").write_text(rows)
    args = "--benchmark=lasot_test", f"--root={root}", f"--results=few={tmp_path}", "--draws=200"
    done = score(*args, cache=root / "cache")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        f"error: {tmp_path}: 6 of the 8 sequences of lasot_test have no result: "
        f"{LASOT['occl-1']}, {LASOT['border-1']}, {LASOT['beyond-1']} and 3 more. --partial scores "
        "the others.\n"
    )
    done = score(*args, "--partial", cache=root / "cache")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# lasot_test: 2 of 280 sequences, 320 frames\n")
    both = f"--results=few={tmp_path},{root}/raw/mediocre_tracking_result"
    done = score(*args[:2], both, "--draws=200", "--partial", cache=root / "cache")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# lasot_test: 2 of 280 sequences, 320 frames\n")
    values = given.NUMBERS["matlab"]["lasot/A"]["per_sequence"]["AUC"]["good"]
    assert f" {50 * (values['plain-1'] + values['ties-1']):.2f} [" in done.stdout


def test_wrong_input_is_one_sentence(root, tmp_path):
    for flags, sentence in (
        (
            ("--benchmark=got10k_test", "--results=x"),
            "error: the truth of got10k_test is kept by its server: python -m launch.submit",
        ),
        (
            ("--benchmark=lasot_tset", "--results=x"),
            "error: unknown benchmark 'lasot_tset'; did you mean",
        ),
        (
            ("--benchmark=lasot_test", "--results=a/x,b/x"),
            "error: two trackers are called 'x'; name them, NAME=b/x.",
        ),
        (
            ("--benchmark=lasot_test", "--results=x", "--rules=ostrack,mine"),
            "error: unknown rules ['mine']; there are ostrack, pytracking, lasot_toolkit,",
        ),
        (
            ("--benchmark=lasot_test", "--results="),
            "error: --results names no folder of results; write --results=NAME=FOLDER.",
        ),
        (
            ("--benchmark=lasot_test", f"--results={tmp_path / 'none'}"),
            f"error: {tmp_path / 'none'}: expected a folder or zip archive of results, nothing",
        ),
    ):
        done = score(*flags, f"--root={root}", cache=root / "cache")
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1].startswith(sentence), done.stderr
