"""The centre head and its boxes (OSTrack's CENTER predictor)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from esat_jax.models.batch_norm import BatchNorm

CLAMP = 1e-4  # scores and sizes stay this far from 0 and 1


class MapTower(nn.Module):
    """Four 3x3 convolutions that halve the channels, then a 1x1: [B, S, S, D] -> [B, S, S, out]."""

    channels: int
    out: int
    dtype: jnp.dtype = jnp.float32
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        xavier = nn.initializers.xavier_uniform()
        for i in range(1, 5):
            conv = nn.Conv(
                self.channels >> (i - 1),
                (3, 3),
                padding=1,
                kernel_init=xavier,
                dtype=self.dtype,
                name=f"conv_{i}",
            )
            norm = BatchNorm(dtype=self.dtype, groups=self.batch_norm_groups, name=f"norm_{i}")
            x = nn.relu(norm(conv(x), train=train))
        conv = nn.Conv(self.out, (1, 1), kernel_init=xavier, dtype=self.dtype, name="conv_5")
        return conv(x).astype(jnp.float32)


class BoxHead(nn.Module):
    """Search map [B, S, S, D] -> score, size and offset maps, float32.

    Score [B, S, S] and size [B, S, S, 2] (w, h as fractions of the crop) pass a sigmoid and are
    clamped to [1e-4, 1 - 1e-4]; offset [B, S, S, 2] (x, y in cells) is raw.
    """

    channels: int = 256
    dtype: jnp.dtype = jnp.float32
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self, search_map: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        towers = {"score": 1, "size": 2, "offset": 2}
        score, size, offset = (
            MapTower(self.channels, out, self.dtype, self.batch_norm_groups, name=name)(
                search_map, train=train
            )
            for name, out in towers.items()
        )
        score, size = (jnp.clip(nn.sigmoid(x), CLAMP, 1 - CLAMP) for x in (score, size))
        return score[..., 0], size, offset


def decode_boxes(
    response: jax.Array, size_map: jax.Array, offset_map: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The box at the highest response.

    Args:
      response: [B, S, S] score map, windowed or not; the first of equal maxima wins.
      size_map, offset_map: [B, S, S, 2], as `BoxHead` returns them.
    Returns: box_cxcywh [B, 4] in fractions of the crop, and the flat cell index [B]. A cell stands
      for its top left corner.
    """
    batch, grid, _ = response.shape
    index = response.reshape(batch, -1).argmax(axis=1)
    cell = jnp.stack([index % grid, index // grid], axis=1)  # [B, 2] column, row

    def at_cell(values: jax.Array) -> jax.Array:
        flat = values.reshape(batch, -1, 2)
        return jnp.take_along_axis(flat, index[:, None, None], axis=1)[:, 0]

    centre = (cell + at_cell(offset_map)) / grid
    return jnp.concatenate([centre, at_cell(size_map)], axis=1), index


def hann_window(grid: int) -> np.ndarray:
    """Window [grid, grid] float32 that favours the centre and is not zero at the border."""
    side = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, grid + 1) / (grid + 1)))
    return np.outer(side, side).astype(np.float32)
