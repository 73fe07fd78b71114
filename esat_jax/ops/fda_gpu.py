"""Force-directed attention as one fused GPU kernel each way (Pallas, lowered through Triton).

Tiles of the attention map live in registers only, as in FlashAttention-2 (Dao 2023); the forces
are computed from the same tile of q.k. `esat_jax.ops.fda` is the reference.

Notation of the backward pass: s = c q.k + a e^-R - b R with R = delta |q - k|^2, so that for the
gradient g of s:  dR = -g (a e^-R + b),  d(q.k) = c g - 2 delta dR,  d|q|^2 = d|k|^2 = delta dR.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

LOG2_E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Tiles:
    """Rows of queries and keys a program holds at once, its warps and pipeline stages."""

    query: int
    key: int
    warps: int
    stages: int


# The fastest of 36 combinations each on an H100 at [32, 720, 12, 64] (benchmarks/results.md).
FORWARD = Tiles(query=64, key=64, warps=4, stages=3)
BACKWARD_QUERY = Tiles(query=64, key=32, warps=4, stages=4)
BACKWARD_KEY = Tiles(query=64, key=64, warps=4, stages=3)


@dataclasses.dataclass(frozen=True)
class Forces:
    """alpha, beta, delta of Eq. 5-7 and the scale of the dot product; plain numbers."""

    alpha: float
    beta: float
    delta: float
    scale: float

    @property
    def none(self) -> bool:
        """Whether this is ordinary attention."""
        return self.alpha == 0 and self.beta == 0


def fused_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    alpha: float,
    beta: float,
    delta: float,
    interpret: bool = False,
) -> jax.Array:
    """`esat_jax.ops.fda.attend` without an attention map in memory, forward or backward.

    Args:
      query, key, value: [B, N, H, d] of one 16-bit float type, d a power of two from 16 up.
      alpha, beta, delta: plain numbers, compiled in.
      interpret: runs the kernel's program on any device, slowly; for tests.
    Returns: [B, N, H, d].
    """
    forces = Forces(alpha, beta, delta, query.shape[-1] ** -0.5)
    return _attend(query, key, value, forces, interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(
    query: jax.Array, key: jax.Array, value: jax.Array, forces: Forces, interpret: bool
) -> jax.Array:
    return _forward(query, key, value, forces, interpret)[0]


def _attend_forward(
    query: jax.Array, key: jax.Array, value: jax.Array, forces: Forces, interpret: bool
) -> tuple[jax.Array, tuple]:
    out, log_sum = _forward(query, key, value, forces, interpret)
    return out, (query, key, value, out, log_sum)


def _attend_backward(forces: Forces, interpret: bool, saved: tuple, d_out: jax.Array) -> tuple:
    query, key, value, out, log_sum = saved
    # Once here: backward, tiles that read the norms are faster than tiles that sum them up.
    norms = _row_products(query, query), _row_products(key, key)
    arguments = (query, key, value, *norms, d_out, log_sum, _row_products(out, d_out))
    d_query = _call(
        _d_query_kernel,
        BACKWARD_QUERY,
        BACKWARD_QUERY.query,
        forces,
        arguments,
        (query,),
        interpret,
    )
    d_key, d_value = _call(
        _d_key_kernel, BACKWARD_KEY, BACKWARD_KEY.key, forces, arguments, (key, value), interpret
    )
    return *d_query, d_key, d_value


_attend.defvjp(_attend_forward, _attend_backward)


def _row_products(one: jax.Array, other: jax.Array) -> jax.Array:
    """Dot products of the rows of two [B, N, H, d] -> [B, H, N] float32."""
    return jnp.einsum("bnhd,bnhd->bhn", one, other, preferred_element_type=jnp.float32)


def _forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    forces: Forces,
    interpret: bool,
) -> tuple[jax.Array, jax.Array]:
    """Output and the base-2 logarithm of each row's sum of exponentials [B, H, N]."""
    batch, tokens, heads, _ = query.shape
    log_sum = jax.ShapeDtypeStruct((batch, heads, tokens), jnp.float32)
    arguments = (query, key, value)
    return _call(
        _forward_kernel, FORWARD, FORWARD.query, forces, arguments, (query, log_sum), interpret
    )


