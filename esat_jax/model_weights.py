"""Weights whose arrays are those of the model that their own configuration describes."""

from collections.abc import Mapping
from pathlib import Path

from flax import traverse_util

from esat_jax.initial_variables import variable_shapes
from esat_jax.state_dict_fit import listed
from esat_jax.weights import load_weights

# What the network and the tracker read of a configuration; files of older versions may lack some.
NEEDED_KEYS = (
    "compute_dtype",
    "backbone.name", "backbone.width", "backbone.depth", "backbone.heads", "backbone.patch_size",
    "backbone.layer_scale", "backbone.cls_token",
    "template.size", "template.factor", "search.size", "search.factor",
    "fda.enabled", "fda.alpha", "fda.beta", "fda.delta", "fda.implementation",
    "ce.layers", "ce.keep_ratio", "ce.template_range",
    "head.channels", "spl.channels", "spl.shared", "loss.abs", "loss.pn",
    "tracker.lost_threshold",
)  # fmt: skip
_POSITION_HEADS = ("params/position_head/", "batch_stats/position_head/")


def load_model_weights(path: str | Path) -> tuple[dict, dict]:
    """`load_weights` for a model that is to be run.

    Raises: as `load_weights`, and ValueError if the configuration lacks keys, or if arrays are
      missing, left over or of another shape; only the position head may be absent.
    """
    variables, config = load_weights(path)
    try:
        _check_keys(config)
        _check_arrays(variables, variable_shapes(config))
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None
    return variables, config


def _check_keys(config: Mapping) -> None:
    lacking = []
    for key in NEEDED_KEYS:
        value = config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            lacking.append(key)
    if lacking:
        raise ValueError(
            f"these weights were written by another version: their config lacks {listed(lacking)}"
        )


def _check_arrays(variables: Mapping, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """`shapes` by path; the collection "torch" is kept for export and not the model's."""
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    found = {path: value.shape for path, value in flat.items() if not path.startswith("torch/")}
    missing = [path for path in shapes if path not in found]
    if not any(path.startswith(_POSITION_HEADS) for path in found):
        missing = [path for path in missing if not path.startswith(_POSITION_HEADS)]
    surplus = [path for path in found if path not in shapes]
    wrong = [
        f"{path} is {shape} and should be {shapes[path]}"
        for path, shape in found.items()
        if path in shapes and shape != shapes[path]
    ]
    problems = [f"{listed(missing, 3)} missing"] if missing else []
    problems += [f"{listed(surplus, 3)} without a place in the model"] if surplus else []
    problems += [listed(wrong, 3)] if wrong else []
    if problems:
        raise ValueError(f"the arrays do not fit the config beside them: {'; '.join(problems)}")
