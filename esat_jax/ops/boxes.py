"""Box formats and overlaps; formats are in the names, units are the caller's."""

import jax
import jax.numpy as jnp


def cxcywh_to_xyxy(box_cxcywh: jax.Array) -> jax.Array:
    """Centre and sides [..., 4] -> first and last corner [..., 4]."""
    centre, half = box_cxcywh[..., :2], box_cxcywh[..., 2:] / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def iou_and_giou(first_xyxy: jax.Array, second_xyxy: jax.Array) -> tuple[jax.Array, jax.Array]:
    """IoU in [0, 1] and generalised IoU in [-1, 1] (Rezatofighi et al. 2019) of [..., 4] pairs.

    A box whose corners are swapped counts as empty; two empty boxes give IoU 0, never NaN.
    """
    low = jnp.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    high = jnp.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    outer_low = jnp.minimum(first_xyxy[..., :2], second_xyxy[..., :2])
    outer_high = jnp.maximum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    intersection, hull = _area(low, high), _area(outer_low, outer_high)
    areas = [_area(box[..., :2], box[..., 2:]) for box in (first_xyxy, second_xyxy)]
    union = areas[0] + areas[1] - intersection
    tiny = jnp.finfo(union.dtype).tiny
    iou = intersection / jnp.maximum(union, tiny)
    return iou, iou - (hull - union) / jnp.maximum(hull, tiny)


def _area(low: jax.Array, high: jax.Array) -> jax.Array:
    sides = jnp.maximum(high - low, 0.0)
    return sides[..., 0] * sides[..., 1]
