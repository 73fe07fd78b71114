"""The variables of the configured model before any training: their shapes and their values."""

import functools
import json
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from esat_jax.models.esat import make_model

_COLLECTIONS = ("params", "batch_stats")


def variable_shapes(config: Mapping) -> dict[str, tuple[int, ...]]:
    """Shapes by path, "params/backbone/...", without computing anything.

    `config` is a plain nested dict with the keys of configs/base.py.
    """
    return dict(_cached_shapes(json.dumps(config)))


def trace_variables(config: Mapping) -> dict[str, tuple[int, ...]]:
    """As `variable_shapes`, but runs every module anew on abstract arrays, for who listens."""
    shapes = jax.eval_shape(_init_function(config), jax.random.key(0))
    flat = traverse_util.flatten_dict(shapes, sep="/")
    return {path: value.shape for path, value in flat.items()}


def initial_variables(config: Mapping, seed: int) -> dict:
    """Random initial values as a nested plain dict of numpy arrays, position head included.

    `config` is a plain nested dict with the keys of configs/base.py.
    """
    flat = initial_values(config, seed, list(variable_shapes(config)))
    return traverse_util.unflatten_dict(flat, sep="/")


def initial_values(config: Mapping, seed: int, paths: Collection[str]) -> dict[str, np.ndarray]:
    """Random initial values of the given paths; only they are computed.

    `config` is a plain nested dict with the keys of configs/base.py.
    Raises: ValueError for a path that the model does not have.
    """
    init = _init_function(config)
    if unknown := sorted(set(paths) - set(variable_shapes(config))):
        raise ValueError(f"the model has no {', '.join(unknown)}")

    def chosen(rng: jax.Array) -> dict[str, jax.Array]:
        flat = traverse_util.flatten_dict(init(rng), sep="/")
        return {path: flat[path] for path in paths}

    return {path: np.asarray(v) for path, v in jax.jit(chosen)(jax.random.key(seed)).items()}


@functools.lru_cache(maxsize=8)  # a run asks for the same ones several times, seconds each
def _cached_shapes(config: str) -> dict[str, tuple[int, ...]]:
    return trace_variables(json.loads(config))


def _init_function(config: Mapping) -> Callable[[jax.Array], dict]:
    """rng -> {"params", "batch_stats"}; `train=True` so that the position head is built."""
    model = make_model(config)
    sizes = config["template"]["size"], config["search"]["size"]

    def init(rng: jax.Array) -> dict:
        crops = [jnp.zeros((1, size, size, 3), jnp.uint8) for size in sizes]
        rngs = {"params": rng, "dropout": rng}
        whole = jnp.array([[0.5, 0.5, 1.0, 1.0]])  # read by template_range "GT_BOX" only
        variables = model.init(rngs, *crops, template_box_cxcywh=whole, train=True)
        return {name: variables[name] for name in _COLLECTIONS}

    return init
