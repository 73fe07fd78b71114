"""Losses against the outputs of the original PyTorch code (fixture losses.npz)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipeline.labels import score_target
from esat_jax.losses import focal_loss, position_loss, tracking_loss
from esat_jax.models.box_head import decode_boxes
from esat_jax.models.esat import TrackerOutput
from esat_jax.ops.boxes import cxcywh_to_xyxy, iou_and_giou

FIXTURE = np.load(Path(__file__).parent / "fixtures" / "losses.npz")
WEIGHTS = {"giou": 2.0, "l1": 5.0, "abs": 0.0, "pn": 0.0}


def to_cxcywh(xywh):
    return np.concatenate([xywh[..., :2] + xywh[..., 2:] / 2, xywh[..., 2:]], axis=-1)


def make_output(score_map, size_map, offset_map, **kwargs):
    box_cxcywh, _ = decode_boxes(score_map, size_map, offset_map)
    batch, grid, _ = score_map.shape
    defaults = {
        "kept": jnp.ones((batch, grid * grid), bool),
        "tokens": jnp.zeros((batch, 4 + grid * grid, 1)),
    }
    return TrackerOutput(box_cxcywh, score_map, size_map, offset_map, **(defaults | kwargs))


def test_focal_loss_equals_the_original_in_value_and_gradient():
    score, target = FIXTURE["focal_pred"][:, 0], FIXTURE["heat_256"]
    for i, expected in enumerate(FIXTURE["focal_each"]):
        np.testing.assert_allclose(focal_loss(score[i : i + 1], target[i : i + 1]), expected, 1e-5)
    value, gradient = jax.value_and_grad(focal_loss)(score, target)
    np.testing.assert_allclose(value, FIXTURE["focal_batch"], rtol=1e-5)
    np.testing.assert_allclose(gradient, FIXTURE["focal_grad"][:, 0], rtol=1e-4, atol=1e-7)


def test_focal_loss_without_a_positive_cell_is_not_divided():
    loss = focal_loss(FIXTURE["focal_pred"][:2, 0], FIXTURE["heat_256"][:2] / 2)
    np.testing.assert_allclose(loss, FIXTURE["focal_nopositive"], rtol=1e-5)


def test_focal_loss_of_a_worked_example():
    target, score = np.zeros((1, 3, 3)), np.full((1, 3, 3), 0.1)
    target[0, 1, 1:], score[0, 1, 1] = (1, 0.5), 0.6
    np.testing.assert_allclose(focal_loss(score, target), 0.0891732, atol=1e-7)


def test_overlaps_and_box_losses_equal_the_original():
    pred = cxcywh_to_xyxy(FIXTURE["box_pred_cxcywh"])
    true = np.clip(cxcywh_to_xyxy(to_cxcywh(FIXTURE["box_gt_xywh"])), 0, 1)
    iou, giou = iou_and_giou(pred, true)
    np.testing.assert_allclose(iou, FIXTURE["box_iou"], atol=1e-6)
    np.testing.assert_allclose(giou, FIXTURE["box_giou"], atol=1e-6)
    np.testing.assert_allclose((1 - giou).mean(), FIXTURE["giou_loss"], rtol=1e-6)
    np.testing.assert_allclose(np.abs(pred - true).mean(), FIXTURE["l1_loss"], rtol=1e-6)


def test_overlaps_of_a_worked_example():
    first = np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.8, 0.9]])
    second = np.array([[0.2, 0.2, 0.6, 0.5], [0.1, 0.1, 0.2, 0.2]])
    iou, giou = iou_and_giou(first, second)
    np.testing.assert_allclose(iou, [0.4736842, 0], atol=1e-7)
    np.testing.assert_allclose((1 - giou).mean(), 1.2256578, atol=1e-7)


def test_the_whole_loss_and_its_gradients_on_maps_equal_the_original():
    maps = [np.moveaxis(FIXTURE[f"maps_{n}"], 1, -1) for n in ("score", "size", "offset")]
    box_cxcywh = to_cxcywh(FIXTURE["maps_gt_xywh"])
    batch = {
        "box_cxcywh": box_cxcywh,
        "score_target": np.stack([score_target(box, 16) for box in box_cxcywh]),
    }

    def loss(score, size, offset):
        return tracking_loss(make_output(score[..., 0], size, offset), batch, WEIGHTS)

    (total, terms), grads = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*maps)
    expected = FIXTURE["maps_losses"]
    ours = [total, terms["giou"], terms["l1"], terms["focal"], terms["iou"]]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    for gradient, name in zip(grads, ("score", "size", "offset"), strict=True):
        expected = np.moveaxis(FIXTURE[f"maps_grad_{name}"], 1, -1)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_disjoint_and_inverted_boxes_give_finite_losses_and_a_pull_towards_the_target():
    true = jnp.array([[0.6, 0.6, 0.8, 0.9]] * 3)
    pred = jnp.array([[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.3, 0.3], [0.5, 0.5, 0.4, 0.4]])

    def loss(pred):
        return (1 - iou_and_giou(pred, true)[1]).sum()

    value, gradient = jax.value_and_grad(loss)(pred)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=1) > 0).all()


def test_position_loss_is_the_mean_of_minus_log_probabilities_over_counted_tokens():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 5, 4)), rng.integers(0, 4, (2, 5))
    valid = rng.random((2, 5)) < 0.6
    terms = [
        -np.log(np.exp(logits[b, n, labels[b, n]]) / np.exp(logits[b, n]).sum())
        for b, n in np.argwhere(valid)
    ]
    np.testing.assert_allclose(position_loss(logits, labels, valid), np.mean(terms), rtol=1e-5)
    assert position_loss(logits, labels, np.zeros_like(valid)) == 0


@pytest.mark.parametrize("on_removed", ["ignore", "include"])
def test_removed_tokens_are_left_out_or_counted(on_removed):
    rng = np.random.default_rng(1)
    maps = rng.uniform(0.1, 0.9, (1, 2, 2, 5)).astype(np.float32)
    kept = np.array([[True, False, True, True]])
    logits = {
        "abs_logits": jnp.array(rng.normal(size=(1, 8, 4)), jnp.float32),
        "pn_logits": jnp.array(rng.normal(size=(1, 8, 2)), jnp.float32),
    }
    out = make_output(maps[..., 0], maps[..., 1:3], maps[..., 3:], kept=jnp.array(kept), **logits)
    batch = {
        "box_cxcywh": np.array([[0.5, 0.5, 0.4, 0.4]], np.float32),
        "score_target": np.eye(2, dtype=np.float32)[None],
        "abs_labels": rng.integers(0, 4, (1, 8)),
        "pn_labels": np.array([[1, 1, 1, -1, 0, 1, 0, 1]]),  # -1: no label
    }
    weights = WEIGHTS | {"abs": 0.01, "pn": 0.1}
    total, terms = tracking_loss(out, batch, weights, on_removed)
    counted = np.concatenate([np.ones((1, 4), bool), kept | (on_removed == "include")], axis=1)
    for name in ("abs", "pn"):
        valid = counted & (batch[f"{name}_labels"] >= 0)
        expected = position_loss(logits[f"{name}_logits"], batch[f"{name}_labels"], valid)
        np.testing.assert_allclose(terms[name], expected, rtol=1e-6)
    parts = [terms["focal"], *(weights[n] * terms[n] for n in weights)]
    np.testing.assert_allclose(total, sum(parts), rtol=1e-6)


def test_unknown_rule_for_removed_tokens_is_refused():
    maps = jnp.full((1, 2, 2, 2), 0.5)
    with pytest.raises(ValueError, match="'ignore' or 'include', got 'zero'"):
        tracking_loss(make_output(maps[..., 0], maps, maps), {}, WEIGHTS, "zero")


def test_the_box_at_the_true_cell_has_losses_of_its_own():
    """The score is highest in another cell, where the box is right; at the true cell it is not."""
    size, offset = np.full((1, 2, 2, 2), 0.2, np.float32), np.zeros((1, 2, 2, 2), np.float32)
    score = np.float32([[[0.9, 0.1], [0.1, 0.1]]])
    size[0, 0, 0], offset[0, 0, 0] = (0.5, 0.5), (1.0, 1.0)  # centre (0.5, 0.5), as the target
    target = np.float32([[[0, 0], [0, 1]]])  # its cell's corner is (0.5, 0.5) too
    batch = {"box_cxcywh": np.float32([[0.5, 0.5, 0.5, 0.5]]), "score_target": target}
    out = make_output(score, size, offset)
    total, terms = tracking_loss(out, batch, WEIGHTS | {"true_cell": 0.5})
    overlap = 0.2**2 / 0.5**2  # one box inside the other: GIoU is IoU
    np.testing.assert_allclose(terms["giou"], 0, atol=1e-6)
    np.testing.assert_allclose(terms["giou_true_cell"], 1 - overlap, rtol=1e-5)
    np.testing.assert_allclose(terms["l1_true_cell"], 0.15, rtol=1e-5)
    more = 0.5 * (2 * (1 - overlap) + 5 * 0.15)
    plain, _ = tracking_loss(out, batch, WEIGHTS)
    np.testing.assert_allclose(total - plain, more, rtol=1e-5)
