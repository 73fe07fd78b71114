"""Where a painted target is seen after a warp, against its box and the formula written out."""

import numpy as np
import pytest

from data_pipeline.warp import Warp, warp_crop

BENT = np.array([[0.15, 1.2, 0.7], [0.1, 0.8, 4.0]])


@pytest.mark.parametrize(
    "warp",
    [
        Warp(0, (1, 1)),
        Warp(15, (1, 1)),
        Warp(-30, (1.3, 0.8)),
        Warp(90, (1, 1.5)),
        Warp(0, (1, 1), BENT),
        Warp(-20, (0.9, 1.2), BENT),
    ],
)
def test_a_warped_crop_shows_the_target_in_its_new_box(warp):
    """An ellipse is painted in the old box; where it is seen afterwards is the new box."""
    box = np.array([0.55, 0.45, 0.4, 0.2], np.float32)
    y, x = (np.mgrid[:200, :200] + 0.5) / 200
    inside = ((x - box[0]) / (box[2] / 2)) ** 2 + ((y - box[1]) / (box[3] / 2)) ** 2 <= 1
    image = np.repeat(np.uint8(255 * inside)[..., None], 3, axis=2)
    warped, new_box = warp_crop(image, box, warp)
    rows, columns = np.nonzero(warped[..., 0] > 127)
    low, high = (np.array([f(columns), f(rows)]) for f in (np.min, np.max))
    seen = np.concatenate([(low + high + 1) / 2, high + 1 - low]) / 200
    np.testing.assert_allclose(new_box, seen, atol=1.5 / 200)
    assert new_box.dtype == np.float32
    assert warp.waves is None or np.abs(new_box - box).max() > 3 / 200  # it does move


def test_waves_move_x_along_y_first():
    """A dot goes where the formula, written out for its place, says."""
    image, (dot_x, dot_y) = np.zeros((200, 200, 3), np.uint8), (120, 70)
    image[dot_y, dot_x] = 255
    box, waves = np.float32([0.5, 0.5, 0.4, 0.2]), np.array([[0.1, 1.0, 0.3], [0.2, 2.0, 0.9]])
    x, y = dot_x + 0.5 - 100, dot_y + 0.5 - 100  # px from the target's centre; 80 x 40 px large
    x += 0.1 * 80 * np.sin(2 * np.pi * y / 40 + 0.3)
    y += 0.2 * 40 * np.sin(2 * np.pi * x / (2 * 80) + 0.9)
    warped, _ = warp_crop(image, box, Warp(0, (1, 1), waves))
    weights = warped[..., 0].astype(float)
    rows, columns = np.mgrid[:200, :200] + 0.5
    seen = [(weights * place).sum() / weights.sum() - 100 for place in (columns, rows)]
    np.testing.assert_allclose(seen, (x, y), atol=0.5)


def test_a_positive_angle_turns_anticlockwise():
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 80] = 255  # right of the centre
    warped, _ = warp_crop(image, np.float32([0.5, 0.5, 0.2, 0.2]), Warp(90, (1, 1)))
    assert np.argwhere(warped[..., 0]).tolist() == [[20, 50]]  # above it
