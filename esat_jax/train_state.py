"""What a training step changes, and where on the devices it lies."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.traverse_util import unflatten_dict
from jax.sharding import Mesh

from esat_jax import sharding
from esat_jax.initial_variables import initial_variables, variable_shapes
from esat_jax.optimizer import make_optimizer


@struct.dataclass
class TrainState:
    """All that a step changes, and the seed.

    Attributes:
      step: int32 scalar, steps taken.
      params, batch_stats: of the model. opt_state: of `make_optimizer`.
      rng: uint32 [2], key data; a step's key is this one folded with `step`.
      ema: averaged parameters, or None if config.optim.ema_decay is 0.
    """

    step: jax.Array
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    rng: jax.Array
    ema: dict | None

    @property
    def eval_params(self) -> dict:
        """What validation and export use: the averaged parameters, where there are any."""
        return self.params if self.ema is None else self.ema


def create_state(config: Mapping, variables: Mapping | None = None, *, mesh: Mesh) -> TrainState:
    """The state before the first step, placed on the devices.

    Args:
      config: the whole configuration, a ConfigDict or a nested dict.
      variables: {"params", "batch_stats"} to start from; others are ignored. By default random
        ones of config.seed. They are copied.
    """
    config = plain(config)
    if variables is None:
        variables = initial_variables(config, config["seed"])
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    return jax.jit(_state_maker(config), out_shardings=state_places(config, mesh))(variables)


def state_shapes(config: Mapping, mesh: Mesh) -> TrainState:
    """The state as shapes with their places on the devices; nothing is computed.

    `config` as in `create_state`.
    """
    shapes = _shapes(config)
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        sharding.state_sharding(shapes, mesh, config["optim"]["fsdp"]),
    )


def state_places(config: Mapping, mesh: Mesh) -> Any:  # noqa: ANN401 a tree of shardings
    """Where each array of the state lies; `config` as in `create_state`."""
    return sharding.state_sharding(_shapes(config), mesh, config["optim"]["fsdp"])


def plain(config: Mapping) -> dict:
    """A ConfigDict, or a dict already, as a dict."""
    return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def _shapes(config: Mapping) -> TrainState:
    shapes = variable_shapes(plain(config))
    flat = {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in shapes.items()}
    return jax.eval_shape(_state_maker(config), unflatten_dict(flat, sep="/"))


def _state_maker(config: Mapping) -> Callable[[dict], TrainState]:
    """variables -> the state before the first step, all of it new arrays."""
    config = plain(config)
    optim = config["optim"]

    def make(variables: dict) -> TrainState:
        def copied() -> dict:
            return jax.tree.map(jnp.copy, variables["params"])

        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=copied(),
            batch_stats=jax.tree.map(jnp.copy, variables["batch_stats"]),
            opt_state=make_optimizer(optim, variables["params"], 1).init(variables["params"]),
            rng=jax.random.key_data(jax.random.key(config["seed"])),
            ema=copied() if optim["ema_decay"] else None,
        )

    return make
