"""The page about one tracked video, read back from its own text."""

import base64
import re

import cv2
import numpy as np
import pytest

from tool_run import ROOT, run_tool

SCORES = (np.nan, 0.9, 0.8, 0.2, 0.7, 0.6, np.nan, 0.5, 0.95)  # frame 7, from 1, is damaged
LOST = (4, 7)  # from 1
FIRST_NUMBER = 3  # of frames in the source, as of a run with --start_frame


def write_run(folder, scores=SCORES):
    (folder / "results").mkdir(parents=True)
    boxes = [f"{40 + 2 * i}.000,30.000,20.000,16.000" for i in range(len(SCORES))]
    rows = []
    for i, score in enumerate(scores):
        note = "given" if i == 0 else "damaged" if np.isnan(score) else "tracked"
        rows.append(f"{i + FIRST_NUMBER},{score:.4f},{i + 1 in LOST:d},{note}")
    (folder / "results/boxes.txt").write_text("\n".join(boxes) + "\n")
    (folder / "results/scores.txt").write_text("\n".join(rows) + "\n")
    (folder / "film").mkdir()
    for number in range(FIRST_NUMBER + len(SCORES)):  # a brightness for each frame
        image = np.full((120, 160, 3), 15 * number + 20, np.uint8)
        cv2.imwrite(str(folder / "film" / f"{number:03d}.png"), image)
    return [f"--source={folder / 'film'}", f"--results={folder / 'results'}"]


def report(*flags):
    return run_tool(ROOT, "video_report", *flags)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    done = report(*write_run(folder), "--frames=4", "--credit=By <A & B>.")
    assert done.returncode == 0, done.stderr
    return (folder / "results/report.html").read_text()


def test_the_strip_shows_the_frames_with_the_lowest_scores(page):
    # Of frames 2 to 9 in parts of 3, 3 and 2: frame 4, frame 6 and frame 8, and the first.
    assert re.findall(r"</span> frame (\d+)<br>", page) == ["1", "4", "6", "8"]
    assert re.findall(r"<br>([^<]*)</figcaption>", page) == [
        *("the given box", "score 0.20, lost", "score 0.60", "score 0.50")
    ]


def test_its_pictures_are_those_frames_of_the_source_with_their_boxes(page):
    images = re.findall(r'href="data:image/jpeg;base64,([^"]+)"', page)
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_COLOR).mean()
        for image in images
    ]
    places = (0, 3, 5, 7)
    np.testing.assert_allclose(shown, [15 * (i + FIRST_NUMBER) + 20 for i in places], atol=2)
    lines = re.findall(r'<rect x="([\d.]+)" y="30" width="20" height="16"[^>]*class="line"', page)
    assert [float(x) for x in lines] == [40 + 2 * i for i in places]


def test_the_plot_has_every_score_and_gaps_where_there_is_none(page):
    paths = re.findall(r'<path d="([^"]+)"[^>]*class="line t0"', page)
    assert len(paths) == 1
    points = np.array(re.findall(r"([ML])([\d.]+) ([\d.]+)", paths[0]))
    assert "".join(points[:, 0]) == "MLLLLML"
    heights = points[:, 2].astype(float)
    known = np.array(SCORES)[~np.isnan(SCORES)]
    slope, offset = np.polyfit(known, heights, 1)
    np.testing.assert_allclose(heights, slope * known + offset, atol=0.02)
    assert slope < 0  # up is high
    assert page.count('class="lost t0"') == len(LOST)


def test_the_page_says_what_is_known_and_nothing_of_a_truth(page):
    assert "9 frames, lost in 2. Score: 0.66 in the mean, 0.20 at least." in page
    assert "By &lt;A &amp; B&gt;." in page
    assert 'data-hides="truth"' not in page
    assert 'class="box truth"' not in page
    outside = re.findall(r'(?:href|src)="(?!data:|#)[^"]*"', page)
    assert outside == []


def test_other_files_are_refused_in_a_sentence(tmp_path):
    flags = write_run(tmp_path)
    scores = tmp_path / "results/scores.txt"
    scores.write_text("1,2\n")
    done = report(*flags)
    assert done.returncode == 1
    assert done.stderr == f"error: {scores}: expected rows frame,score,lost,note of launch.track.\n"
    scores.write_text("3,nan,0,given\n")
    assert "are not of the same run" in report(*flags).stderr
    scores.unlink()
    assert report(*flags).stderr == f"error: {scores}: No such file or directory\n"
