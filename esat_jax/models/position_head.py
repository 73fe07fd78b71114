"""Self-supervised position learning (paper Sec. 3.2), used in training only."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from esat_jax.models.batch_norm import BatchNorm


class ConvTower(nn.Module):
    """L x (3x3 Conv, BatchNorm, ReLU), the FCN of Eq. 1: [B, S, S, D] -> [B, S * S, C].

    `channels` holds one width per layer.
    """

    channels: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(self, feature_map: jax.Array, *, train: bool) -> jax.Array:
        x = feature_map
        for i, channels in enumerate(self.channels, start=1):
            conv = nn.Conv(
                channels, (3, 3), padding=1, use_bias=False, dtype=self.dtype, name=f"conv_{i}"
            )
            norm = BatchNorm(dtype=self.dtype, groups=self.batch_norm_groups, name=f"norm_{i}")
            x = nn.relu(norm(conv(x), train=train))
        return x.reshape(x.shape[0], -1, x.shape[-1])  # [B, S * S, C]


class PositionHead(nn.Module):
    """Eq. 1 and the linear parts of Eq. 2 for both kinds of labels.

    Attributes:
      channels: layer widths of the FCNs.
      shared: one FCN for both maps instead of the two of Sec. 3.2.
    """

    channels: tuple[int, ...]
    shared: bool = False
    dtype: jnp.dtype = jnp.float32
    batch_norm_groups: int = 1

    @nn.compact
    def __call__(
        self, template_map: jax.Array, search_map: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Maps [B, T, T, D], [B, S, S, D] -> logits over the X = S * S cells and over 2 signs.

        Returns: abs_logits [B, Z + X, X] and pn_logits [B, Z + X, 2], float32, template first.
        """
        names = ("tower", "tower") if self.shared else ("template_tower", "search_tower")
        towers = {
            name: ConvTower(self.channels, self.dtype, self.batch_norm_groups, name=name)
            for name in dict.fromkeys(names)
        }
        maps = (template_map, search_map)
        features = [towers[n](m, train=train) for n, m in zip(names, maps, strict=True)]
        position = jnp.concatenate(features, axis=1)  # [B, Z + X, C]
        num_cells = search_map.shape[1] * search_map.shape[2]

        def classify(classes: int, name: str) -> jax.Array:
            dense = nn.Dense(classes, use_bias=False, dtype=self.dtype, name=name)
            return dense(position).astype(jnp.float32)

        return classify(num_cells, "absolute"), classify(2, "pos_neg")
