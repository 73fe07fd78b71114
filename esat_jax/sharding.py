"""Where arrays live: the only file that knows how many devices there are."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"
# Arrays with fewer elements stay whole under FSDP: gathering them costs more than they weigh.
MIN_SHARDED_SIZE = 2**14


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A 1-D mesh over `devices`, by default all of all hosts; a single CPU is a mesh of one."""
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), (AXIS,), (AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's arrays [local batch, ...] -> global arrays, split over the devices.

    Entries that are no numbers, such as `source`, stay behind.
    Raises: ValueError if the batch does not divide into equal parts for the devices.
    """
    split, devices = batch_sharded(mesh), len(mesh.local_devices)
    placed = {}
    for name, array in batch.items():
        array = np.asarray(array)
        if array.dtype.kind not in "biuf":
            continue
        if not array.ndim or array.shape[0] % devices:
            raise ValueError(
                f"batch[{name!r}] of shape {array.shape} does not divide among the {devices} "
                f"devices of this host; make config.batch_size a multiple of all devices."
            )
        placed[name] = jax.make_array_from_process_local_data(split, array)
    return placed


def abstract(tree: Any) -> Any:  # noqa: ANN401 any pytree
    """Shapes, types and places of a tree's arrays, without the arrays."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree
    )


def state_sharding(state_shapes: Any, mesh: Mesh, fsdp: bool) -> Any:  # noqa: ANN401 any pytree
    """The place of every array of a training state, as a tree of NamedSharding.

    Args:
      state_shapes: tree of arrays or shapes. fsdp: split every large array, parameters and
        optimiser moments alike, over the devices along its longest axis that divides; else
        everything is whole on every device.
    """

    def place(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        divisible = [i for i, side in enumerate(leaf.shape) if side % mesh.size == 0]
        if not fsdp or not divisible or np.prod(leaf.shape) < MIN_SHARDED_SIZE:
            return replicated(mesh)
        axis = max(divisible, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))

    return jax.tree.map(place, state_shapes)
