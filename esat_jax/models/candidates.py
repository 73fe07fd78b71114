"""Early candidate elimination (OSTrack, Sec. 3.2 there): drop search tokens the target ignores."""

import dataclasses
import math

import jax
import jax.numpy as jnp

TEMPLATE_RANGES = ("CTR_POINT", "CTR_REC", "GT_BOX", "ALL")


@dataclasses.dataclass(frozen=True)
class CandidateElimination:
    """Where and how much to eliminate; names and defaults are OSTrack's.

    Attributes:
      layers: 0-based blocks that eliminate after their attention.
      keep_ratio: share of the current search tokens that each of them keeps.
      template_range: template queries whose attention ranks the candidates: the token at the
        centre ("CTR_POINT"), the one to four around it ("CTR_REC"), those on the template's box
        ("GT_BOX") or all ("ALL").
    Raises: ValueError for an unknown range, layers that are no block numbers, ratios outside
      (0, 1], or layers and ratios of different number.
    """

    layers: tuple[int, ...] = ()
    keep_ratio: tuple[float, ...] = ()
    template_range: str = "CTR_POINT"

    def __post_init__(self) -> None:
        if self.template_range not in TEMPLATE_RANGES:
            raise ValueError(
                f"ce.template_range is one of {TEMPLATE_RANGES}, got {self.template_range!r}"
            )
        if len(self.layers) != len(self.keep_ratio):
            raise ValueError(
                f"ce.keep_ratio gives one ratio per entry of ce.layers, got {self.keep_ratio} "
                f"for layers {self.layers}"
            )
        if len(set(self.layers)) < len(self.layers) or not all(
            isinstance(layer, int) and layer >= 0 for layer in self.layers
        ):
            raise ValueError(
                f"ce.layers are different block numbers counted from 0, got {self.layers}"
            )
        if not all(0 < ratio <= 1 for ratio in self.keep_ratio):
            raise ValueError(f"ce.keep_ratio lies in (0, 1], got {self.keep_ratio}")

    def keep_counts(self, num_search: int, keep_ratio: float | None = None) -> dict[int, int]:
        """Search tokens left after each block that eliminates, from `num_search` = X tokens.

        A given `keep_ratio` replaces every configured ratio, as in OSTrack's training schedule;
        1 turns elimination off. Blocks whose configured ratio is 1 never eliminate.
        """
        if keep_ratio is not None and not 0 < keep_ratio <= 1:
            raise ValueError(f"keep_ratio lies in (0, 1], got {keep_ratio}")
        counts = {}
        for layer, own_ratio in sorted(zip(self.layers, self.keep_ratio, strict=True)):
            ratio = own_ratio if keep_ratio is None else keep_ratio
            if own_ratio < 1 and ratio < 1:
                num_search = math.ceil(ratio * num_search)
                counts[layer] = num_search
        return counts

    def template_weights(
        self, batch: int, template_grid: int, patch_size: int, box_cxcywh: jax.Array | None
    ) -> tuple[tuple[int, ...], jax.Array | None]:
        """Template queries that rank the candidates: token indices R and weights [B, R] or None.

        None means an equal weight each. `box_cxcywh` [B, 4] (fractions of the template crop) is
        needed for "GT_BOX" only.
        """
        tokens = range(template_grid**2)
        if self.template_range == "ALL":
            return tuple(tokens), None
        if self.template_range != "GT_BOX":
            return centre_tokens(template_grid, point=self.template_range == "CTR_POINT"), None
        if box_cxcywh is None or box_cxcywh.shape != (batch, 4):
            got = None if box_cxcywh is None else box_cxcywh.shape
            raise ValueError(
                f"ce.template_range 'GT_BOX' needs template_box_cxcywh [{batch}, 4], got {got}"
            )
        mask = box_mask(box_cxcywh, template_grid, patch_size)  # [B, Z]
        # A box smaller than a token may cover none (the original then ranks by NaN).
        centre = jnp.isin(jnp.arange(mask.shape[1]), jnp.array(centre_tokens(template_grid)))
        mask = jnp.where(mask.any(axis=1, keepdims=True), mask, centre[None, :])
        return tuple(tokens), mask / mask.sum(axis=1, keepdims=True)


def centre_tokens(grid: int, *, point: bool = False) -> tuple[int, ...]:
    """Flat indices of the central tokens of a grid: one if odd, else four (`point`: the first).

    OSTrack's table for grids 7, 8, 12 and 14, continued to any size.
    """
    first, last = (grid - 1) // 2, grid // 2
    side = [first] if point else sorted({first, last})
    return tuple(row * grid + column for row in side for column in side)


def box_mask(box_cxcywh: jax.Array, grid: int, patch_size: int) -> jax.Array:
    """Template tokens on the target: [B, 4] fractions of the crop -> bool [B, grid * grid].

    OSTrack draws the box in pixels (truncated, last row and column left out) and shrinks the
    drawing bilinearly: a token counts if one of its central pixels is drawn.
    """
    scale = grid * patch_size
    first = jnp.trunc((box_cxcywh[:, :2] - box_cxcywh[:, 2:] / 2) * scale)
    last = first + jnp.trunc(box_cxcywh[:, 2:] * scale) - 1  # exclusive, [B, 2]
    start = jnp.arange(grid) * patch_size
    pixels = jnp.stack([start + (patch_size - 1) // 2, start + patch_size // 2])[None, None]
    inside = (pixels >= first[:, :, None, None]) & (pixels < last[:, :, None, None])
    inside = inside.any(axis=2)  # [B, 2, grid], columns and rows
    return (inside[:, 1, :, None] & inside[:, 0, None, :]).reshape(-1, grid * grid)


def candidate_scores(attention: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Template-to-search attention [B, H, R, X] -> score of each search token [B, X]."""
    if weights is None:
        return attention.mean(axis=(1, 2))
    return jnp.einsum("bhrx,br->bx", attention, weights) / attention.shape[1]


def eliminate(
    search: jax.Array, index: jax.Array, scores: jax.Array, keep: int
) -> tuple[jax.Array, jax.Array]:
    """Keeps the `keep` best of the search tokens, best first.

    Args:
      search: [B, X, D] tokens; index: [B, X] their cells in the full grid; scores: [B, X].
    Returns: tokens [B, keep, D] and cells [B, keep]. No gradient flows through the choice.
    """
    _, order = jax.lax.top_k(jax.lax.stop_gradient(scores), keep)
    tokens = jnp.take_along_axis(search, order[..., None], axis=1)
    return tokens, jnp.take_along_axis(index, order, axis=1)


def restore(search: jax.Array, index: jax.Array, num_search: int) -> tuple[jax.Array, jax.Array]:
    """Puts tokens [B, K, D] back on their cells `index` [B, K]: [B, X, D] and kept [B, X] bool.

    Eliminated cells are exact zeros.
    """
    batch = jnp.arange(search.shape[0])[:, None]
    tokens = jnp.zeros((search.shape[0], num_search, search.shape[2]), search.dtype)
    kept = jnp.zeros((search.shape[0], num_search), bool)
    return tokens.at[batch, index].set(search), kept.at[batch, index].set(True)
