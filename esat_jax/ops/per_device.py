"""Operations that the compiler cannot split over devices, although they treat examples singly."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec


def per_device(function: Callable, *arrays: jax.Array) -> Any:  # noqa: ANN401 as `function`
    """`function(*arrays)`, each device computing its own part of the batch.

    Without this every device would gather the whole batch for a kernel, a top-k or a scatter. The
    mesh is the one that `jax.sharding.use_abstract_mesh` has set while tracing; its first axis
    splits the batch. With no mesh, or on one device, this is the plain call.

    Args:
      function: maps arrays [B, ...] to arrays [B, ...] without mixing examples.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function(*arrays)
    split = PartitionSpec(mesh.axis_names[0])
    mapped = jax.shard_map(function, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    return mapped(*arrays)
