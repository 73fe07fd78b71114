"""Force-directed attention (paper Sec. 3.3), XLA form: the equations and the oracle of any kernel.

With the squared distance expanded, |q - k|^2 = |q|^2 + |k|^2 - 2 q.k, one matrix product serves the
scaled dot product and both forces, and no [B, N, N, H, d] difference exists.
"""

import functools

import jax
import jax.numpy as jnp

from esat_jax.ops.fda_cpu import attend_by_head
from esat_jax.ops.fda_gpu import fused_attend
from esat_jax.ops.per_device import per_device

IMPLEMENTATIONS = ("auto", "xla", "fused")


def fda_logits(
    query: jax.Array, key: jax.Array, *, alpha: float, beta: float, delta: float
) -> jax.Array:
    """Attention logits plus attraction minus repulsion, before the softmax.

    Args:
      query, key: [B, N, H, d], any float type; products accumulate in float32.
      alpha, beta: weights of attraction and repulsion, unitless (paper, Table 4: 0.1 and 0.1).
      delta: scale of the squared distance, 1 / feature-unit^2. The paper gives no value.
    Returns: [B, H, N, N] float32.
    Raises: ValueError if query and key differ in shape.
    Source: Eq. 5-7; the two halves of the dimensions in Eq. 5 add up to the whole distance.
    """
    if query.shape != key.shape:
        raise ValueError(f"query and key must have one shape, got {query.shape} and {key.shape}")
    return _logits(query, key, alpha, beta, delta)


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    delta: float = 0.0,
    implementation: str = "auto",
) -> jax.Array:
    """Self-attention with forces; with alpha = beta = 0 the ordinary one.

    Args:
      query, key, value: [B, N, H, d] of one float type.
      alpha, beta, delta: as in `fda_logits`.
      implementation: "xla"; "fused", the GPU kernel of `fda_gpu`, which needs a GPU, 16-bit floats,
        plain numbers for the forces and d a power of two from 16 up; or "auto", the kernel where it
        can run, and cuDNN's attention there where there are no forces, and on a CPU, for float32
        and plain numbers, `fda_cpu`, unless it is differentiated.
    Returns: [B, N, H, d] in the type of `value`. No attention map leaves this function.
    Raises: ValueError if the three shapes differ, for another `implementation`, or for "fused"
      where it cannot run.
    """
    if not query.shape == key.shape == value.shape:
        shapes = f"{query.shape}, {key.shape} and {value.shape}"
        raise ValueError(f"query, key and value must have one shape, got {shapes}")
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"implementation is one of {IMPLEMENTATIONS}, got {implementation!r}")
    depth, backend = value.shape[-1], jax.default_backend()
    fits = value.dtype.itemsize == 2 and depth >= 16 and depth.bit_count() == 1
    fits = fits and backend == "gpu"
    if implementation == "fused" and not fits:
        raise ValueError(
            "fda.implementation 'fused' needs a GPU, 16-bit floats and a head dimension that is a "
            f"power of two from 16 up, got {backend}, {value.dtype} and {depth}; use 'auto'."
        )
    no_forces = _is_zero(alpha) and _is_zero(beta)
    if implementation == "auto" and fits and no_forces and query.shape[1] % 2 == 0:
        cudnn = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
        return per_device(cudnn, query, key, value)  # refuses odd lengths
    if implementation != "xla" and fits:
        fused = functools.partial(fused_attend, alpha=alpha, beta=beta, delta=delta)
        return per_device(fused, query, key, value)
    plain = all(isinstance(force, int | float) for force in (alpha, beta, delta))
    if implementation == "auto" and backend == "cpu" and value.dtype == jnp.float32 and plain:
        return _attend_on_cpu(alpha, beta, delta, query, key, value)
    return _attend(alpha, beta, delta, query, key, value)


def attention_rows(
    query: jax.Array,
    key: jax.Array,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    delta: float = 0.0,
) -> jax.Array:
    """The attention weights of a few queries, as `attend` uses them.

    Args:
      query: [B, R, H, d], the R queries of interest.
      key: [B, N, H, d], all keys.
      alpha, beta, delta: as in `fda_logits`.
    Returns: [B, H, R, N] float32; each row sums to 1.
    """
    return jax.nn.softmax(_logits(query, key, alpha, beta, delta), axis=-1)


def _logits(query: jax.Array, key: jax.Array, alpha: float, beta: float, delta: float) -> jax.Array:
    """`fda_logits` without its check, for R queries against N keys -> [B, H, R, N] float32."""
    einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    dots = einsum("bqhd,bkhd->bhqk", query, key)
    logits = dots * query.shape[-1] ** -0.5
    if _is_zero(alpha) and _is_zero(beta):
        return logits  # known while tracing: ordinary attention, to the last bit
    query_norm = einsum("bqhd,bqhd->bhq", query, query)[..., None]
    key_norm = einsum("bkhd,bkhd->bhk", key, key)[..., None, :]
    # Rounding can leave a tiny negative distance where q is close to k.
    repulsion = delta * jnp.maximum(query_norm + key_norm - 2.0 * dots, 0.0)
    return logits + alpha * jnp.exp(-repulsion) - beta * repulsion


def _attend(
    alpha: float, beta: float, delta: float, query: jax.Array, key: jax.Array, value: jax.Array
) -> jax.Array:
    """`attend` as the equations have it."""
    weights = jax.nn.softmax(_logits(query, key, alpha, beta, delta), axis=-1)  # [B, H, N, N]
    return jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _attend_on_cpu(
    alpha: float, beta: float, delta: float, query: jax.Array, key: jax.Array, value: jax.Array
) -> jax.Array:
    return attend_by_head(query, key, value, alpha=alpha, beta=beta, delta=delta)


@_attend_on_cpu.defjvp
def _differentiate(
    alpha: float, beta: float, delta: float, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    # Backwards the maps of all heads are needed anyway.
    return jax.jvp(functools.partial(_attend, alpha, beta, delta), primals, tangents)


def _is_zero(force: float | jax.Array) -> bool:
    """Known while tracing; a traced number is not."""
    return isinstance(force, int | float) and force == 0
