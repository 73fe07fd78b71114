"""NanoTrack's way from scores and distances to a box, with networks that say what a test wants."""

import math

import numpy as np
import pytest

from benchmarks import nanotrack


class Said:
    """Networks that find a box in one cell, in crop px, and nothing elsewhere."""

    def __init__(self, row, column, sides):
        self.at, self.sides, self.crops = (row, column), sides, []

    def features(self, crop):
        self.crops.append(crop)
        return crop

    def compare(self, template, search):
        assert template is self.crops[0]
        scores = np.full((16, 16), 0.001)
        scores[self.at] = 1.0
        return scores, np.tile(np.reshape(self.sides, (4, 1, 1)), (1, 16, 16)).astype(float)


def test_a_crop_is_the_square_of_the_frame_with_one_colour_around_it():
    frame = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
    color = np.array([200, 100, 50])
    for center in ((4, 5), (0, 0), (8, 11), (-30, 5), (4, 60)):
        crop = nanotrack.square_crop(frame, np.array(center, float), 7, 7, color)
        for row in range(7):
            for column in range(7):
                x, y = center[0] - 3 + column, center[1] - 3 + row
                inside = 0 <= x < 9 and 0 <= y < 12
                expected = frame[y, x] if inside else color
                assert (crop[row, column] == expected).all()


def test_the_template_shows_the_target_and_half_of_its_mean_side_on_each_side():
    # Width and height grow by (40 + 20) / 2 each: 70 x 50.
    assert nanotrack.template_side(np.array([40.0, 20.0])) == pytest.approx(math.sqrt(70 * 50))


def test_boxes_of_another_size_or_shape_are_punished():
    size = np.array([40.0, 20.0])
    sizes = np.array([[40, 80, 20, 20], [20, 40, 10, 40]], float)
    same, double, half, turned = nanotrack.change_penalty(sizes, size)
    assert same == pytest.approx(1)
    assert double == half == pytest.approx(math.exp(-nanotrack.PENALTY * (2 - 1)))
    assert turned == pytest.approx(math.exp(-nanotrack.PENALTY * (4 - 1)))  # 2:1 became 1:2


def test_a_box_goes_where_its_cell_and_sides_say_and_changes_its_size_slowly():
    frame = np.zeros((400, 600, 3), np.uint8)
    w, h = 60.0, 30.0
    scale = 127 / math.sqrt((w + 45) * (h + 45))  # crop px per frame px
    # Two cells to the right, one down; twice as large, and beside its cell by 3 px.
    networks = Said(9, 10, np.array([w - 3 / scale, h, w + 3 / scale, h]) * scale)
    tracker = nanotrack.NanoTrack(networks)
    tracker.initialize(frame, np.array([200.0, 100.0, w, h]))
    found = tracker.update(frame)
    assert [crop.shape for crop in networks.crops] == [(127, 127, 3), (255, 255, 3)]
    penalty = math.exp(-nanotrack.PENALTY * (2 - 1))
    rate = nanotrack.RATE * penalty
    center_x = 200 + (w - 1) / 2 + (2 * 16 + 3) / scale
    center_y = 100 + (h - 1) / 2 + 16 / scale
    width, height = w + rate * w, h + rate * h
    expected = [center_x - width / 2, center_y - height / 2, width, height]
    np.testing.assert_allclose(found.box_xywh, expected)
    assert found.score == 1
    assert not found.lost


def test_the_window_decides_between_equal_scores():
    class Everywhere(Said):
        def compare(self, template, search):
            return np.full((16, 16), 0.5), super().compare(template, search)[1]

    tracker = nanotrack.NanoTrack(Everywhere(0, 0, np.full(4, 30.0)))
    frame = np.zeros((300, 300, 3), np.uint8)
    tracker.initialize(frame, np.array([120.0, 120.0, 40.0, 40.0]))
    moved = tracker.update(frame).box_xywh[:2] + 20 - 139.5
    assert np.abs(moved).max() < 16  # less than a cell


def test_a_missing_network_is_named(tmp_path):
    pytest.importorskip("ncnn")
    with pytest.raises(ValueError, match=r"nanotrack_backbone_sim-opt\.param: expected a file"):
        nanotrack.Networks(tmp_path, threads=1)
