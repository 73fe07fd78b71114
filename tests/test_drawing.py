import numpy as np
import pytest

from esat_jax.drawing import LOST_RGB, TRACKED_RGB, draw_box


def colored(image, color):
    return (np.abs(image.astype(int) - color).sum(axis=2) < 60).nonzero()


@pytest.mark.parametrize(("height", "width"), [(360, 640), (2160, 3840), (241, 900)])
def test_the_box_is_drawn_on_its_sides_and_the_frame_is_left_alone(height, width):
    frame = np.full((height, width, 3), 128, np.uint8)
    x, y, w, h = width // 4, height // 2, width // 3, height // 4
    image = draw_box(frame, (x, y, w, h), "", TRACKED_RGB)
    assert image.shape == frame.shape
    assert (frame == 128).all()
    rows, columns = colored(image, TRACKED_RGB)
    line = height // 100 + 2
    for found, expected in [
        (rows.min(), y),
        (rows.max(), y + h),
        (columns.min(), x),
        (columns.max(), x + w),
    ]:
        assert abs(found - expected) <= line


def test_small_frames_are_enlarged_so_that_the_text_can_be_read():
    image = draw_box(np.zeros((48, 64, 3), np.uint8), (10, 20, 30, 10), "", TRACKED_RGB)
    assert image.shape == (240, 320, 3)
    rows, columns = colored(image, TRACKED_RGB)
    assert abs(rows.min() - 100) <= 2
    assert abs(columns.max() - 200) <= 2


@pytest.mark.parametrize("side", [240, 600, 2400])
@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.95, 0.95), (-0.5, 0.4), (1.5, -3.0)])
def test_the_label_lies_inside_the_frame_wherever_the_box_is(side, corner):
    frame = np.full((side, side, 3), 255, np.uint8)
    plain = draw_box(frame, (corner[0] * side, corner[1] * side, side / 4, side / 4), "", LOST_RGB)
    image = draw_box(
        frame, (corner[0] * side, corner[1] * side, side / 4, side / 4), "LOST 0.12", LOST_RGB
    )
    rows, columns = (image != plain).any(axis=2).nonzero()
    label = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.ptp(columns) > side / 8  # whole, not cut off at the border
    assert np.ptp(rows) > side / 40
    assert len(colored(label, LOST_RGB)[0]) > 0.02 * label[..., 0].size


@pytest.mark.parametrize("y", [0, 5, 100])
def test_a_label_does_not_hide_its_box(y):
    frame = np.full((360, 640, 3), 255, np.uint8)
    plain = draw_box(frame, (0, y, 40, 30), "", LOST_RGB)
    image = draw_box(frame, (0, y, 40, 30), "LOST 0.12", LOST_RGB)
    np.testing.assert_array_equal(image[y : y + 30, :40], plain[y : y + 30, :40])


def test_a_note_that_is_too_long_is_made_to_fit():
    frame = np.full((240, 260, 3), 255, np.uint8)
    image = draw_box(frame, (300, 300, 5, 5), "", TRACKED_RGB, note="a note that is long " * 4)
    rows, columns = (image[:, :, 2] < 128).nonzero()
    assert rows.min() > 200
    assert columns.max() >= 250
