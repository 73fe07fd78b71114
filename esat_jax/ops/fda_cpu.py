"""Force-directed attention for CPUs: one head at a time, whose map stays in the cache.

The equations are those of `fda`, with less to do for each pair of tokens. What a query adds to all
of its logits alike falls out in the softmax, so the distance's |q|^2 is only needed inside the
exponential; and the rows are divided by their sums after the product with the values.
"""

import functools

import jax
import jax.numpy as jnp


def attend_by_head(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    alpha: float,
    beta: float,
    delta: float,
) -> jax.Array:
    """Self-attention with forces; with alpha = beta = 0 the ordinary one, at no extra cost.

    Args: query, key, value: [B, N, H, d] float32; alpha, beta, delta: as in `fda.fda_logits`, plain
      numbers.
    Returns: [B, N, H, d] float32.
    """
    forces = functools.partial(_logits, alpha=alpha, beta=beta, delta=delta)

    def attend_head(head: jax.Array) -> jax.Array:
        q, k, v = (jax.lax.dynamic_index_in_dim(x, head, 2, False) for x in (query, key, value))
        logits = forces(q, k)
        weights = jnp.exp(logits - logits.max(axis=-1, keepdims=True))  # [B, N, N]
        return jnp.einsum("bqk,bkd->bqd", weights, v) / weights.sum(axis=-1, keepdims=True)

    heads = jax.lax.map(attend_head, jnp.arange(query.shape[2]))  # [H, B, N, d]
    return jnp.moveaxis(heads, 0, 2)


def _logits(
    query: jax.Array, key: jax.Array, *, alpha: float, beta: float, delta: float
) -> jax.Array:
    """Logits [B, N, N] of one head [B, N, d], each row up to a constant."""
    scale = query.shape[-1] ** -0.5 + 2.0 * beta * delta
    products = jnp.einsum("bqd,bkd->bqk", scale * query, key)
    if alpha == beta == 0:
        return products
    query_norm = delta * jnp.sum(query * query, axis=-1)[..., None]
    key_norm = delta * jnp.sum(key * key, axis=-1)[:, None, :]
    attraction = (2.0 * delta / scale) * products - query_norm - key_norm
    # Rounding can leave it above 0 where q is close to k. A select, since with a minimum XLA gives
    # the whole expression to a library that goes over the map once for each operation.
    attraction = jnp.where(attraction < 0, attraction, 0.0)
    return products - beta * key_norm + alpha * jnp.exp(attraction)
