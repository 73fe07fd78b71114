"""A small tracker whose boxes depend on its crops."""

import numpy as np
from flax import traverse_util

import detweights
from configs import esat_vit_b256
from esat_jax.initial_variables import variable_shapes
from esat_jax.weights import save_weights


def make_tiny(**overrides):
    """A small config and weights for it, of a size that keeps every signal in a useful range."""
    config = esat_vit_b256.get_config("smoke")
    config.update_from_flattened_dict(overrides)
    flat = {}
    for path, shape in variable_shapes(config.to_dict()).items():
        z = detweights.normal(path, shape).astype(np.float32)
        flat[path] = {
            "kernel": z * np.sqrt(2 / np.prod(shape[:-1])),
            "scale": 1 + 0.1 * z,
            "var": 1 + 0.1 * abs(z),
        }.get(path.rsplit("/", 1)[1], 0.1 * z)
    return config, traverse_util.unflatten_dict(flat, sep="/")


def make_steady(**overrides):
    """As `make_tiny`, with boxes about as large as the one before, near the middle of the crop."""
    config, variables = make_tiny(**overrides)
    head = variables["params"]["box_head"]
    head["size"]["conv_5"]["bias"][:] = -np.log(config.search.factor - 1)  # sigmoid: 1 / factor
    head["offset"]["conv_5"]["bias"][:] = 1.0  # the cell up-left of the middle, to the middle
    for tower in ("size", "offset"):
        head[tower]["conv_5"]["kernel"] *= 0.3
    return config, variables


def write_tracker(folder, config, variables):
    """Writes such a tracker; the path of its weights file."""
    path = folder / "tiny.safetensors"
    save_weights(path, variables, config.to_dict())
    return path
