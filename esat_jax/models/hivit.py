"""HiViT-B as AQATrack uses it: two MLP stages inside each 16 px patch, then the joint encoder."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from esat_jax.models.candidates import CandidateElimination
from esat_jax.models.encoder import (
    Encoded,
    Encoder,
    ForceDirectedAttention,
    Mlp,
    drop_path,
    layer_norm,
)
from esat_jax.models.patches import PatchEmbed, position_embedding, split_patches

STAGE_BLOCKS = 4  # MLP blocks in each of the first two stages ("depth 2" counts two per layer)
STEM_PATCH = 4  # pixels per side of a stem cell; 4x4 cells merge twice into one token


class MlpStage(nn.Module):
    """Residual MLP blocks on each cell by itself: [..., C] -> [..., C].

    `drop_path` gives one rate per block; leading axis of the input is the batch.
    """

    drop_path: tuple[float, ...]
    dtype: jnp.dtype
    remat: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        def run(block: MlpBlock, x: jax.Array) -> jax.Array:
            return block(x, train=train)

        for i, rate in enumerate(self.drop_path):
            block = MlpBlock(rate, self.dtype, name=f"block_{i}")
            x = (nn.remat(run) if self.remat else run)(block, x)
        return x


class MlpBlock(nn.Module):
    """`x + MLP(norm(x))` with a hidden width of three times the channels."""

    drop_path: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        branch = Mlp(3 * x.shape[-1], self.dtype, name="mlp")(layer_norm("norm", self.dtype)(x))
        return x + drop_path(self.drop_path, branch, train=train)


class PatchMerge(nn.Module):
    """2x2 cells -> one cell of twice the channels: [..., n, n, C] -> [..., n / 2, n / 2, 2C]."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Order (row, column) = (0, 0), (1, 0), (0, 1), (1, 1): pretrained kernels expect it.
        parts = [x[..., r::2, c::2, :] for c in (0, 1) for r in (0, 1)]
        x = layer_norm("norm", self.dtype)(jnp.concatenate(parts, axis=-1))
        return nn.Dense(x.shape[-1] // 2, use_bias=False, dtype=self.dtype, name="reduction")(x)


class HiViT(nn.Module):
    """Hierarchical ViT with `depth` attention blocks; no relative positions, no elimination.

    Attributes:
      width: channels of the attention stage; the two stages before have a quarter and a half.
      depth, heads: of the attention stage. drop_path: rate of the last block; it grows linearly
        over the eight MLP and all attention blocks.
      fda, elimination: see there (AQATrack and the paper eliminate nothing here).
      remat: attention and MLP blocks are computed again in the backward pass; see `Encoder`.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    fda: ForceDirectedAttention
    elimination: CandidateElimination
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        template: jax.Array,
        search: jax.Array,
        *,
        template_box_cxcywh: jax.Array | None = None,
        keep_ratio: float | None = None,
        train: bool,
    ) -> Encoded:
        """Normalised crops [B, s, s, 3] and [B, S, S, 3] -> tokens of both."""
        if self.patch_size != 4 * STEM_PATCH:
            raise ValueError(f"HiViT has {4 * STEM_PATCH} px patches, got {self.patch_size}")
        last = 2 * STAGE_BLOCKS + self.depth - 1
        rates = tuple(self.drop_path * i / last for i in range(last + 1))
        stem = PatchEmbed(STEM_PATCH, self.width // 4, self.dtype, name="patch_embed")
        stem_norm = layer_norm("patch_norm", self.dtype)
        stages = [
            MlpStage(rates[:STAGE_BLOCKS], self.dtype, self.remat, name="stage_1"),
            MlpStage(
                rates[STAGE_BLOCKS : 2 * STAGE_BLOCKS], self.dtype, self.remat, name="stage_2"
            ),
        ]
        merges = [PatchMerge(self.dtype, name=f"merge_{i}") for i in (1, 2)]
        tokens = {}
        for name, image in {"template": template, "search": search}.items():
            patches = split_patches(image, self.patch_size)  # [B, T, T, 16, 16, 3]
            patches = patches.reshape(patches.shape[0], -1, *patches.shape[3:])
            cells = stem_norm(stem(patches))  # [B, Z or X, 4, 4, D / 4]
            for stage, merge in zip(stages, merges, strict=True):
                cells = merge(stage(cells, train=train))
            cells = cells[:, :, 0, 0]  # [B, Z or X, D]
            tokens[name] = cells + position_embedding(self, name, cells).astype(self.dtype)
        encoder = Encoder(
            depth=self.depth,
            heads=self.heads,
            patch_size=self.patch_size,
            drop_path=rates[2 * STAGE_BLOCKS :],
            fda=self.fda,
            elimination=self.elimination,
            dtype=self.dtype,
            remat=self.remat,
            name="encoder",
        )
        return encoder(
            tokens["template"],
            tokens["search"],
            template_box_cxcywh=template_box_cxcywh,
            keep_ratio=keep_ratio,
            train=train,
        )
