"""Score targets against the original code, position labels against the paper's sentences."""

from pathlib import Path

import numpy as np
import pytest

from data_pipeline.labels import gaussian_radius, position_labels, score_target

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "losses.npz")


def to_cxcywh(xywh):
    return np.concatenate([xywh[..., :2] + xywh[..., 2:] / 2, xywh[..., 2:]], axis=-1)


@pytest.mark.parametrize(("size", "grid"), [(256, 16), (384, 24)])
def test_score_target_equals_the_original(size, grid):
    for box, expected in zip(FIXTURE["heat_boxes"], FIXTURE[f"heat_{size}"], strict=True):
        target = score_target(to_cxcywh(box), grid)
        np.testing.assert_allclose(target, expected, atol=1e-7)
        assert ((target == 1) == (expected == 1)).all()


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(2, 2, 0.547), (3.66, 3.66, 1.0004), (10, 5, 1.839), (12, 3, 1.353), (24, 24, 6.560)],
)
def test_radius_equals_the_worked_examples(width, height, expected):
    assert gaussian_radius(width, height) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("xywh", "peak", "cells", "total"),
    [
        ((0.4, 0.4, 0.2, 0.2), (12, 12), 9, 1.614604),
        ((0.05, 0.5, 0.3, 0.5), (18, 5), 25, 4.350453),
        ((-0.1, 0.9, 0.2, 0.3), None, 0, 0.0),
    ],
)
def test_score_target_of_worked_examples(xywh, peak, cells, total):
    target = score_target(to_cxcywh(np.array(xywh)), 24)
    assert np.count_nonzero(target) == cells
    assert target.sum() == pytest.approx(total, abs=1e-5)
    if peak:
        assert np.unravel_index(target.argmax(), target.shape) == peak
        assert target.max() == 1


def slow_labels(box, template_box, template_grid, search_grid, reading):
    """Sec. 3.1 sentence by sentence, one token at a time."""
    absolute, signs = [], []
    for row in range(template_grid):
        for column in range(template_grid):
            if reading == "center":  # "correspond to the central region of the search region"
                first = (search_grid - template_grid) // 2
                cell_x, cell_y = first + column, first + row
            else:  # "the area corresponding to the ground truth box in the search image"
                place = []
                for axis, at in enumerate((column, row)):
                    centre, side = template_box[axis], template_box[axis + 2]
                    offset = ((at + 0.5) / template_grid - centre) / side  # in target sides
                    cell = int(np.floor((box[axis] + offset * box[axis + 2]) * search_grid))
                    place.append(min(max(cell, 0), search_grid - 1))
                cell_x, cell_y = place
            absolute.append(cell_y * search_grid + cell_x)
            signs.append(1)  # "a value of 1 to both the template region"
    for row in range(search_grid):
        for column in range(search_grid):
            absolute.append(row * search_grid + column)
            x, y = (column + 0.5) / search_grid, (row + 0.5) / search_grid
            inside = abs(x - box[0]) <= box[2] / 2 and abs(y - box[1]) <= box[3] / 2
            signs.append(int(inside))  # "and the target area in the search region"
    return absolute, signs


@pytest.mark.parametrize("reading", ["box", "center"])
@pytest.mark.parametrize("grids", [(12, 24), (8, 16), (3, 7), (5, 5)])
def test_position_labels_equal_the_slow_oracle(reading, grids):
    rng = np.random.default_rng(sum(grids))
    for _ in range(20):
        box = np.concatenate([rng.uniform(0, 1, 2), rng.uniform(0.02, 0.9, 2)])
        template_box = np.array([0.49, 0.5, *rng.uniform(0.3, 0.7, 2)])
        labels = position_labels(
            box,
            template_box,
            template_grid=grids[0],
            search_grid=grids[1],
            template_labels=reading,
        )
        expected = slow_labels(box, template_box, *grids, reading)
        np.testing.assert_array_equal(labels, expected)
        assert all(label.dtype == np.int32 for label in labels)


def test_unknown_reading_and_too_large_template_are_refused():
    box = np.array([0.5, 0.5, 0.2, 0.2])
    with pytest.raises(ValueError, match=r"'box', 'center'.*got 'middle'"):
        position_labels(box, box, template_grid=2, search_grid=4, template_labels="middle")
    with pytest.raises(ValueError, match="at least 5 cells, got 4"):
        position_labels(box, box, template_grid=5, search_grid=4, template_labels="center")
