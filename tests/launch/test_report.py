"""The page as its readers get it: what is in the file, and what Chromium makes of it."""

import json
import math
import os
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

import detweights
import headless_chromium
import kept_programs
import score_fixtures as given
import small_datasets as small
from esat_jax.evaluation.manifest import Maker, ResultFolder, file_sha256
from esat_jax.evaluation.result_files import write_result
from esat_jax.follower import Track
from fake_sequences import FakeSequence
from launch.report_inputs import find_run, weights_and_tracker
from tiny_tracker import make_tiny, write_tracker
from tool_run import ROOT, run_tool

NASTY = """<b>&"'"""
FRAMES, BOXES_XYWH = detweights.video("report", 12, 96, 128, (30, 24, 28, 22), (3, 2))
LENGTHS = {"lost at the end": 12, "found": 9}
MARKUP_WITHOUT_END = {"meta", "link", "input", "img", "br"}


def run(tool, *arguments, cache):
    variables = {"ESAT_CACHE": str(cache / "indexes"), **kept_programs.variables(cache)}
    return run_tool(ROOT, tool, *arguments, variables=variables)


class Page(HTMLParser):
    """Tables by caption, texts by element, addresses; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.texts, self.addresses = {}, {}, []
        self._open, self._rows = [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for key, value in attributes if key in ("href", "src")]
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in MARKUP_WITHOUT_END:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in ("rect", "line", "path", "image"), f"HTML knows no <{tag}/>"

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self.texts["caption"][-1]] = self._rows
            self._rows = []

    def handle_data(self, data):
        if self._open and self._open[-1] == "caption":
            self.texts.setdefault("caption", []).append(data)
        elif {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data
        elif self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


@pytest.fixture(scope="module")
def lasot(tmp_path_factory, program_cache):
    """Two reports' sources of a benchmark without frames: the page, and launch.score's numbers."""
    root = tmp_path_factory.mktemp("lasot")
    small.write_folder(root, given.lasot_tree())
    results = [f"{NASTY}={root}/raw/good_tracking_result"]
    results += [f"{root}/raw/{name}_tracking_result" for name in ("mediocre", "bad")]
    flags = "--benchmark=lasot_test", f"--root={root}", f"--toolkit={root / 'annos'}"
    flags += (f"--results={','.join(results)}",)
    done = run("report", *flags, f"--output={root / 'report.html'}", cache=program_cache)
    assert done.returncode == 0, done.stderr
    run("score", *flags, f"--output={root}", cache=program_cache)
    return root / "report.html", json.loads((root / "scores.json").read_text())


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, program_cache):
    """A page about two trackers on videos, one of them ESAT with weights, and its folder."""
    root = tmp_path_factory.mktemp("tracked")
    config, variables = make_tiny()
    weights = write_tracker(root, config, variables)
    maker = Maker("folders", file_sha256(weights), config.to_dict())
    folder = ResultFolder(root / "esat", "tiny", maker)
    folder.claim(LENGTHS, {})
    for name, length in LENGTHS.items():
        (root / "videos" / name / "img").mkdir(parents=True)
        for i, frame in enumerate(FRAMES[:length]):
            path = root / "videos" / name / "img" / f"{i:05d}.jpg"
            cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        boxes = np.array(BOXES_XYWH[:length], np.float64)
        rows = [",".join(map(str, row)) for row in boxes]
        rows[4] = "nan,nan,nan,nan"
        (root / "videos" / name / "groundtruth.txt").write_text("\n".join(rows) + "\n")
        moved = boxes + np.array([3, 0, 0, 0]) * (np.arange(length) > 0)[:, None]
        write_result(root / "raw", "folders", "moved", name, moved, np.full(length, 0.02))
        lost = (np.arange(length) >= 9) & (name != "found")
        found = np.where(lost[:, None], [0, 0, 10, 10], boxes)
        scores = np.where(lost, 0.1, 0.9)
        sequence = FakeSequence("folders", name, boxes, np.ones(length, bool))
        times = np.full(length, 0.04)
        folder.write(Track(sequence, found, np.r_[np.nan, scores[1:]], lost, times, None))
    flags = f"--benchmark=folders:{root / 'videos'}", "--figures=1", "--draws=200"
    flags += (f"--results={root / 'raw/moved'},ours={root / 'esat'}",)
    done = run(
        *("report", *flags, f"--weights={weights}", f"--output={root / 'report.html'}"),
        cache=program_cache,
    )
    assert done.returncode == 0, done.stderr
    return root, flags


def test_the_scores_are_those_of_launch_score(lasot):
    page, scores = Page(lasot[0].read_text()), lasot[1]
    heads, *rows = page.tables["Scores under each rule"]
    assert heads == ["score", "rule", NASTY, "mediocre", "bad"]
    auc = {row[1]: row[2:] for row in rows[:5]}
    titles = {"ostrack": "OSTrack family", "lasot_toolkit": "LaSOT/TNL2K toolkit (MATLAB)"}
    for rule, title in titles.items():
        for place, tracker in enumerate((NASTY, "mediocre", "bad")):
            found = scores["trackers"][tracker]["rules"][rule]
            if "refused" in found:
                assert auc[title][place] == "-"
                continue
            value, low, high = (
                100 * found["scores"]["AUC"][key] for key in ("value", "low", "high")
            )
            assert auc[title][place] == f"{value:.2f} [{low:.1f}, {high:.1f}]"
    toolkit = {name: scores["trackers"][name]["rules"]["lasot_toolkit"] for name in heads[2:]}
    _, *rows = page.tables["success AUC / AO by attribute"]
    assert len(rows) > 10
    for attribute, count, *cells in rows:
        for name, cell in zip(heads[2:], cells, strict=True):
            part = toolkit[name]["attributes"][attribute]
            assert int(count) == part["sequences"]
            assert cell == f"{100 * part['AUC']:.2f}"
    _, *rows = page.tables["success AUC / AO by sequence"]
    assert [row[0] for row in rows] == scores["sequences"]
    for place, row in enumerate(rows):
        for name, cell in zip(heads[2:], row[2:5], strict=True):
            value = toolkit[name]["per_sequence"]["AUC"][place]
            assert cell == ("-" if value is None else f"{100 * value:.2f}")
    pair = next(
        pair
        for pair in scores["comparisons"]
        if (pair["tracker"], pair["rule"], pair["score"]) == ("mediocre", "ostrack", "AUC")
    )
    row = page.tables[f"Differences from {NASTY}"][1]
    assert row[2].startswith(f"{100 * pair['value']:+.2f} [")
    assert row[2].endswith(pair["verdict"])


def test_curves_and_worst_sequences_are_there_without_frames(lasot):
    text, scores = lasot[0].read_text(), lasot[1]
    page = Page(text)
    curve = scores["trackers"][NASTY]["rules"]["lasot_toolkit"]["curves"]["success"]
    said = f"overlap threshold 0.5\n{NASTY}: {100 * curve['mean'][10]:.1f} %\nmediocre: "
    assert any(title.startswith(said) for title in page.texts["title"])
    assert text.count('class="curve"') == 3 * 4 + 1  # got10k's rule has one
    assert text.count('class="time"') == text.count("No pictures: ") == 6
    remarks = page.texts["li"]
    assert "the data set here has 8 of its 280 sequences." in remarks
    assert any(each.startswith("bad has no score by the rule of pytracking") for each in remarks)
    assert "film strips show 6 of 8 sequences, those in which bad overlaps the target least." in (
        remarks
    )
    assert "No result has a file of times." in page.texts["p"]


def test_nothing_in_the_file_leads_outside(lasot, tracked):
    for path in (lasot[0], tracked[0] / "report.html"):
        page = Page(path.read_text())
        assert page.addresses
        assert all(each.startswith(("data:", "#")) for each in page.addresses)
        assert not re.search(r"url\(|@import|https?:", path.read_text())
        assert "default-src &#x27;none&#x27;; img-src data:;" in path.read_text()


def test_videos_have_film_strips_scores_over_time_and_lost_moments(tracked):
    text = (tracked[0] / "report.html").read_text()
    page = Page(text)
    assert [each for each in page.texts["h3"] if each.strip() in LENGTHS] == [
        *("lost at the end ", "found ")  # the worst for ESAT first
    ]
    assert text.count('<svg viewBox="') > 2 * 7
    assert page.texts["title"].count("ours says that it is lost") == 1  # one run of frames
    assert page.texts["title"].count("the target is absent") == 2
    assert "never lost" in page.texts["text"]
    assert {"overlap", "score", "lost"} <= set(page.texts["text"])
    heads, *rows = page.tables["success AUC / AO by sequence"]
    assert heads[-1] == "ours lost"
    assert {row[0]: row[-1] for row in rows} == {"lost at the end": "25.0", "found": "0.0"}
    _, *rows = page.tables["Speed by the files of times"]
    assert [row[:4] for row in rows] == [
        ["moved", "50.0", "50.0", "20.0"],
        ["ours", "25.0", "25.0", "40.0"],
    ]
    overlap = 25 * 22 / (31 * 22)  # of 28 x 22 px, moved by 3
    assert f"moved\N{NO-BREAK SPACE}{overlap:.2f}, ours\N{NO-BREAK SPACE}1.00" in text


def test_the_network_is_shown_where_it_searched(tracked):
    page = Page((tracked[0] / "report.html").read_text())
    captions = [each for each in page.texts["figcaption"] if each[0].isalpha()]
    for wanted in (
        "after elimination: 12 of 16",
        "attention of the target",
        "score map",
        "position embeddings",
        "learned absolute positions",
        "learned positive-negative positions",
        "features after the last block",
    ):
        assert captions.count(wanted) == 1


@pytest.mark.skipif(headless_chromium.PROGRAM is None, reason="needs chromium or chrome")
def test_chromium_opens_the_pages_without_a_word_or_a_request(lasot, tracked, tmp_path):
    grounds = set()
    with headless_chromium.Page(tmp_path) as browser:
        for path in (lasot[0], tracked[0] / "report.html"):
            for scheme in ("light", "dark"):
                browser.open(path, scheme)
                assert browser.run("document.querySelectorAll('section').length") > 4
                assert browser.run("document.documentElement.scrollWidth") == 1366
                assert browser.run(
                    "[...document.images].every(each => each.complete && each.naturalWidth)"
                )
                grounds.add((scheme, browser.run("getComputedStyle(document.body).background")))
        click_through(browser)
    assert browser.messages == []
    asked = [each for each in browser.requests if not each.startswith("data:")]
    assert asked == [path.as_uri() for path in (lasot[0], tracked[0] / "report.html") for _ in "ab"]
    assert len(grounds) == 2
    assert len({ground for _, ground in grounds}) == 2


def click_through(browser):
    """The open page sorts its sequences, hides a tracker, and shows one rule's curves."""
    cells = "[...document.querySelectorAll('#sequences tbody tr')].map(row => row.cells[{}].{})"
    for column, key in ((1, "textContent"), (3, "dataset.value")):
        button = f"document.querySelectorAll('#sequences thead button')[{column}]"
        for sign in (-1, 1):
            browser.run(f"{button}.click()")
            values = [float(each) for each in browser.run(cells.format(column, key))]
            assert values == sorted(values, key=lambda value: sign * value)
            assert not any(map(math.isnan, values))
    parts = "[...document.querySelectorAll('main .t1')]"
    shown = f"{parts}.filter(each => getComputedStyle(each).display != 'none').length"
    before = browser.run(shown)
    browser.run("document.querySelector('input[data-hides=t1]').click()")
    assert before > 0 == browser.run(shown)
    groups = "[...document.querySelectorAll('.curves')].map(each => each.checkVisibility())"
    assert browser.run(groups).count(True) == 1
    browser.run("const s = document.querySelector('select'); s.selectedIndex = 2; "
                "s.dispatchEvent(new Event('change'))")  # fmt: skip
    assert browser.run(groups).index(True) == 2


