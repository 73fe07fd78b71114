"""Weights and inputs of the parity fixtures, as the original PyTorch code received them."""

import functools
import importlib
import json
from pathlib import Path

import flax
import numpy as np

import detweights
from esat_jax.initial_variables import variable_shapes
from esat_jax.torch_weights import load_state_dict

FIXTURES = Path(__file__).parent / "fixtures"


def read_config(name, variants=""):
    """A configuration of configs/ by file name."""
    return importlib.import_module(f"configs.{name}").get_config(variants)


def read_manifest(name):
    """Entries [name, shape, dtype, digest] of a PyTorch state dict, in its order."""
    return json.loads((FIXTURES / f"{name}_manifest.json").read_text())


@functools.cache
def ostrack_variables(size):
    """Generated weights of OSTrack at `size` px search."""
    state = detweights.state(read_manifest(f"ostrack_vitb_{size}"))
    variables, _ = load_state_dict(state, read_config(f"esat_vit_b{size}", "ostrack"))
    return variables


def network_input(name, role, size):
    """Normalised crop [size, size, 3] of the stream `name`, e.g. "input/gauss3/search"."""
    name = str(name)
    assert name.endswith(role)
    if "gauss" in name:
        image = detweights.normal(name, (3, size, size)).astype(np.float32)
    else:
        image = detweights.normalize(detweights.smooth_image(name, size, size))
    return image.transpose(1, 2, 0)


def network_inputs(fixture, size, prefix=""):
    """Template [B, size / 2, size / 2, 3] and search [B, size, size, 3] crops of a fixture."""
    templates = [network_input(n, "template", size // 2) for n in fixture[f"{prefix}z_name"]]
    searches = [network_input(n, "search", size) for n in fixture[f"{prefix}x_name"]]
    return np.stack(templates), np.stack(searches)


def random_variables(config, seed=0):
    """Variables of a configuration, made in a moment: compiling the real initialisers is slow."""
    rng, flat = np.random.default_rng(seed), {}
    for path, shape in variable_shapes(config).items():
        kind = path.rsplit("/", 1)[-1]
        values = rng.normal(0, shape[-2] ** -0.5 if kind == "kernel" else 0.1, shape)
        flat[path] = (values + (kind in ("scale", "var"))).astype(np.float32)
        if kind == "var":
            flat[path] = np.abs(flat[path])
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def maps_last(array):
    """[B, C, S, S] -> [B, S, S, C]."""
    return np.moveaxis(array, 1, -1)


def flat_intermediates(collected):
    """Sown and captured values by path."""
    return flax.traverse_util.flatten_dict(collected["intermediates"], sep="/")
