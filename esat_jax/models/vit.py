"""Plain vision transformers: ViT-B/16 as in OSTrack, ViT-S/14 in DINOv2's form."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from esat_jax.models.candidates import CandidateElimination
from esat_jax.models.encoder import Encoded, Encoder, ForceDirectedAttention
from esat_jax.models.patches import PatchEmbed, position_embedding, tokens_in_box


class ViT(nn.Module):
    """One patch embedding for both crops, own learned positions each, joint encoder.

    Attributes:
      width, depth, heads, patch_size: of the transformer.
      layer_scale: a learned scale on every residual branch (DINOv2).
      cls_token: keeps the class token in the joint sequence; nothing reads it, attention needs
        it as a sink (DINOv2). OSTrack has none.
      target_mark: a learned vector on the template tokens in the target's box; needs
        `template_box_cxcywh`. Ours: the crop's shape does not tell the box's.
      drop_path: rate of the last block; it grows linearly from 0 at the first.
      remat: see `Encoder`.
    """

    width: int
    depth: int
    heads: int
    patch_size: int
    fda: ForceDirectedAttention
    elimination: CandidateElimination
    layer_scale: bool = False
    cls_token: bool = False
    target_mark: bool = False
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
        embed = PatchEmbed(self.patch_size, self.width, self.dtype, name="patch_embed")
        tokens = {}
        for name, image in {"template": template, "search": search}.items():
            patches = embed(image)
            patches = patches.reshape(patches.shape[0], -1, self.width)  # [B, Z or X, D]
            tokens[name] = patches + position_embedding(self, name, patches).astype(self.dtype)
        if self.target_mark:
            if template_box_cxcywh is None:
                raise ValueError("backbone.target_mark needs template_box_cxcywh, got None")
            mark = self.param("target_mark", nn.initializers.zeros, (1, 1, self.width))
            inside = tokens_in_box(template_box_cxcywh, template.shape[1] // self.patch_size)
            tokens["template"] += (mark * inside[:, :, None]).astype(self.dtype)
        if self.cls_token:
            shape, normal = (1, 1, self.width), nn.initializers.truncated_normal(0.02)
            cls_token = self.param("cls_token", normal, shape)
            cls_token += self.param("pos_embed_cls", nn.initializers.zeros, shape)
            cls_token = jnp.tile(cls_token, (template.shape[0], 1, 1)).astype(self.dtype)
            tokens["template"] = jnp.concatenate([cls_token, tokens["template"]], axis=1)
        encoder = Encoder(
            depth=self.depth,
            heads=self.heads,
            patch_size=self.patch_size,
            drop_path=tuple(self.drop_path * i / max(self.depth - 1, 1) for i in range(self.depth)),
            fda=self.fda,
            elimination=self.elimination,
            layer_scale=self.layer_scale,
            prefix=int(self.cls_token),
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