def test_pictures_beyond_the_limit_are_left_out_and_told(tracked, tmp_path, program_cache):
    root, flags = tracked
    path = tmp_path / "small.html"
    done = run("report", *flags, "--max_megabytes=0", f"--output={path}", cache=program_cache)
    assert done.returncode == 0, done.stderr
    page = Page(path.read_text())
    assert (
        "pictures of 2 were left out for their size, beginning with lost at the end; "
        "--max_megabytes gives more room."
    ) in page.texts["li"]
    assert path.stat().st_size < (root / "report.html").stat().st_size
    assert "image/jpeg" not in path.read_text()
    assert os.listdir(tmp_path) == ["small.html"]


def test_wrong_input_is_one_sentence(tracked, tmp_path, program_cache):
    _, flags = tracked
    for more, sentence in (
        ([f"--output={tmp_path}/no/x.html"], "x.html: its folder does not exist; make it first."),
        (
            [f"--results={'x,' * 12}x"],
            "error: --results names 13 trackers; a report tells 12 apart.",
        ),
        (["--subject=theirs"], "error: --subject=theirs is none of moved, ours."),
        (["--sequences=a"], "error: --sequences: 'a' is not among the sequences that are scored."),
    ):
        output = f"--output={tmp_path / 'x.html'}"
        done = run("report", *flags, output, *more, cache=program_cache)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]
        assert os.listdir(tmp_path) == []


def test_weights_belong_to_the_tracker_whose_boxes_they_made(tracked, tmp_path):
    root, trackers = tracked[0], ("moved", "ours")
    weights, other = root / "tiny.safetensors", tmp_path / "other"
    other.write_bytes(weights.read_bytes() + b" ")
    runs = {"ours": find_run(root / "esat")}
    assert runs["ours"] == find_run(root / "esat/tiny")  # the folder of its boxes
    assert find_run(root / "raw/moved") is None
    assert weights_and_tracker(f"{weights}", runs, trackers) == (f"{weights}", "ours")
    assert weights_and_tracker(f"ours={weights}", runs, trackers) == (f"{weights}", "ours")
    assert weights_and_tracker(f"moved={other}", runs, trackers) == (f"{other}", "moved")
    for text, sentence in (
        (f"{tmp_path}/none", "there is no file"),
        (f"{other}", "no manifest says that these weights made any of the results; name the"),
        (f"ours={other}", "the results of ours were made by other weights, says their manifest."),
        (f"theirs={other}", "theirs is none of moved, ours."),
    ):
        with pytest.raises(ValueError, match=sentence):
            weights_and_tracker(text, runs, trackers)
