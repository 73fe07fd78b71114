"""The picture of training curves, read as a reader does: by the numbers at its axes."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tool_run import ROOT, run_tool

STEPS = range(10, 101, 10)


def write_run(folder, rows, starts=(0,)):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [json.dumps({"step": step, "time": "2026-01-01", "hosts": 1}) for step in starts]
    (folder / "starts.jsonl").write_text("\n".join(lines) + "\n")
    return f"--run={folder}"


def plot(*flags):
    return run_tool(ROOT, "plot_training", *flags)


def local(tag):
    return tag.rpartition("}")[2]


class Panel:
    """A plot, and the way from px back to its numbers by the texts beside the lines of its grid."""

    def __init__(self, group):
        self.lines, self.restarts, self.dots = {}, {}, {}
        for each in group.iter():
            kind = (each.get("class") or "").partition(" ")[0]
            title = next((c.text for c in each if local(c.tag) == "title"), None)
            if kind == "restart":
                self.restarts[title] = float(each.get("x1"))
            if local(each.tag) == "g" and each is not group:
                (path,) = (c for c in each if local(c.tag) == "path")
                self.lines[title] = path
                self.dots[title] = [c for c in each if local(c.tag) == "circle"]
        texts = [each for each in group if local(each.tag) == "text"]
        self.title = texts[0].text
        grid = [each for each in group if each.get("class") == "grid"]
        across = [float(g.get("y1")) for g in grid if g.get("y1") == g.get("y2")]
        down = [float(g.get("x1")) for g in grid if g.get("x1") == g.get("x2")]
        ys = [float(t.text) for t in texts if t.get("text-anchor") == "end"]
        xs = [float(t.text) for t in texts if t.get("text-anchor") == "middle"]
        assert len(ys) == len(across) >= 2
        assert len(xs) == len(down) >= 2
        logarithmic = not np.allclose(np.diff(ys, 2), 0)
        power = np.polyfit(across, np.log10(ys) if logarithmic else ys, 1)
        slope = np.polyfit(down, xs, 1)
        self.y = lambda px: 10 ** np.polyval(power, px) if logarithmic else np.polyval(power, px)
        self.x = lambda px: np.polyval(slope, px)
        self.logarithmic = logarithmic

    def numbers(self, run):
        points = re.findall(r"[ML]([\d.]+) ([\d.]+)", self.lines[run].get("d"))
        px = np.array(points, float)
        return self.x(px[:, 0]), self.y(px[:, 1])


def read_picture(path):
    svg = ET.parse(path).getroot()
    panels = [Panel(each) for each in svg if local(each.tag) == "g"]
    names = [each.text for each in svg if each.get("class") == "name"]
    return {panel.title: panel for panel in panels}, names


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves")
    one = [
        {
            **{"step": step, "iou": 0.2 + 0.007 * step, "total": 100 * 0.95**step},
            **{"focal": 3.0 - 0.01 * step, "giou": 1.0, "abs": 5.0, "pn": 0.5, "lr_default": 4e-4},
            **{"speed/pairs_per_second": 1000.0 + step, "speed/data_wait_share": 0.25},
        }
        for step in STEPS
    ]
    one[4]["iou"] = None  # was not finite
    one[4:4] = [{"step": 40, "val/iou": 0.5, "val/total": 2.0}]
    one.append({"step": 100, "val/iou": 0.75, "val/total": 1.5})
    two = [{"step": step, "iou": 0.5, "giou": 0.125} for step in range(20, 81, 20)]
    runs = [
        write_run(folder / "first", one, starts=(0, 40, 70)),
        write_run(folder / "a" / "x < y", two),
    ]
    done = plot(*runs, f"--output={folder / 'curves.svg'}")
    assert done.returncode == 0, done.stderr
    assert "first to step 100, x < y to step 80" in done.stdout
    return folder / "curves.svg"


def test_every_number_is_where_the_axes_say(picture):
    panels, names = read_picture(picture)
    assert names == ["first", "x < y", "went on after a stop"]
    steps, ious = panels["IoU, training pairs"].numbers("first")
    known = [step for step in STEPS if step != 50]
    np.testing.assert_allclose(steps, known, atol=0.1)
    np.testing.assert_allclose(ious, [0.2 + 0.007 * step for step in known], atol=2e-4)
    steps, ious = panels["IoU, training pairs"].numbers("x < y")
    np.testing.assert_allclose(steps, [20, 40, 60, 80], atol=0.1)
    np.testing.assert_allclose(ious, 0.5, atol=2e-4)
    steps, ious = panels["IoU, validation pairs"].numbers("first")
    np.testing.assert_allclose(steps, [40, 100], atol=0.1)
    np.testing.assert_allclose(ious, [0.5, 0.75], atol=2e-4)
    assert len(panels["IoU, validation pairs"].dots["first"]) == 2
    _, rates = panels["pairs a second"].numbers("first")
    np.testing.assert_allclose(rates, [1000 + step for step in STEPS], atol=0.2)
    for title, value in [
        *(("abs term, training", 5.0), ("pn term, training", 0.5), ("giou term, training", 1.0)),
        ("learning rate (optim.lr.default)", 4e-4),
        ("share of the time waiting for data", 0.25),
    ]:
        np.testing.assert_allclose(panels[title].numbers("first")[1], value, rtol=2e-3)
    np.testing.assert_allclose(panels["giou term, training"].numbers("x < y")[1], 0.125, rtol=2e-2)


def test_a_number_that_is_not_finite_is_a_gap(picture):
    panels, _ = read_picture(picture)
    path = panels["IoU, training pairs"].lines["first"].get("d")
    assert "".join(re.findall("[ML]", path)) == "MLLLMLLLL"


def test_losses_that_span_a_factor_of_ten_are_logarithmic(picture):
    panels, _ = read_picture(picture)
    assert {title for title, panel in panels.items() if panel.logarithmic} == {
        "total loss, training"
    }
    _, losses = panels["total loss, training"].numbers("first")
    np.testing.assert_allclose(losses, [100 * 0.95**step for step in STEPS], rtol=2e-3)


def test_restarts_are_marked_where_the_run_went_on(picture):
    panels, _ = read_picture(picture)
    for panel in panels.values():
        found = {title: round(float(panel.x(px)), 1) for title, px in panel.restarts.items()}
        assert found == {"first went on from step 40": 40, "first went on from step 70": 70}


def test_what_no_run_has_logged_has_no_panel_and_nothing_is_outside(picture):
    panels, _ = read_picture(picture)
    assert "l1 term, training" not in panels
    assert len(panels) == 11
    text = picture.read_text()
    assert "href" not in text
    assert text.count("http") == text.count('xmlns="http://www.w3.org/2000/svg"') == 1


def test_a_long_run_is_thinned_out_and_a_cut_line_left_out(tmp_path):
    flag = write_run(tmp_path / "long", [{"step": i, "iou": i / 40_000} for i in range(1, 20_001)])
    with (tmp_path / "long/metrics.jsonl").open("a") as file:
        file.write('{"step": 20001, "io')
    done = plot(flag, f"--output={tmp_path / 'long.svg'}")
    assert done.returncode == 0, done.stderr
    panels, names = read_picture(tmp_path / "long.svg")
    assert names == ["long"]
    steps, ious = panels["IoU, training pairs"].numbers("long")
    assert 300 <= len(steps) <= 400
    np.testing.assert_allclose(ious, steps / 40_000, atol=1e-3)
    assert (tmp_path / "long.svg").stat().st_size < 20_000


def test_runs_of_one_name_are_called_as_they_were_given(tmp_path):
    rows = [{"step": 4, "iou": 0.5}]
    runs = [write_run(tmp_path / place / "esat", rows, starts=(0, 5)) for place in "ab"]
    output = f"--output={tmp_path / 'both.svg'}"
    assert plot(*runs, output).returncode == 0
    panels, names = read_picture(tmp_path / "both.svg")
    assert names[:2] == [str(tmp_path / place / "esat") for place in "ab"]
    marks = panels["IoU, training pairs"].restarts.values()  # later than all rows
    assert [round(float(panels["IoU, training pairs"].x(px)), 2) for px in marks] == [5, 5]
    done = plot(runs[0], runs[0] + "/../esat", output)
    assert done.stderr.startswith(f"error: {runs[0]} is given twice")


GOOD = '{"step": 1, "iou": 0.5}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: --run={folder}: there is no such folder.\n"),
        ("", "error: {folder}/metrics.jsonl has no rows yet: a run writes one every "),
        (GOOD + '{"step": 2, "io\n' + GOOD, 'error: {folder}/metrics.jsonl:2: expected {{"step"'),
        (GOOD * 2 + "[3]\n", "error: {folder}/metrics.jsonl:3: expected"),
        (GOOD + '{"step": 2, "iou": "high"}\n', "error: {folder}/metrics.jsonl:2: iou is 'high'"),
        ('{"step": 2, "other": 1}\n', "error: no row of run has a number to plot.\n"),
    ],
)
def test_what_is_no_log_is_refused_in_a_sentence(tmp_path, content, message):
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        (folder / "metrics.jsonl").write_text(content)
    done = plot(f"--run={folder}", f"--output={tmp_path / 'a.svg'}")
    assert done.returncode == 1
    assert done.stderr.startswith(message.format(folder=folder))
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.svg").exists()


def test_folders_that_are_no_run_and_other_outputs_are_refused(tmp_path):
    done = plot(f"--run={tmp_path}", f"--output={tmp_path / 'a.svg'}")
    assert done.stderr.startswith(f"error: {tmp_path} has no metrics.jsonl: expected a work folder")
    output = tmp_path / "a.png"
    done = plot(f"--run={tmp_path}", f"--output={output}")
    assert done.stderr == f"error: --output={output}: expected a name that ends in .svg.\n"
