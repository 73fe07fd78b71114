"""What becomes of each array of a PyTorch state dict, and which formats of state dicts there are.

`entries` is the one table: loading reads it from left to right, exporting from right to left.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from esat_jax import torch_rows
from esat_jax.torch_rows import Row

# Kind of module -> its arrays: name in PyTorch; collection, name and layout here.
_KINDS = {
    "linear": (("weight", "params", "kernel", "transposed"), ("bias", "params", "bias", "same")),
    "linear_no_bias": (("weight", "params", "kernel", "transposed"),),
    "conv": (("weight", "params", "kernel", "OIHW to HWIO"), ("bias", "params", "bias", "same")),
    "conv_no_bias": (("weight", "params", "kernel", "OIHW to HWIO"),),
    "norm": (("weight", "params", "scale", "same"), ("bias", "params", "bias", "same")),
    "batch_norm": (
        ("weight", "params", "scale", "same"),
        ("bias", "params", "bias", "same"),
        ("running_mean", "batch_stats", "mean", "same"),
        ("running_var", "batch_stats", "var", "same"),
        ("num_batches_tracked", "torch", "", "same"),
    ),
    "value": (("", "params", "", "same"),),
    "unused": (("", "torch", "", "same"),),  # kept aside for the way back
    "optional": (("", "torch", "", "same"),),  # unused, and not in every file
}
_AXES = {"transposed": (1, 0), "OIHW to HWIO": (2, 3, 1, 0)}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of the table.

    Attributes:
      torch: its PyTorch name, or several whose arrays follow each other along their first axis.
      path: "collection/module/.../name" here; "torch/<name>" for what the model does not use.
      layout: "same", "transposed" or "OIHW to HWIO".
      optional: files with and without it are whole.
    """

    torch: tuple[str, ...]
    path: str
    layout: str
    optional: bool = False

    def to_linen(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The PyTorch arrays as one, in our layout; one of another rank keeps its layout."""
        array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        axes = _AXES.get(self.layout, ())
        return array.transpose(axes) if axes and array.ndim == len(axes) else array

    def to_torch(self, array: np.ndarray) -> list[np.ndarray]:
        """One array for each PyTorch name, the reverse of `to_linen`."""
        axes = _AXES.get(self.layout, ())
        array = array.transpose(np.argsort(axes)) if axes else array
        return np.split(array, len(self.torch)) if len(self.torch) > 1 else [array]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Pretrained positions that those of both crops are resized from.

    Attributes:
      path: where they are kept, [1, g * g, D]; has_cls: one more, a class token's, comes first.
    """

    path: str
    has_cls: bool


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of PyTorch state dict.

    Attributes:
      title: what messages call it.
      backbones: backbones it can hold.
      rows: config -> rows.
      left_out: pattern of names -> why such arrays are not read.
      grid: pretrained positions, in files of a backbone alone.
    """

    title: str
    backbones: tuple[str, ...]
    rows: Callable[[Mapping], Iterable[Row]]
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    grid: Grid | None = None


_PRETRAINING_ONLY = "used by MAE's pretraining only"
_DECODER = "AQATrack's temporal decoder, not a part of this tracker"
_DINOV2_GRID = Grid("torch/embeddings.position_embeddings", has_cls=True)
FORMATS = {
    "ostrack": Format("OSTrack checkpoint", ("vit",), torch_rows.ostrack_rows),
    "aqatrack": Format(
        "AQATrack checkpoint",
        ("hivit",),
        torch_rows.aqatrack_rows,
        {"transformer_dec.*": _DECODER, "position_encoding*": _DECODER, "query_embed*": _DECODER},
    ),
    "esat": Format("ESAT in PyTorch's form", ("vit", "hivit"), torch_rows.esat_rows),
    "mae": Format(
        "MAE ViT",
        ("vit",),
        torch_rows.mae_rows,
        {"decoder_*": _PRETRAINING_ONLY, "mask_token": _PRETRAINING_ONLY},
        Grid("torch/backbone.pos_embed", has_cls=True),
    ),
    "mae_hivit": Format(
        "MAE HiViT",
        ("hivit",),
        torch_rows.mae_hivit_rows,
        {
            "norm.*": "normalises the features of all three stages, 3584 channels",
            "decoder_*": _PRETRAINING_ONLY,
            "mask_token": _PRETRAINING_ONLY,
        },
        Grid("torch/backbone.absolute_pos_embed", has_cls=False),
    ),
    "dinov2": Format(
        "DINOv2 ViT in Hugging Face's form",
        ("vit",),
        torch_rows.dinov2_rows,
        grid=_DINOV2_GRID,
    ),
    "dinov2_meta": Format(
        "DINOv2 ViT in its authors' form",
        ("vit",),
        torch_rows.dinov2_meta_rows,
        grid=_DINOV2_GRID,
    ),
}
POSITION_HEAD = "position_head."  # begins the names of its arrays
PREFIX = "module."  # of every name, where DistributedDataParallel was saved


def entries(format: str, config: Mapping, *, position_head: bool = True) -> list[Entry]:
    """The table of a format for a configuration (nested mapping, keys as in configs/base.py).

    Args: position_head: False leaves it out; trackers work without.
    Raises: ValueError if the format does not exist or cannot hold the configured backbone.
    """
    if format not in FORMATS:
        raise ValueError(f"formats are {', '.join(FORMATS)}; got {format!r}")
    known, backbone = FORMATS[format], config["backbone"]
    if backbone["name"] not in known.backbones:
        raise ValueError(
            f"{known.title} ({format}) has a {' or '.join(known.backbones)} backbone, but "
            f"config.backbone.name is {backbone['name']!r}; choose another config"
        )
    extras = [key for key in ("layer_scale", "cls_token") if backbone[key]]
    if extras and format not in ("esat", "dinov2", "dinov2_meta"):
        raise ValueError(
            f"{known.title} ({format}) has no {' and no '.join(extras)}, but config.backbone has; "
            "choose another config"
        )
    if format in ("dinov2", "dinov2_meta") and not backbone["layer_scale"]:
        raise ValueError(
            f"{known.title} ({format}) has layer_scale, but config.backbone has not; choose "
            "another config"
        )
    table = [entry for row in known.rows(config) for entry in _expand(row)]
    if position_head:
        return table
    return [entry for entry in table if not entry.torch[0].startswith(POSITION_HEAD)]


def detect_format(names: Iterable[str]) -> str:
    """Which format a state dict has, from its names. Raises: ValueError if it is none of them."""
    names = list(names)
    if has_prefix(names):
        names = [name.removeprefix(PREFIX) for name in names]

    def has(pattern: str) -> bool:
        return bool(fnmatch.filter(names, pattern))

    if has("embeddings.patch_embeddings.projection.weight"):
        return "dinov2"
    if has("box_head.*") and has("backbone.patch_embed.proj.weight"):
        if has("position_head.*") or has("backbone.pos_embed_cls") or has("*.ls1.gamma"):
            return "esat"
        return "aqatrack" if has("backbone.patch_embed.norm.weight") else "ostrack"
    if has("patch_embed.proj.weight"):
        if has("blocks.*.ls1.gamma"):
            return "dinov2_meta"
        return "mae_hivit" if has("patch_embed.norm.weight") else "mae"
    known = ", ".join(f"{name} ({value.title})" for name, value in FORMATS.items())
    raise ValueError(
        f"{len(names)} arrays named {', '.join(names[:3])}, ... are none of the known formats: "
        f"{known}"
    )


def has_prefix(names: Iterable[str]) -> bool:
    """Whether every name begins with PREFIX."""
    return all(name.startswith(PREFIX) for name in names)


def _expand(row: Row) -> Iterator[Entry]:
    """The arrays of one module."""
    modules, linen, kind = row
    for leaf, collection, name, layout in _KINDS[kind]:
        torch = tuple(f"{module}.{leaf}" if leaf else module for module in modules)
        path = torch[0] if kind == "batch_norm" and collection == "torch" else linen
        path = "/".join(filter(None, (collection, path, name)))
        yield Entry(torch, path, layout, optional=kind == "optional")
