"""The joint transformer over [template tokens; search tokens] that all backbones end in."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from esat_jax.models import candidates
from esat_jax.models.candidates import CandidateElimination
from esat_jax.ops import fda
from esat_jax.ops.per_device import per_device


@dataclasses.dataclass(frozen=True)
class ForceDirectedAttention:
    """Constants of Eq. 5-7; alpha = beta = 0 is ordinary attention.

    `implementation`: see `esat_jax.ops.fda.attend`.
    """

    alpha: float = 0.0
    beta: float = 0.0
    delta: float = 0.0
    implementation: str = "auto"


@struct.dataclass
class Encoded:
    """What a backbone returns: final tokens, and which search cells still hold one.

    Attributes:
      template: [B, Z, D]; search: [B, X, D], exact zeros where `kept` [B, X] is False.
    """

    template: jax.Array
    search: jax.Array
    kept: jax.Array


def layer_norm(name: str | None, dtype: jnp.dtype) -> nn.LayerNorm:
    """LayerNorm with PyTorch's formula; statistics are float32 whatever `dtype` is."""
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, dtype=dtype, name=name)


def drop_path(rate: float, branch: jax.Array, *, train: bool) -> jax.Array:
    """Drops whole examples of a residual branch [B, ...] and rescales the others.

    Must be called inside a compact module or a module's method; needs the rng "dropout" to train.
    """
    whole_example = tuple(range(1, branch.ndim))
    return nn.Dropout(rate, broadcast_dims=whole_example)(branch, deterministic=not train)


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU in PyTorch's form; `jax.nn.gelu` takes the slower detour over erfc."""
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1.0 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


class Mlp(nn.Module):
    """Linear, exact GELU, Linear: [..., D] -> [..., D]."""

    hidden: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = gelu(nn.Dense(self.hidden, dtype=self.dtype, name="fc_1")(x))
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="fc_2")(hidden)


class Attention(nn.Module):
    """Force-directed self-attention over [B, N, D]; optionally reports the rows of a few queries.

    `rows` are token positions; their post-softmax weights come back as [B, H, R, N] float32,
    else None. They are computed for those queries alone.
    """

    heads: int
    fda: ForceDirectedAttention
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, rows: tuple[int, ...] | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        batch, num_tokens, width = x.shape
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        qkv = qkv.reshape(batch, num_tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [B, N, H, d]
        forces = {"alpha": self.fda.alpha, "beta": self.fda.beta, "delta": self.fda.delta}
        attention = None
        if rows is not None:
            attention = fda.attention_rows(query[:, jnp.array(rows)], key, **forces)
        out = fda.attend(query, key, value, **forces, implementation=self.fda.implementation)
        out = out.reshape(batch, num_tokens, width)
        return nn.Dense(width, dtype=self.dtype, name="proj")(out), attention


@dataclasses.dataclass(frozen=True)
class Cut:
    """One elimination: how many search tokens stay, and the template queries that choose them.

    Attributes:
      keep: search tokens that stay; first_search: position of the first search token.
      rows: positions of the template queries; weights: [B, R] or None for equal ones.
    """

    keep: int
    first_search: int
    rows: tuple[int, ...]
    weights: jax.Array | None


class Block(nn.Module):
    """Pre-norm transformer block; elimination happens between attention and MLP.

    Tokens [B, N, D] and the grid cell of each search token [B, K] -> the same for the tokens that
    stay.
    """

    heads: int
    mlp_ratio: int
    fda: ForceDirectedAttention
    layer_scale: bool
    drop_path: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, tokens: jax.Array, cells: jax.Array, cut: Cut | None = None, *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        normed = layer_norm("norm_1", self.dtype)(tokens)
        attention = Attention(self.heads, self.fda, self.dtype, name="attention")
        branch, rows = attention(normed, cut.rows if cut else None)
        tokens = tokens + self._finish(branch, "scale_1", train=train)
        if cut:
            template, search = jnp.split(tokens, [cut.first_search], axis=1)
            scores = candidates.candidate_scores(rows[..., cut.first_search :], cut.weights)
            self.sow("intermediates", "candidate_scores", scores)
            keep = functools.partial(candidates.eliminate, keep=cut.keep)
            search, cells = per_device(keep, search, cells, scores)
            tokens = jnp.concatenate([template, search], axis=1)
        mlp = Mlp(self.mlp_ratio * tokens.shape[-1], self.dtype, name="mlp")
        branch = mlp(layer_norm("norm_2", self.dtype)(tokens))
        return tokens + self._finish(branch, "scale_2", train=train), cells

    def _finish(self, branch: jax.Array, name: str, *, train: bool) -> jax.Array:
        """LayerScale, where the backbone has it, and drop path."""
        if self.layer_scale:
            scale = self.param(name, nn.initializers.ones, branch.shape[-1:])
            branch = branch * jnp.broadcast_to(scale.astype(branch.dtype), branch.shape)
        return drop_path(self.drop_path, branch, train=train)


class Encoder(nn.Module):
    """Blocks over the joint sequence, a final norm, and the eliminated cells put back as zeros.

    Attributes:
      depth, heads, mlp_ratio: of the transformer; patch_size: pixels per token side.
      drop_path: rate of each block.
      elimination, fda: see there.
      prefix: number of tokens before the template's own (a class token), not returned.
      remat: blocks are computed again in the backward pass, and only their inputs stored.
    """

    depth: int
    heads: int
    patch_size: int
    drop_path: tuple[float, ...]
    fda: ForceDirectedAttention
    elimination: CandidateElimination
    layer_scale: bool = False
    prefix: int = 0
    mlp_ratio: int = 4
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
        """Template [B, prefix + Z, D] and search [B, X, D] tokens -> the final ones.

        `keep_ratio` is static; see `CandidateElimination.keep_counts`. The cells kept at each
        elimination are sown as intermediates "kept_cells" [B, K], best first; its block sows
        "candidate_scores" of the tokens before.
        """
        (batch, first_search, _), num_search = template.shape, search.shape[1]
        counts = self.elimination.keep_counts(num_search, keep_ratio)
        rows, weights = (), None
        if counts:
            grid = math.isqrt(first_search - self.prefix)
            rows, weights = self.elimination.template_weights(
                batch, grid, self.patch_size, template_box_cxcywh
            )
            rows = tuple(self.prefix + row for row in rows)
        tokens = jnp.concatenate([template, search], axis=1).astype(self.dtype)  # [B, N, D]
        cells = jnp.broadcast_to(jnp.arange(num_search), (batch, num_search))
        for layer in range(self.depth):
            block = Block(
                heads=self.heads,
                mlp_ratio=self.mlp_ratio,
                fda=self.fda,
                layer_scale=self.layer_scale,
                drop_path=self.drop_path[layer],
                dtype=self.dtype,
                name=f"block_{layer:02d}",
            )
            cut = Cut(counts[layer], first_search, rows, weights) if layer in counts else None

            def run(
                block: Block, tokens: jax.Array, cells: jax.Array, cut: Cut | None = cut
            ) -> tuple[jax.Array, jax.Array]:
                return block(tokens, cells, cut, train=train)

            tokens, cells = (nn.remat(run) if self.remat else run)(block, tokens, cells)
            if cut:
                self.sow("intermediates", "kept_cells", cells)
        tokens = layer_norm("norm", self.dtype)(tokens)
        template, search = jnp.split(tokens, [first_search], axis=1)
        kept = jnp.ones((batch, num_search), bool)
        if counts:
            restore = functools.partial(candidates.restore, num_search=num_search)
            search, kept = per_device(restore, search, cells)
        return Encoded(template[:, self.prefix :], search, kept)
