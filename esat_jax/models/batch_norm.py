"""Batch normalisation with PyTorch's bookkeeping."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """Normalises [B, S, S, C] over all but the last axis.

    Differs from `flax.linen.BatchNorm` in one point: the running variance is the unbiased one,
    as PyTorch keeps it, so that statistics equal those of the original code after each step.
    Statistics are float32 whatever `dtype` is.
    """

    momentum: float = 0.9  # weight of the old value: PyTorch's 0.1 is the weight of the new one
    epsilon: float = 1e-5
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels, axes = x.shape[-1:], tuple(range(x.ndim - 1))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        mean, var = running_mean.value, running_var.value
        if train:
            wide = x.astype(jnp.float32)
            mean, var = wide.mean(axes), wide.var(axes)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * count / max(count - 1, 1)
                keep, add = self.momentum, 1 - self.momentum
                running_mean.value = keep * running_mean.value + add * mean
                running_var.value = keep * running_var.value + add * unbiased
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        shift = jnp.broadcast_to(bias - mean * factor, x.shape)
        return (x * jnp.broadcast_to(factor, x.shape) + shift).astype(self.dtype)
