import base64
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from esat_jax.report.film_strips import Boxes, cut_around, draw_frame, telling_frames

NAN = np.nan


def test_the_worst_frame_of_every_part_is_shown():
    overlap = np.array([1, 0.9, 0.2, 0.3, NAN, 0.0, 0.0, 0.8, NAN, NAN])
    assert telling_frames(overlap, 4) == [0, 2, 5, 7]
    assert telling_frames(overlap, 1 + 9) == [*range(10)]
    assert telling_frames(overlap[:1], 7) == [0]
    assert telling_frames(overlap[:3], 7) == [0, 1, 2]


@pytest.mark.parametrize(
    "boxes_xywh",
    [
        [[100, 100, 20, 40]],
        [[0, 0, 30, 10], [40, 30, 20, 20]],
        [[620, 340, 20, 20]],
        [[-50, -50, 100, 100]],
        [[10, 10, 5, 5], [600, 300, 20, 20]],
    ],
)
def test_a_cut_shows_all_boxes_and_lies_inside_the_frame(boxes_xywh):
    x, y, w, h = cut_around(np.array(boxes_xywh, float), 640, 360, 4 / 3)
    assert 0 <= x <= x + w <= 640
    assert 0 <= y <= y + h <= 360
    assert w >= 640 // 5
    for left, top, width, height in boxes_xywh:
        assert x <= max(left, 0)
        assert y <= max(top, 0)
        assert x + w >= min(left + width, 640) - 1  # px, rounded down
        assert y + h >= min(top + height, 360) - 1
    assert (w, h) == (640, 360) or abs(w / h - 4 / 3) < 0.05


def test_boxes_lie_on_the_picture_where_they_are_in_the_frame():
    frame = np.zeros((360, 640, 3), np.uint8)
    frame[100:140, 200:260] = 0, 255, 0
    boxes = [
        Boxes("truth", None, np.array([200.0, 100.0, 60.0, 40.0])),
        Boxes("a <b>", 1, np.array([190.0, 95.5, 60.0, 40.0])),
        Boxes("none", 2, np.full(4, NAN)),
        Boxes("empty", 3, np.array([200.0, 100.0, 0.0, -4.0])),
    ]
    svg = ET.fromstring(draw_frame(frame, boxes))
    image, truth, other = svg
    assert truth.get("class") == "box truth"
    assert other.find("title").text == "a <b>"
    assert [other[1].get(key) for key in ("x", "y", "width", "height")] == [
        *("190", "95.5", "60", "40")
    ]
    x, y, w, h = (int(image.get(key)) for key in ("x", "y", "width", "height"))
    assert svg.get("viewBox") == f"{x} {y} {w} {h}"
    kind, _, data = image.get("href").partition(",")
    assert kind == "data:image/jpeg;base64"
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (h, w, 3)  # small cuts are not enlarged
    green = pixels[..., 1] > 128
    rows, columns = np.flatnonzero(green.any(axis=1)), np.flatnonzero(green.any(axis=0))
    np.testing.assert_allclose(rows[[0, -1]] + y, [100, 139], atol=1)
    np.testing.assert_allclose(columns[[0, -1]] + x, [200, 259], atol=1)
