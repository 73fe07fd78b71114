"""Cutting a batch that is split over devices into micro-batches."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from esat_jax.sharding import AXIS


class MicroBatches:
    """The micro-batches of a batch [F, ...]: each device's part is cut, so nothing travels."""

    def __init__(self, num_frames: int, number: int, mesh: Mesh) -> None:
        if num_frames % (mesh.size * number):
            raise ValueError(
                f"{num_frames} pairs a step do not divide into config.optim.accumulate = {number} "
                f"micro-batches on each of {mesh.size} devices; change it or config.batch_size."
            )
        self.number, self._devices, self._num_frames = number, mesh.size, num_frames
        self._places = NamedSharding(mesh, PartitionSpec(None, AXIS))

    def split(self, array: jax.Array) -> jax.Array:
        """[F, ...] -> [number, F / number, ...]."""
        parts = array.reshape(self._devices, self.number, -1, *array.shape[1:])
        parts = jnp.swapaxes(parts, 0, 1).reshape(self.number, -1, *array.shape[1:])
        return jax.lax.with_sharding_constraint(parts, self._places)

    def join(self, parts: jax.Array) -> jax.Array:
        """The opposite of `split`."""
        shape = parts.shape[2:]
        array = jnp.swapaxes(parts.reshape(self.number, self._devices, -1, *shape), 0, 1)
        return array.reshape(self._num_frames, *shape)

    def dropout(self, index: jax.Array) -> Callable:
        """Makes drop path in micro-batch `index` draw what it draws in the whole batch."""

        def intercept(
            call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
        ) -> jax.Array:
            layer = context.module
            if self.number == 1 or not isinstance(layer, nn.Dropout):
                return call(*args, **kwargs)
            (branch,), keep = args, 1 - layer.rate
            if kwargs["deterministic"] or keep == 1:
                return branch
            rng = layer.make_rng(layer.rng_collection)
            kept = jax.random.bernoulli(rng, keep, (self._num_frames, *[1] * (branch.ndim - 1)))
            kept = jnp.broadcast_to(self.split(kept)[index], branch.shape)
            return jnp.where(kept, branch / keep, jnp.zeros_like(branch))

        return intercept
