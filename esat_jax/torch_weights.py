"""PyTorch state dicts <-> the variables of our models, as dicts of numpy arrays; no PyTorch.

Formats, names and layouts are in `torch_names`. What our model does not use but the original
insists on (class token, counters) is kept in the collection "torch" for the way back.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
from flax import traverse_util

from esat_jax.conversion_report import Report
from esat_jax.initial_variables import initial_values, variable_shapes
from esat_jax.state_dict_fit import (
    blocks_behind,
    check_shapes,
    listed,
    match_names,
    resize_to_crops,
    split_grid,
    unused_default,
)
from esat_jax.torch_names import (
    FORMATS,
    POSITION_HEAD,
    PREFIX,
    Entry,
    detect_format,
    entries,
    has_prefix,
)
from esat_jax.torch_pickle import read_torch_file
from esat_jax.weights import is_safetensors, read_safetensors

_FLOATS = tuple(map(np.dtype, (np.float32, np.float16, np.float64, ml_dtypes.bfloat16)))


def read_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], str]:
    """Reads the state dict of a PyTorch or safetensors file.

    Returns: (PyTorch name -> array, name of its format, a key of `torch_names.FORMATS`).
    Raises: ValueError if the file is damaged, unsafe or of no known format; FileNotFoundError.
    """
    path = Path(path)
    if is_safetensors(path):
        state, metadata = read_safetensors(path)
        if metadata.get("format") == "esat-jax":
            raise ValueError(f"{path}: these are esat-jax weights already; use them as they are.")
    else:
        state = _state_dict(path, read_torch_file(path))
    try:
        return state, detect_format(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None


def load_state_dict(
    state: Mapping[str, np.ndarray],
    config: Mapping,
    template_variables: Mapping | None = None,
    *,
    format: str | None = None,
    allow_missing: Sequence[str] = (),
    allow_surplus: Sequence[str] = (),
    resize_positions: bool = False,
) -> tuple[dict, Report]:
    """Variables of the configured model from a PyTorch state dict.

    Of a pretrained backbone that is deeper than the model, the first blocks are taken. A tracker
    may lack the position head.

    Args:
      state: PyTorch name -> array; floats of any width become float32. The prefix of a
        DistributedDataParallel that was saved is removed from the names.
      config: keys as in configs/base.py, a ConfigDict or a plain dict.
      template_variables: values for what the format does not hold (heads, in pretrained
        backbones); by default the model's own initial ones, from config.seed.
      format: a key of `torch_names.FORMATS`; by default told from the names.
      allow_missing, allow_surplus: patterns of PyTorch names that may be absent, or are ignored.
      resize_positions: resizes positions saved for other crop sizes instead of refusing them.
    Returns: (nested plain dict of numpy arrays, report).
    Raises: ValueError if names are missing or left over, or shapes differ; it lists them.
    """
    config = _plain(config)
    prefixed = has_prefix(state)
    if prefixed:
        state = {name.removeprefix(PREFIX): value for name, value in state.items()}
    format = format or detect_format(state)
    has_head = any(name.startswith(POSITION_HEAD) for name in state)
    table = entries(format, config, position_head=has_head)
    behind = blocks_behind(state, format, config)
    state = {name: value for name, value in state.items() if name not in behind}
    left_out = match_names(state, table, format, allow_missing, allow_surplus)
    prefix = PREFIX if prefixed else ""
    report = Report(format, left_out=left_out, unused_blocks=behind, prefix=prefix)
    shapes = variable_shapes(config)
    flat = {}
    for entry in table:
        if all(name in state for name in entry.torch):
            flat[entry.path] = _converted(entry, state, report)
            report.used |= {name: (entry.path, entry.layout) for name in entry.torch}
    if (grid := FORMATS[format].grid) and grid.path in flat:
        flat |= split_grid(flat[grid.path], grid, shapes, report)
    if resize_positions:
        flat |= resize_to_crops(flat, shapes, report)
    check_shapes(flat, shapes, config["backbone"]["width"])
    report.missing = [path for path in shapes if path not in flat]
    if report.missing and template_variables is None:
        flat |= initial_values(config, config["seed"], report.missing)
    elif report.missing:
        template = traverse_util.flatten_dict(dict(template_variables), sep="/")
        if absent := [path for path in report.missing if path not in template]:
            raise ValueError(f"the template variables lack {listed(absent)}")
        flat |= {path: np.asarray(template[path]) for path in report.missing}
    return traverse_util.unflatten_dict(flat, sep="/"), report


def export_state_dict(
    variables: Mapping, config: Mapping, format: str = "esat"
) -> dict[str, np.ndarray]:
    """The state dict that PyTorch's original loads with strict=True, in the original's order.

    Args:
      variables: as `load_state_dict` or training gives them, on any device.
      config: keys as in configs/base.py, a ConfigDict or a plain dict.
      format: a key of `torch_names.FORMATS`. What it has no name for is left out, see
        `left_out_of_export`; what it has but we do not use comes from the collection "torch", or
        is made anew: class token 0, positions as MAE's table, counters 0. The position head may
        be absent.
    Raises: ValueError if the model is not one of that format, or values are missing.
    """
    config = _plain(config)
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    state, missing = {}, []
    has_head = any("/position_head/" in path for path in flat)
    for entry in entries(format, config, position_head=has_head):
        value = flat.get(entry.path)
        if value is None:
            value = unused_default(entry.path, config["backbone"]["width"])
        if value is None:
            missing += [] if entry.optional else [entry.path]
            continue
        parts = entry.to_torch(np.asarray(value))
        state |= {
            name: np.array(part, order="C") for name, part in zip(entry.torch, parts, strict=True)
        }
    if missing:
        raise ValueError(
            f"{FORMATS[format].title} ({format}) needs values that the model's variables lack: "
            f"{listed(missing)}"
        )
    return state


def left_out_of_export(variables: Mapping, config: Mapping, format: str) -> list[str]:
    """Paths of trained values that the format has no name for."""
    exported = {entry.path for entry in entries(format, _plain(config))}
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    return [path for path in flat if path not in exported and not path.startswith("torch/")]


def _plain(config: Mapping) -> Mapping:
    return config.to_dict() if hasattr(config, "to_dict") else config


def _state_dict(path: Path, content: object) -> dict[str, np.ndarray]:
    """The state dict in what was saved: under "net" (OSTrack), "model" (MAE), or itself."""
    found = content
    for key in ("net", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            found = content[key]
            break
    is_state = isinstance(found, dict) and all(isinstance(v, np.ndarray) for v in found.values())
    if not is_state or not found or not all(isinstance(name, str) for name in found):
        raise ValueError(
            f"{path}: expected a state dict (names and tensors), alone or under 'net' or 'model'."
        )
    return found


def _converted(entry: Entry, state: Mapping[str, np.ndarray], report: Report) -> np.ndarray:
    """The array of one entry, float32 and contiguous; integers of "torch/..." stay as they are."""
    arrays = [np.asarray(state[name]) for name in entry.torch]
    if len({array.shape for array in arrays}) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{', '.join(entry.torch)} should be of one shape, but have {shapes}")
    for name, array in zip(entry.torch, arrays, strict=True):
        if array.dtype not in _FLOATS and not entry.path.startswith("torch/"):
            raise ValueError(f"{name} should be floating-point numbers, but has {array.dtype}")
        if array.dtype in _FLOATS[1:]:
            report.cast[str(array.dtype)] = report.cast.get(str(array.dtype), 0) + 1
    value = entry.to_linen(arrays)
    return np.array(value, np.float32 if value.dtype in _FLOATS else value.dtype, order="C")
