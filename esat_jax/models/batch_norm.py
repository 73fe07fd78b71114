"""Batch normalisation with PyTorch's bookkeeping."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """Normalises [B, S, S, C] over all but the last axis.

    Differs from `flax.linen.BatchNorm` in one point: the running variance is the unbiased one,
    as PyTorch keeps it, so that statistics equal those of the original code after each step.
    Statistics are float32 whatever `dtype` is.

    `groups` is the number of equal parts of the batch, one after the other, that are normalised
    each by its own statistics; the running ones follow the first part. OSTrack trains so, a group
    on each GPU.
    """

    momentum: float = 0.9  # weight of the old value: PyTorch's 0.1 is the weight of the new one
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32
    groups: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean, var = running_mean.value, running_var.value
        if train:
            grouped = x.astype(jnp.float32).reshape(self.groups, -1, *channels)
            # The variance from the mean square needs no mean first: one pass over x, and one
            # exchange between devices. It loses (distance / deviation) squared of its precision,
            # the distance being that of the running mean, which starts at 0 and soon is near.
            shifted = grouped - jnp.broadcast_to(mean, grouped.shape)
            difference, square = shifted.mean(axis=1), jnp.square(shifted).mean(axis=1)
            means = jnp.broadcast_to(mean, difference.shape) + difference  # [groups, C]
            # Rounding can make the difference negative.
            variances = jnp.maximum(square - jnp.square(difference), 0)
            mean, var = means[0], variances[0]
            if not self.is_initializing():
                count = grouped.shape[1]
                unbiased = var * count / max(count - 1, 1)
                keep, add = self.momentum, 1 - self.momentum
                running_mean.value = keep * running_mean.value + add * mean
                running_var.value = keep * running_var.value + add * unbiased
            if self.groups > 1:  # one row for each example
                mean, var = (
                    jnp.repeat(v, len(x) // self.groups, axis=0) for v in (means, variances)
                )
                mean, var = (v[:, None, None, :] for v in (mean, var))
        scale, bias = (jnp.broadcast_to(v, mean.shape) for v in (scale, bias))
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        shift = jnp.broadcast_to(bias - mean * factor, x.shape)
        return (x * jnp.broadcast_to(factor, x.shape) + shift).astype(self.dtype)
