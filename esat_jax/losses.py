"""Training losses of Eq. 3, 4 and 8."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from esat_jax.models.box_head import decode_boxes
from esat_jax.models.esat import TrackerOutput
from esat_jax.ops.boxes import cxcywh_to_xyxy, iou_and_giou


def focal_loss(score_map: jax.Array, score_target: jax.Array) -> jax.Array:
    """Weighted focal loss (Law & Deng 2018; alpha 2, beta 4), a scalar over the whole batch.

    Args:
      score_map: [B, S, S] in (0, 1); score_target: [B, S, S] in [0, 1], 1 at the target's cell.
    Returns: the sum over all cells divided by the number of cells whose target is 1 (by 1 if there
      are none), as OSTrack reduces it.
    """
    score = jnp.maximum(score_map, 1e-12)
    positive = score_target == 1
    positive_loss = -jnp.log(score) * (1 - score) ** 2
    negative_loss = -jnp.log(1 - score) * score**2 * (1 - score_target) ** 4
    total = jnp.where(positive, positive_loss, negative_loss).sum()
    return total / jnp.maximum(positive.sum(), 1)


def box_losses(
    box_cxcywh: jax.Array, true_cxcywh: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compares boxes [B, 4] with the true ones, which are clamped to the crop. Source: OSTrack.

    Returns: IoU [B], and the means of 1 - GIoU and of the corners' absolute differences.
    """
    pred_xyxy = cxcywh_to_xyxy(box_cxcywh)
    true_xyxy = jnp.clip(cxcywh_to_xyxy(true_cxcywh), 0.0, 1.0)
    iou, giou = iou_and_giou(pred_xyxy, true_xyxy)
    return iou, (1 - giou).mean(), jnp.abs(pred_xyxy - true_xyxy).mean()


def position_loss(logits: jax.Array, labels: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean cross entropy over the tokens that count (Eq. 3 and 4).

    Args:
      logits: [B, N, classes]; labels: int [B, N]; valid: bool [B, N].
    Returns: a scalar; 0 if no token counts.
    """
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return (loss * valid).sum() / jnp.maximum(valid.sum(), 1)


def tracking_loss(
    out: TrackerOutput, batch: Mapping[str, jax.Array], weights: Mapping, on_removed: str = "ignore"
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Eq. 8 and its terms.

    Args:
      out: of the network with `train=True`.
      batch: box_cxcywh [B, 4] (fractions of the search crop), score_target [B, S, S], and with
        position losses abs_labels, pn_labels int [B, Z + X], template first; -1 means no label.
      weights: "giou", "l1", "abs", "pn"; the focal loss has weight 1. "true_cell": of the same GIoU
        and L1 losses for the box at the true cell.
      on_removed: tokens that candidate elimination removed are left out of the position losses
        ("ignore") or counted ("include").
    Returns: the weighted sum, and every unweighted term with the mean IoU, all scalars.
    Raises: ValueError for another `on_removed`.
    Source: OSTrack for focal, GIoU and L1: boxes are read at the highest score; the true box is
      clamped to the crop.
    """
    if on_removed not in ("ignore", "include"):
        raise ValueError(f"spl.on_removed is 'ignore' or 'include', got {on_removed!r}")
    iou, giou, l1 = box_losses(out.box_cxcywh, batch["box_cxcywh"])
    terms = {"focal": focal_loss(out.score_map, batch["score_target"]), "giou": giou, "l1": l1}
    if out.abs_logits is not None:
        counted = out.kept if on_removed == "ignore" else jnp.ones_like(out.kept)
        template = jnp.ones((counted.shape[0], out.tokens.shape[1] - counted.shape[1]), bool)
        counted = jnp.concatenate([template, counted], axis=1)  # [B, Z + X]
        for name, logits in {"abs": out.abs_logits, "pn": out.pn_logits}.items():
            if weights[name]:
                labels = batch[f"{name}_labels"]
                terms[name] = position_loss(logits, labels, counted & (labels >= 0))
    total = terms["focal"] + sum(weights[n] * terms[n] for n in terms if n != "focal")
    if weights.get("true_cell"):
        true_cell, _ = decode_boxes(batch["score_target"], out.size_map, out.offset_map)
        _, giou, l1 = box_losses(true_cell, batch["box_cxcywh"])
        terms |= {"giou_true_cell": giou, "l1_true_cell": l1}
        total += weights["true_cell"] * (weights["giou"] * giou + weights["l1"] * l1)
    return total, {"total": total, **terms, "iou": iou.mean()}
