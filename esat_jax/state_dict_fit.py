"""Does a PyTorch state dict fit the configured model? Names, shapes and position embeddings."""

import fnmatch
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from esat_jax.conversion_report import Report
from esat_jax.pos_embed import resize_positions, sincos_position_embedding
from esat_jax.torch_names import FORMATS, Entry, Grid, entries

Shapes = Mapping[str, tuple[int, ...]]  # by path

_CROPS = ("params/backbone/pos_embed_template", "params/backbone/pos_embed_search")
_FIRST_NORM = "params/backbone/encoder/block_00/norm_1/scale"  # [D] in every format
_CLS = "params/backbone/pos_embed_cls"
_PRETRAINED_GRID = 14  # tokens per side at 224 px: the positions that OSTrack's files carry along


def blocks_behind(names: Iterable[str], format: str, config: Mapping) -> dict[str, int]:
    """The names of a deeper pretrained backbone's blocks that the model has no more.

    Of a whole tracker there are none: its heads were trained on what its last block gives.

    Args: names: of the state dict; config: nested mapping, keys as in configs/base.py.
    Returns: PyTorch name -> number of its block, counted from 0 as in "encoder/block_06".
    """
    if FORMATS[format].grid is None:  # not a backbone alone
        return {}

    def wanted(depth: int) -> set[str]:
        backbone = {**config["backbone"], "depth": depth}
        table = entries(format, {**config, "backbone": backbone})
        return {name for entry in table for name in entry.torch}

    names, behind = set(names), {}
    for block in itertools.count(config["backbone"]["depth"]):
        found = names & (wanted(block + 1) - wanted(block))
        if not found:
            return behind
        behind |= dict.fromkeys(sorted(found), block)


def match_names(
    state: Mapping[str, np.ndarray],
    table: list[Entry],
    format: str,
    allow_missing: Sequence[str],
    allow_surplus: Sequence[str],
) -> dict[str, str]:
    """Finds the names that are left out, name -> reason.

    Raises: ValueError that lists all names missing or without a place here, unless the format
      or a pattern of the caller accounts for them.
    """
    reasons = dict(FORMATS[format].left_out) | dict.fromkeys(allow_surplus, "left out as asked")
    wanted = [name for entry in table for name in entry.torch]
    needed = [name for entry in table if not entry.optional for name in entry.torch]
    missing = [n for n in needed if n not in state and not _first_match(n, allow_missing)]
    left_out, unknown = {}, []
    for name in sorted(state.keys() - set(wanted)):
        if pattern := _first_match(name, reasons):
            left_out[name] = reasons[pattern]
        else:
            unknown.append(name)
    problems = [f"{listed(missing)} missing"] if missing else []
    problems += [f"{listed(unknown)} without a place in the model"] if unknown else []
    trunks = [_trunk(names) for names in (state, wanted)]
    if problems and trunks[0] != trunks[1]:
        problems.append(f"it has {trunks[0]}, the model {trunks[1]}")
    elif problems:
        remedies = ["--allow_missing=PATTERN accepts initial values instead"] if missing else []
        remedies += ["--allow_surplus=PATTERN ignores names"] if unknown else []
        problems.append(", ".join(remedies))
    if problems:
        raise ValueError(
            f"the state dict is not that of the configured model as {FORMATS[format].title} "
            f"({format}): {'; '.join(problems)}"
        )
    return left_out


def _first_match(name: str, patterns: Iterable[str]) -> str | None:
    return next((p for p in patterns if fnmatch.fnmatchcase(name, p)), None)


def _trunk(names: Iterable[str]) -> str:
    """The backbone in words, from PyTorch names."""
    names = list(names)
    kind = "HiViT" if any(name.endswith("patch_embed.norm.weight") for name in names) else "ViT"
    found = (re.search(r"\b(?:blocks|layer)\.(\d+)\.", name) for name in names)
    return f"a {kind} with {len({match[1] for match in found if match})} blocks"


def check_shapes(flat: Mapping[str, np.ndarray], shapes: Shapes, width: int) -> None:
    """Raises ValueError that lists all arrays whose shape is not the configured model's."""
    wrong = {}
    for path, value in flat.items():
        default = unused_default(path, width)
        expected = shapes.get(path, value.shape if default is None else default.shape)
        if value.shape != expected:
            wrong[path] = f"{path} is {value.shape} and should be {expected}"
    if not wrong:
        return
    hint = ""
    if _FIRST_NORM in wrong:
        hint = f"; its width is {flat[_FIRST_NORM].size}, config.backbone.width is {width}"
    elif wrong.keys() <= set(_CROPS):
        hint = (
            "; the file is for other crop sizes: take their config, or ask for resizing with "
            "--resize_positions"
        )
    raise ValueError(f"shapes differ from the configured model's: {listed(wrong.values())}{hint}")


def split_grid(
    positions: np.ndarray, grid: Grid, shapes: Shapes, report: Report
) -> dict[str, np.ndarray]:
    """The crops' positions by path, resized from pretrained ones [1, (1 +) g * g, D].

    Raises: ValueError if the pretrained ones are no square grid of the model's width.
    """
    width = shapes[_CROPS[0]][-1]
    if positions.ndim != 3 or positions.shape[0] != 1 or positions.shape[2] != width:
        raise ValueError(f"{grid.path} is {positions.shape} and should be (1, ..., {width})")
    cells = positions[:, int(grid.has_cls) :]
    flat = {_CLS: positions[:, :1]} if _CLS in shapes and grid.has_cls else {}
    return flat | resize_to_crops(dict.fromkeys(_CROPS, cells), shapes, report)


def resize_to_crops(
    flat: Mapping[str, np.ndarray], shapes: Shapes, report: Report
) -> dict[str, np.ndarray]:
    """Those of the crops' positions in `flat`, resized to the model's grids where they differ."""
    resized = {}
    for path in _CROPS:
        if path in flat and flat[path].shape != shapes[path]:
            resized[path] = resize_positions(flat[path], math.isqrt(shapes[path][1]))
            report.resized[path] = (flat[path].shape, resized[path].shape)
        elif path in flat:
            resized[path] = flat[path]
    return resized


def unused_default(path: str, width: int) -> np.ndarray | None:
    """What a PyTorch file holds at "torch/<name>" if it was not imported; None if unknown."""
    name = path.removeprefix("torch/")
    if name == path:
        return None
    if name.endswith(".num_batches_tracked"):
        return np.zeros((), np.int64)
    if name == "backbone.cls_token":
        return np.zeros((1, 1, width), np.float32)
    if name == "backbone.pos_embed":
        return sincos_position_embedding(width, _PRETRAINED_GRID, cls_token=True)
    if name == "backbone.absolute_pos_embed":
        return sincos_position_embedding(width, _PRETRAINED_GRID)
    return None


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Up to `limit` names and the number of the others."""
    names = list(names)
    others = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + others
