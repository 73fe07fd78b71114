"""The project's own weights file: safetensors, with the configuration inside."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from esat_jax.atomic import complete_file

_FORMAT = "esat-jax"


def save_weights(path: str | Path, variables: Mapping, config: Mapping) -> None:
    """Writes variables and the configuration that builds their model, atomically.

    Args:
      variables: collections of arrays ("params", "batch_stats" and perhaps "torch"), on any
        device; stored under names such as "params/backbone/norm/scale".
      config: plain nested dict, `ConfigDict.to_dict()`.
    Raises: ValueError for a configuration that JSON cannot hold.
    """
    try:
        text = json.dumps(dict(config))
    except TypeError as error:
        raise ValueError(f"the configuration cannot be written as JSON: {error}") from None
    arrays = {
        name: np.asarray(value, order="C")
        for name, value in traverse_util.flatten_dict(dict(variables), sep="/").items()
    }
    with complete_file(path) as part:
        save_file(arrays, part, metadata={"format": _FORMAT, "config": text})


def load_weights(path: str | Path) -> tuple[dict, dict]:
    """Reads what `save_weights` wrote.

    Returns: (variables, config): nested plain dicts; numpy arrays in the one, tuples instead of
      lists in the other, as the configs have them.
    Raises: ValueError for any other file, FileNotFoundError if there is none.
    """
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: this safetensors file was not written by esat-jax; convert PyTorch weights "
            "with launch.convert_weights."
        )
    try:
        config = dict(_tuples(json.loads(metadata["config"])))
        variables = traverse_util.unflatten_dict(arrays, sep="/")
    except (KeyError, ValueError, TypeError, IndexError):
        raise ValueError(
            f"{path}: its names or configuration are damaged; save it again."
        ) from None
    return variables, config


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads all arrays and the metadata of a safetensors file.

    Raises: ValueError for a file that is none or is damaged, FileNotFoundError if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="np") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, AttributeError, ValueError) as error:  # AttributeError: 8-bit floats
        raise ValueError(f"{path}: not read as a safetensors file: {error}.") from None


def _tuples(value: object) -> object:
    """JSON's lists as tuples, at every depth."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