def _call(
    kernel: object,
    tiles: Tiles,
    rows: int,
    forces: Forces,
    arguments: tuple,
    outputs: tuple,
    interpret: bool,
) -> list[jax.Array]:
    """Runs `kernel` on every (batch, head, tile of `rows`); arguments are passed whole per head."""
    batch, tokens, heads, depth = arguments[0].shape
    whole = pl.BlockSpec((None, tokens, None, depth), lambda b, h, _: (b, 0, h, 0))
    row_wise = pl.BlockSpec((None, None, tokens), lambda b, h, _: (b, h, 0))

    def spec(array: jax.Array) -> pl.BlockSpec:
        return whole if len(array.shape) == 4 else row_wise

    return pl.pallas_call(
        functools.partial(kernel, forces=forces, tiles=tiles, tokens=tokens),
        grid=(batch, heads, pl.cdiv(tokens, rows)),
        in_specs=[spec(array) for array in arguments],
        out_specs=[spec(array) for array in outputs],
        out_shape=[jax.ShapeDtypeStruct(array.shape, array.dtype) for array in outputs],
        compiler_params=plgpu.CompilerParams(num_warps=tiles.warps, num_stages=tiles.stages),
        interpret=interpret,
    )(*arguments)


def _rows(start: jax.Array, size: int, tokens: int) -> tuple[pl.Slice, jax.Array]:
    """A tile's slice and which of its rows exist; the last tile may hang over the end."""
    return pl.ds(start, size), start + jnp.arange(size) < tokens


def _load(ref: jax.Array, tile: tuple[pl.Slice, jax.Array]) -> jax.Array:
    """Rows of [N, d] or [N]; those that do not exist are zeros."""
    rows, exist = tile
    if len(ref.shape) == 1:
        return plgpu.load(ref.at[rows], mask=exist, other=0.0)
    return plgpu.load(ref.at[rows, :], mask=exist[:, None], other=0.0)


def _store(ref: jax.Array, tile: tuple[pl.Slice, jax.Array], values: jax.Array) -> None:
    rows, exist = tile
    if len(ref.shape) == 1:
        plgpu.store(ref.at[rows], values, mask=exist)
    else:
        plgpu.store(ref.at[rows, :], values.astype(ref.dtype), mask=exist[:, None])


def _squares(tile: jax.Array) -> jax.Array:
    """Squared norm of each row: [n, d] -> [n] float32."""
    wide = tile.astype(jnp.float32)
    return jnp.sum(wide * wide, axis=1)


