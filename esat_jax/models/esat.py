"""The ESAT tracker network, its parts chosen by the config."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from esat_jax.models.box_head import BoxHead, decode_boxes
from esat_jax.models.candidates import CandidateElimination
from esat_jax.models.encoder import Encoded, ForceDirectedAttention
from esat_jax.models.hivit import HiViT
from esat_jax.models.patches import normalize_image
from esat_jax.models.position_head import PositionHead
from esat_jax.models.vit import ViT

COMPUTE_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@struct.dataclass
class TrackerOutput:
    """What the network says about B pairs of crops.

    Attributes:
      box_cxcywh: [B, 4] box at the highest score, fractions of the search crop.
      score_map: [B, S, S]; size_map, offset_map: [B, S, S, 2]; see `BoxHead`.
      kept: [B, X] bool, search cells that candidate elimination left.
      tokens: [B, Z + X, D] final tokens, template first; eliminated ones are zero.
      abs_logits, pn_logits: see `PositionHead`; None outside training or without position loss.
    """

    box_cxcywh: jax.Array
    score_map: jax.Array
    size_map: jax.Array
    offset_map: jax.Array
    kept: jax.Array
    tokens: jax.Array
    abs_logits: jax.Array | None = None
    pn_logits: jax.Array | None = None


class ESAT(nn.Module):
    """Backbone, box head and, where position losses are used, the position head.

    A backbone is any module that maps normalised crops to `Encoded` tokens; see `ViT`.
    """

    backbone: nn.Module
    box_head: BoxHead
    position_head: PositionHead | None = None

    def __call__(
        self,
        template: jax.Array,
        search: jax.Array,
        *,
        template_box_cxcywh: jax.Array | None = None,
        keep_ratio: float | None = None,
        train: bool = False,
    ) -> TrackerOutput:
        """Crops [B, s, s, 3] and [B, S, S, 3], uint8 RGB or normalised floats.

        Args:
          template_box_cxcywh: [B, 4] target in the template crop, fractions; only
            ce.template_range "GT_BOX" reads it.
          keep_ratio: static; replaces every configured elimination ratio (training schedule).
          train: batch statistics, drop path (rng "dropout") and position logits.
        """
        encoded = self.encode(
            template,
            search,
            template_box_cxcywh=template_box_cxcywh,
            keep_ratio=keep_ratio,
            train=train,
        )
        return self.read(encoded, train=train)

    def encode(
        self,
        template: jax.Array,
        search: jax.Array,
        *,
        template_box_cxcywh: jax.Array | None = None,
        keep_ratio: float | None = None,
        train: bool = False,
    ) -> Encoded:
        """The backbone alone, which treats every pair by itself; arguments as above."""
        return self.backbone(
            normalize_image(template),
            normalize_image(search),
            template_box_cxcywh=template_box_cxcywh,
            keep_ratio=keep_ratio,
            train=train,
        )

    def read(self, encoded: Encoded, *, train: bool = False) -> TrackerOutput:
        """The heads alone, whose batch statistics join the pairs of a batch."""
        template_map, search_map = _to_map(encoded.template), _to_map(encoded.search)
        score_map, size_map, offset_map = self.box_head(search_map, train=train)
        box_cxcywh, _ = decode_boxes(score_map, size_map, offset_map)
        logits = {}
        if train and self.position_head is not None:
            abs_logits, pn_logits = self.position_head(template_map, search_map, train=train)
            logits = {"abs_logits": abs_logits, "pn_logits": pn_logits}
        return TrackerOutput(
            box_cxcywh=box_cxcywh,
            score_map=score_map,
            size_map=size_map,
            offset_map=offset_map,
            kept=encoded.kept,
            tokens=jnp.concatenate([encoded.template, encoded.search], axis=1),
            **logits,
        )


def make_model(config: Mapping, *, batch_norm_groups: int = 1, remat: bool = False) -> ESAT:
    """Builds the network from a plain nested dict (`ConfigDict.to_dict()`); keys: configs/base.py.

    `batch_norm_groups` and `remat` matter to training alone; see `BatchNorm` and `Encoder`.
    Raises: ValueError for a backbone or compute type that does not exist, or impossible numbers.
    """
    _check_numbers(config)
    name, dtype_name = config["backbone"]["name"], config["compute_dtype"]
    if name not in BACKBONES:
        raise ValueError(f"backbone.name is one of {sorted(BACKBONES)}, got {name!r}")
    if dtype_name not in COMPUTE_DTYPES:
        raise ValueError(f"compute_dtype is one of {sorted(COMPUTE_DTYPES)}, got {dtype_name!r}")
    dtype = COMPUTE_DTYPES[dtype_name]
    fda, ce, spl = config["fda"], config["ce"], config["spl"]
    forces = {key: fda[key] for key in ("alpha", "beta", "delta")} if fda["enabled"] else {}
    position_head = None
    if config["loss"]["abs"] or config["loss"]["pn"]:
        position_head = PositionHead(
            tuple(spl["channels"]), spl["shared"], dtype, batch_norm_groups
        )
    backbone = BACKBONES[name](
        **_backbone_options(config["backbone"]),
        fda=ForceDirectedAttention(**forces, implementation=fda["implementation"]),
        elimination=CandidateElimination(
            tuple(ce["layers"]), tuple(ce["keep_ratio"]), ce["template_range"]
        ),
        dtype=dtype,
        remat=remat,
    )
    box_head = BoxHead(config["head"]["channels"], dtype, batch_norm_groups)
    return ESAT(backbone, box_head, position_head)


def inference_variables(variables: Mapping, config: Mapping) -> dict:
    """What `model.apply(..., train=False)` reads: no position head, kernels in the compute type.

    Every layer casts its kernel anyway, so results are the same to the bit; casting once halves
    the bytes that a bfloat16 model reads for each frame.
    """
    dtype = COMPUTE_DTYPES[config["compute_dtype"]]
    params = {name: part for name, part in variables["params"].items() if name != "position_head"}
    stats = variables["batch_stats"]

    def cast(path: tuple, leaf: jax.Array) -> jax.Array:
        return jnp.asarray(leaf, dtype if path[-1].key == "kernel" else None)

    return {
        "params": jax.tree_util.tree_map_with_path(cast, params),
        "batch_stats": {"box_head": jax.tree.map(jnp.asarray, stats["box_head"])},
    }


BACKBONES = {"vit": ViT, "hivit": HiViT}


def _backbone_options(backbone: Mapping) -> dict:
    """The config keys that the named backbone has as fields; others must be off."""
    name = backbone["name"]
    fields = {f.name for f in dataclasses.fields(BACKBONES[name])}
    options = {key: value for key, value in backbone.items() if key != "name"}
    if foreign := [key for key in options if key not in fields and options[key]]:
        raise ValueError(f"backbone {name!r} has no {foreign}; switch them off in config.backbone")
    return {key: value for key, value in options.items() if key in fields}


def _check_numbers(config: Mapping) -> None:
    """Refuses numbers that no network has, naming their key."""
    keys = ("backbone.width", "backbone.depth", "backbone.heads", "backbone.patch_size")
    for key in (*keys, "head.channels", "template.size", "search.size"):
        section, name = key.split(".")
        value = config[section][name]
        least = 8 if key == "head.channels" else 1  # halved three times
        if not isinstance(value, int) or value < least:
            raise ValueError(f"config.{key} is a whole number from {least} up, got {value!r}")
    width, depth, heads = (config["backbone"][name] for name in ("width", "depth", "heads"))
    if width % heads:
        raise ValueError(f"config.backbone.width {width} does not divide into {heads} heads")
    if late := [layer for layer in config["ce"]["layers"] if layer >= depth]:
        raise ValueError(
            f"config.ce.layers names blocks {late}, but blocks count from 0 to {depth - 1}"
        )
    for name in ("alpha", "beta", "delta"):
        value = config["fda"][name]
        if not 0 <= value < float("inf"):
            raise ValueError(f"config.fda.{name} is a finite number from 0 up, got {value}")


def _to_map(tokens: jax.Array) -> jax.Array:
    """Row-major tokens [B, S * S, D] -> [B, S, S, D]."""
    batch, num_tokens, width = tokens.shape
    grid = round(num_tokens**0.5)
    return tokens.reshape(batch, grid, grid, width)
