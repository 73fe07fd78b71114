"""Where batches and states lie on eight CPU devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from esat_jax import sharding


def test_a_mesh_takes_all_devices_or_those_named():
    assert sharding.make_mesh().devices.size == len(jax.devices()) == 8
    assert sharding.make_mesh(jax.devices()[:2]).shape == {"data": 2}


def test_a_batch_is_split_in_order_and_names_stay_behind():
    mesh = sharding.make_mesh()
    batch = {"search": np.arange(32).reshape(16, 2), "source": np.array(["a"] * 16)}
    placed = sharding.put_batch(batch, mesh)
    assert set(placed) == {"search"}
    for i, device in enumerate(mesh.devices):
        (shard,) = [s for s in placed["search"].addressable_shards if s.device == device]
        np.testing.assert_array_equal(shard.data, batch["search"][2 * i : 2 * i + 2])


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"'search'.*\(12, 2\).*8 devices.*config.batch_size"):
        sharding.put_batch({"search": np.zeros((12, 2))}, sharding.make_mesh())


def test_large_arrays_are_split_along_their_longest_axis_only_when_asked():
    shapes = {
        "qkv": (128, 384),
        "odd": (3, 7, 4096),
        "bias": (384,),
        "prime": (127, 131),
        "step": (),
    }
    shapes = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    mesh = sharding.make_mesh()
    whole = sharding.state_sharding(shapes, mesh, fsdp=False)
    assert {place.spec for place in whole.values()} == {PartitionSpec()}
    split = {n: p.spec for n, p in sharding.state_sharding(shapes, mesh, fsdp=True).items()}
    assert split == {
        "qkv": PartitionSpec(None, "data"),
        "odd": PartitionSpec(None, None, "data"),
        "bias": PartitionSpec(),
        "prime": PartitionSpec(),
        "step": PartitionSpec(),
    }
