import re
import xml.etree.ElementTree as ET

import numpy as np

from esat_jax.report.plots import Line, binned, curve_plot, time_plot


def points(path):
    return [
        tuple(map(float, pair.split()))
        for pair in re.findall(r"[ML]([\d.]+ [\d.]+)", path.get("d"))
    ]


def test_a_curve_goes_through_its_numbers():
    thresholds = np.linspace(0, 1, 5)
    lines = [Line("a", 0, np.array([1, 0.75, 0.5, 0.25, 0])), Line("b", 1, np.full(5, 0.5))]
    figure = ET.fromstring(curve_plot("Success", "overlap threshold", thresholds, lines))
    svg = figure.find("svg")
    grid = [line for line in svg.iter("line") if line.get("class") == "grid"]
    left, right = (find({float(line.get("x1")) for line in grid}) for find in (min, max))
    top, bottom = (find({float(line.get("y2")) for line in grid}) for find in (min, max))
    falling, level = [*svg.iter("path")]
    assert points(falling)[0] == (left, top)
    assert points(falling)[-1] == (right, bottom)
    assert points(falling)[2] == points(level)[2] == ((left + right) / 2, (top + bottom) / 2)
    assert [falling.get("class"), level.get("class")] == ["line t0", "line t1"]
    said = [title.text for title in svg.iter("title")]
    assert len(said) == 5
    assert said[1] == "overlap threshold 0.25\na: 75.0 %\nb: 50.0 %"


def test_frames_without_a_number_are_a_gap():
    ys = np.array([0.5, np.nan, 0.5, 0.5])
    svg = ET.fromstring(
        time_plot(
            [("overlap", [Line("a", 0, ys)])],
            4,
            absent=np.isnan(ys),
            lost=[("a", 0, np.array([False, False, True, True]))],
            shown=[0, 2],
            label="x",
        )
    )
    (path,) = svg.iter("path")
    assert path.get("d").count("M") == 2
    xs = [x for x, _ in points(path)]
    shaded, mark = [*svg.iter("rect")]
    assert shaded.get("class") == "absent"
    one = xs[-1] - xs[-2]  # px a frame
    middle = float(shaded.get("x")) + float(shaded.get("width")) / 2
    assert abs(middle - (xs[0] + one)) < 0.02
    assert abs(float(shaded.get("width")) - one) < 0.02
    assert mark.find("title").text == "a says that it is lost"
    assert abs(float(mark.get("x")) - (xs[1] - one / 2)) < 0.02
    assert abs(float(mark.get("x")) + float(mark.get("width")) - xs[-1]) < 0.02
    pins = [line.get("x1") for line in svg.iter("line") if line.get("class") == "shown"]
    assert [float(x) for x in pins] == [xs[0], xs[1]]


def test_long_sequences_are_drawn_as_means():
    values = np.arange(1000.0)
    values[500:510] = np.nan
    frames, means = binned(values, most=200)
    assert len(frames) == 200
    assert means[0] == np.mean([0, 1, 2, 3, 4]) == frames[0]
    assert np.isnan(means[100:102]).all()
    assert np.isfinite(np.delete(means, [100, 101])).all()
    frames, means = binned(np.array([1.0, np.nan, 3.0]), most=2)
    np.testing.assert_allclose(means, [1, 3])
    assert frames[-1] <= 2