def _scores(
    left: jax.Array,
    right: jax.Array,
    left_norm: jax.Array,
    right_norm: jax.Array,
    forces: Forces,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Logits of a tile times log2(e), and its attraction e^-R and squared distance.

    The forces know no direction: `left` may be queries or keys, and `right` the others.
    """
    dots = plgpu.dot(left, right.T)
    logits = dots * (forces.scale * LOG2_E)
    if forces.none:
        return logits, None, None
    distance = left_norm[:, None] + right_norm[None, :] - 2.0 * dots
    repulsion = (forces.delta * LOG2_E) * jnp.maximum(distance, 0.0)
    attraction = jnp.exp2(-repulsion)
    logits += (forces.alpha * LOG2_E) * attraction - forces.beta * repulsion
    return logits, attraction, distance


def _forward_kernel(
    query_ref: jax.Array,
    key_ref: jax.Array,
    value_ref: jax.Array,
    out_ref: jax.Array,
    log_sum_ref: jax.Array,
    *,
    forces: Forces,
    tiles: Tiles,
    tokens: int,
) -> None:
    query_tile = _rows(pl.program_id(2) * tiles.query, tiles.query, tokens)
    query = _load(query_ref, query_tile)
    query_norm = _squares(query)

    def add_keys(i: jax.Array, carry: tuple) -> tuple:
        out, highest, total = carry
        key_tile = _rows(i * tiles.key, tiles.key, tokens)
        key = _load(key_ref, key_tile)
        logits, _, _ = _scores(query, key, query_norm, _squares(key), forces)
        logits = jnp.where(key_tile[1][None, :], logits, -jnp.inf)
        new_highest = jnp.maximum(highest, jnp.max(logits, axis=1))
        weights = jnp.exp2(logits - new_highest[:, None])
        shrink = jnp.exp2(highest - new_highest)
        value = _load(value_ref, key_tile)
        out = out * shrink[:, None] + plgpu.dot(weights.astype(value.dtype), value)
        return out, new_highest, total * shrink + jnp.sum(weights, axis=1)

    start = (
        jnp.zeros((tiles.query, query.shape[1]), jnp.float32),
        jnp.full(tiles.query, -jnp.inf, jnp.float32),
        jnp.zeros(tiles.query, jnp.float32),
    )
    out, highest, total = jax.lax.fori_loop(0, pl.cdiv(tokens, tiles.key), add_keys, start)
    _store(out_ref, query_tile, out / total[:, None])
    _store(log_sum_ref, query_tile, highest + jnp.log2(total))


def _tile_gradients(
    scores: tuple[jax.Array, jax.Array | None, jax.Array | None],
    d_weights: jax.Array,
    log_sum: jax.Array,
    forces: Forces,
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Attention weights of a tile, the gradient of q.k and, with forces, of the squared norms.

    Args: scores: as `_scores` returns; d_weights: gradient of the weights, less its row's mean.
    """
    logits, attraction, distance = scores
    weights = jnp.exp2(logits - log_sum)
    d_logits = weights * d_weights
    d_dots = d_logits * forces.scale
    if attraction is None:
        return weights, d_dots, None
    d_repulsion = -d_logits * (forces.alpha * attraction + forces.beta)
    d_norms = forces.delta * jnp.where(distance > 0, d_repulsion, 0.0)
    return weights, d_dots - 2.0 * d_norms, d_norms


def _d_query_kernel(
    query_ref: jax.Array,
    key_ref: jax.Array,
    value_ref: jax.Array,
    query_norm_ref: jax.Array,
    key_norm_ref: jax.Array,
    d_out_ref: jax.Array,
    log_sum_ref: jax.Array,
    correction_ref: jax.Array,
    d_query_ref: jax.Array,
    *,
    forces: Forces,
    tiles: Tiles,
    tokens: int,
) -> None:
    query_tile = _rows(pl.program_id(2) * tiles.query, tiles.query, tokens)
    refs = (query_ref, query_norm_ref, d_out_ref, log_sum_ref, correction_ref)
    query, query_norm, d_out, log_sum, correction = (_load(ref, query_tile) for ref in refs)

    def add_keys(i: jax.Array, carry: tuple) -> tuple:
        d_query, d_norm = carry
        key_tile = _rows(i * tiles.key, tiles.key, tokens)
        refs = (key_ref, value_ref, key_norm_ref)
        key, value, key_norm = (_load(ref, key_tile) for ref in refs)
        logits, *of_forces = _scores(query, key, query_norm, key_norm, forces)
        scores = jnp.where(key_tile[1][None, :], logits, -jnp.inf), *of_forces
        d_weights = plgpu.dot(d_out, value.T) - correction[:, None]
        _, d_dots, d_norms = _tile_gradients(scores, d_weights, log_sum[:, None], forces)
        d_query += plgpu.dot(d_dots.astype(key.dtype), key)
        return d_query, d_norm if d_norms is None else d_norm + jnp.sum(d_norms, axis=1)

    start = jnp.zeros(query.shape, jnp.float32), jnp.zeros(tiles.query, jnp.float32)
    d_query, d_norm = jax.lax.fori_loop(0, pl.cdiv(tokens, tiles.key), add_keys, start)
    _store(d_query_ref, query_tile, d_query + 2.0 * d_norm[:, None] * query.astype(jnp.float32))


def _d_key_kernel(
    query_ref: jax.Array,
    key_ref: jax.Array,
    value_ref: jax.Array,
    query_norm_ref: jax.Array,
    key_norm_ref: jax.Array,
    d_out_ref: jax.Array,
    log_sum_ref: jax.Array,
    correction_ref: jax.Array,
    d_key_ref: jax.Array,
    d_value_ref: jax.Array,
    *,
    forces: Forces,
    tiles: Tiles,
    tokens: int,
) -> None:
    """Tiles are transposed, [keys, queries]: so they enter the products from registers."""
    key_tile = _rows(pl.program_id(2) * tiles.key, tiles.key, tokens)
    refs = (key_ref, value_ref, key_norm_ref)
    key, value, key_norm = (_load(ref, key_tile) for ref in refs)

    def add_queries(i: jax.Array, carry: tuple) -> tuple:
        d_key, d_value, d_norm = carry
        query_tile = _rows(i * tiles.query, tiles.query, tokens)
        refs = (query_ref, query_norm_ref, d_out_ref, log_sum_ref, correction_ref)
        query, query_norm, d_out, log_sum, correction = (_load(ref, query_tile) for ref in refs)
        scores = _scores(key, query, key_norm, query_norm, forces)
        # Of queries that do not exist, d_out and correction are zeros, and so is d_weights; the
        # weights are finite, as log_sum is zero too.
        d_weights = plgpu.dot(value, d_out.T) - correction[None, :]
        weights, d_dots, d_norms = _tile_gradients(scores, d_weights, log_sum[None, :], forces)
        d_value += plgpu.dot(weights.astype(d_out.dtype), d_out)
        d_key += plgpu.dot(d_dots.astype(query.dtype), query)
        return d_key, d_value, d_norm if d_norms is None else d_norm + jnp.sum(d_norms, axis=1)

    zeros = jnp.zeros(key.shape, jnp.float32)
    start = zeros, zeros, jnp.zeros(tiles.key, jnp.float32)
    d_key, d_value, d_norm = jax.lax.fori_loop(0, pl.cdiv(tokens, tiles.query), add_queries, start)
    _store(d_key_ref, key_tile, d_key + 2.0 * d_norm[:, None] * key.astype(jnp.float32))
    _store(d_value_ref, key_tile, d_value)
