"""Candidate elimination against OSTrack's masks, schedules and an argsort written out."""

from pathlib import Path

import jax
import numpy as np
import pytest

from esat_jax.models import candidates
from esat_jax.models.candidates import CandidateElimination

HEAD = np.load(Path(__file__).parents[1] / "fixtures" / "head.npz")
OSTRACK = CandidateElimination((3, 6, 9), (0.7, 0.7, 0.7))


@pytest.mark.parametrize(("size", "grid"), [(256, 8), (384, 12)])
def test_template_ranges_equal_the_original_masks(size, grid):
    for point, name in ((True, "CTR_POINT"), (False, "CTR_REC")):
        tokens = candidates.centre_tokens(grid, point=point)
        for mask in HEAD[f"mask_{name}_{size}"]:
            np.testing.assert_array_equal(np.flatnonzero(mask), tokens)
    xywh = HEAD["mask_boxes"]
    cxcywh = np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1)
    mask = candidates.box_mask(cxcywh.astype(np.float32), grid, 16)
    np.testing.assert_array_equal(mask, HEAD[f"mask_GT_BOX_{size}"])


@pytest.mark.parametrize(
    ("grid", "point", "square"),
    [(7, 24, [24]), (8, 27, [27, 28, 35, 36]), (12, 65, [65, 66, 77, 78]), (14, 90, None)],
)
def test_centre_tokens_equal_ostracks_table(grid, point, square):
    assert candidates.centre_tokens(grid, point=True) == (point,)
    if square:
        assert list(candidates.centre_tokens(grid)) == square


@pytest.mark.parametrize(
    ("num_search", "ratio", "expected"),
    [
        (576, None, [404, 283, 199]),
        (256, None, [180, 126, 89]),
        (576, 0.956066, [551, 527, 504]),
        (576, 0.85, [490, 417, 355]),
        (576, 0.743934, [429, 320, 239]),
        (256, 0.85, [218, 186, 159]),
    ],
)
def test_keep_counts_equal_ostracks_schedule(num_search, ratio, expected):
    assert OSTRACK.keep_counts(num_search, ratio) == dict(zip((3, 6, 9), expected, strict=True))


def test_ratio_one_turns_elimination_off():
    assert OSTRACK.keep_counts(576, 1.0) == {}
    assert CandidateElimination((3, 6), (1.0, 0.5)).keep_counts(10) == {6: 5}
    assert CandidateElimination((3, 6), (1.0, 0.5)).keep_counts(10, 0.3) == {6: 3}
    assert CandidateElimination((2, 4), (0.5, 0.25)).keep_counts(10) == {2: 5, 4: 2}


def test_scores_average_the_chosen_template_rows():
    rng = np.random.default_rng(0)
    attention, weights = rng.random((2, 3, 4, 6)), np.array([[0, 0.5, 0, 0.5], [1, 0, 0, 0]])
    expected = np.stack([attention[0][:, [1, 3]].mean((0, 1)), attention[1][:, 0].mean(0)])
    scores = candidates.candidate_scores(attention, weights)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    expected = attention.mean((1, 2))
    np.testing.assert_allclose(candidates.candidate_scores(attention, None), expected, rtol=1e-6)


def test_two_eliminations_and_restore_put_every_survivor_back_on_its_cell():
    rng = np.random.default_rng(1)
    tokens = rng.normal(size=(2, 9, 4)).astype(np.float32)
    cells = np.tile(np.arange(9), (2, 1))
    scores = rng.random((2, 9))
    kept, index = candidates.eliminate(tokens, cells, scores, 6)
    best = np.argsort(-scores, axis=1)[:, :6]
    np.testing.assert_array_equal(index, best)
    second = rng.random((2, 6))
    kept, index = candidates.eliminate(kept, index, second, 3)
    best = np.take_along_axis(best, np.argsort(-second, axis=1)[:, :3], axis=1)
    restored, alive = candidates.restore(kept, index, 9)
    for b in range(2):
        for cell in range(9):
            expected = tokens[b, cell] if cell in best[b] else np.zeros(4)
            np.testing.assert_array_equal(restored[b, cell], expected)
            assert alive[b, cell] == (cell in best[b])


def test_no_gradient_flows_through_the_choice():
    tokens, cells = np.ones((1, 4, 2), np.float32), np.arange(4)[None]

    def total(scores):
        return candidates.eliminate(tokens * scores.sum(), cells, scores, 2)[0].sum()

    gradient = jax.grad(total)(np.array([[0.1, 0.4, 0.2, 0.3]], np.float32))
    np.testing.assert_array_equal(gradient, np.full((1, 4), 4.0))


def test_a_box_smaller_than_a_token_falls_back_to_the_centre():
    elimination = CandidateElimination((1,), (0.5,), "GT_BOX")
    boxes = np.array([[0.475, 0.475, 0.05, 0.05], [0.5, 0.5, 0.5, 0.5]], np.float32)
    rows, weights = elimination.template_weights(2, 8, 16, boxes)
    assert rows == tuple(range(64))
    np.testing.assert_array_equal(np.flatnonzero(weights[0]), [27, 28, 35, 36])
    np.testing.assert_array_equal(
        np.flatnonzero(weights[1]), np.flatnonzero(HEAD["mask_GT_BOX_256"][0])
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3,), (0.7,), "CENTER"), "one of .*'CTR_POINT'.*got 'CENTER'"),
        (((3, 6), (0.7,)), "one ratio per entry"),
        (((3,), (0.0,)), r"lies in \(0, 1\]"),
        (((3, 3), (0.5, 0.5)), r"different block numbers counted from 0, got \(3, 3\)"),
        (((-1,), (0.5,)), r"block numbers counted from 0, got \(-1,\)"),
        ((("a",), (0.5,)), r"block numbers counted from 0, got \('a',\)"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CandidateElimination(*arguments)


def test_missing_template_box_and_bad_ratio_are_refused():
    with pytest.raises(ValueError, match=r"needs template_box_cxcywh \[2, 4\], got None"):
        CandidateElimination((1,), (0.5,), "GT_BOX").template_weights(2, 8, 16, None)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        OSTRACK.keep_counts(576, 1.5)
