"""The name tables: which PyTorch module is which linen module, for every format of weights.

A row is (PyTorch module, linen module, kind); `torch_names` knows which arrays a kind has. Rows
come in the order of the PyTorch state dict, so that an export has the order of the original.
"""

from collections.abc import Iterable, Iterator, Mapping

Row = tuple[str | tuple[str, ...], str, str]  # several PyTorch modules are joined into one here

_ATTENTION = (
    ("norm1", "norm_1", "norm"),
    ("attn.qkv", "attention/qkv", "linear"),
    ("attn.proj", "attention/proj", "linear"),
)
_MLP = (("mlp.fc1", "mlp/fc_1", "linear"), ("mlp.fc2", "mlp/fc_2", "linear"))
_POSITIONS = (
    ("pos_embed_z", "pos_embed_template", "value"),
    ("pos_embed_x", "pos_embed_search", "value"),
)
_DINOV2_QKV = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
_DINOV2_BLOCK = (
    ("norm1", "norm_1", "norm"),
    (_DINOV2_QKV, "attention/qkv", "linear"),
    ("attention.output.dense", "attention/proj", "linear"),
    ("layer_scale1.lambda1", "scale_1", "value"),
    ("norm2", "norm_2", "norm"),
    *_MLP,
    ("layer_scale2.lambda1", "scale_2", "value"),
)


def ostrack_rows(config: Mapping) -> Iterator[Row]:
    """OSTrack: ViT and box head."""
    yield from _below("backbone", "backbone", _vit(config, own_positions=True))
    yield from _below("box_head", "box_head", _box_head())


def aqatrack_rows(config: Mapping) -> Iterator[Row]:
    """AQATrack: HiViT and box head; its decoder has no place here."""
    yield from _below("backbone", "backbone", _hivit(config, own_positions=True))
    yield from _below("box_head", "box_head", _box_head())


def esat_rows(config: Mapping) -> Iterator[Row]:
    """ESAT in PyTorch: the names of the tracker it extends, then the position head."""
    tracker = aqatrack_rows if config["backbone"]["name"] == "hivit" else ostrack_rows
    yield from tracker(config)
    if config["loss"]["abs"] or config["loss"]["pn"]:
        yield from _below("position_head", "position_head", _position_head(config["spl"]))


def mae_rows(config: Mapping) -> Iterator[Row]:
    """MAE's ViT encoder."""
    yield from _below("", "backbone", _vit(config, own_positions=False))


def mae_hivit_rows(config: Mapping) -> Iterator[Row]:
    """MAE's HiViT encoder, without the final norm: it has another width."""
    yield from _below("", "backbone", _hivit(config, own_positions=False))


def dinov2_rows(config: Mapping) -> Iterator[Row]:
    """Hugging Face's Dinov2Model."""
    yield from _below("", "backbone", _dinov2(config["backbone"]))


def dinov2_meta_rows(config: Mapping) -> Iterator[Row]:
    """DINOv2 as its authors name it, and timm, whose file has no mask token."""
    backbone = config["backbone"]
    if backbone["cls_token"]:
        yield ("cls_token",), "backbone/cls_token", "value"
    else:
        yield ("cls_token",), "embeddings.cls_token", "unused"
    yield ("pos_embed",), "embeddings.position_embeddings", "unused"
    yield ("mask_token",), "embeddings.mask_token", "optional"
    yield from _below("", "backbone", _vit_trunk(backbone))


def _below(torch: str, linen: str, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a part of a module; names of unused arrays are absolute already."""
    prefix = f"{torch}." if torch else ""
    for modules, path, kind in rows:
        names = (modules,) if isinstance(modules, str) else modules
        yield (
            tuple(prefix + name for name in names),
            path if kind in ("unused", "optional") else f"{linen}/{path}",
            kind,
        )


def _vit(config: Mapping, *, own_positions: bool) -> Iterator[Row]:
    """ViT in timm's names, with LayerScale and a class token where the config has them."""
    backbone = config["backbone"]
    if backbone["cls_token"]:
        yield "cls_token", "cls_token", "value"
        yield "pos_embed_cls", "pos_embed_cls", "value"
    else:
        yield "cls_token", "backbone.cls_token", "unused"
        yield "pos_embed", "backbone.pos_embed", "unused"
    if own_positions:
        yield from _POSITIONS
        if backbone["target_mark"]:
            yield "target_mark", "target_mark", "value"
    yield from _vit_trunk(backbone)


def _vit_trunk(backbone: Mapping) -> Iterator[Row]:
    yield "patch_embed.proj", "patch_embed", "conv"
    scales = [(f"ls{i}.gamma", f"scale_{i}", "value") for i in (1, 2) if backbone["layer_scale"]]
    block = (*_ATTENTION, *scales[:1], ("norm2", "norm_2", "norm"), *_MLP, *scales[1:])
    for i in range(backbone["depth"]):
        yield from _below(f"blocks.{i}", f"encoder/block_{i:02d}", block)
    yield "norm", "encoder/norm", "norm"


def _hivit(config: Mapping, *, own_positions: bool) -> Iterator[Row]:
    """HiViT-B: blocks 0-3, merge 4, blocks 5-8, merge 9, then the attention blocks."""
    yield "absolute_pos_embed", "backbone.absolute_pos_embed", "unused"
    if own_positions:
        yield from _POSITIONS
    yield "patch_embed.proj", "patch_embed", "conv"
    yield "patch_embed.norm", "patch_norm", "norm"
    merge = (("norm", "norm", "norm"), ("reduction", "reduction", "linear_no_bias"))
    for stage, first in ((1, 0), (2, 5)):
        for i in range(4):
            block = (("norm2", "norm", "norm"), *_MLP)
            yield from _below(f"blocks.{first + i}", f"stage_{stage}/block_{i}", block)
        yield from _below(f"blocks.{first + 4}", f"merge_{stage}", merge)
    for i in range(config["backbone"]["depth"]):
        block = (*_ATTENTION, ("norm2", "norm_2", "norm"), *_MLP)
        yield from _below(f"blocks.{10 + i}", f"encoder/block_{i:02d}", block)
    if own_positions:
        yield "norm_", "encoder/norm", "norm"


def _dinov2(backbone: Mapping) -> Iterator[Row]:
    if backbone["cls_token"]:
        yield "embeddings.cls_token", "cls_token", "value"
    else:
        yield "embeddings.cls_token", "embeddings.cls_token", "unused"
    yield "embeddings.mask_token", "embeddings.mask_token", "optional"
    yield "embeddings.position_embeddings", "embeddings.position_embeddings", "unused"
    yield "embeddings.patch_embeddings.projection", "patch_embed", "conv"
    for i in range(backbone["depth"]):
        yield from _below(f"encoder.layer.{i}", f"encoder/block_{i:02d}", _DINOV2_BLOCK)
    yield "layernorm", "encoder/norm", "norm"


def _box_head() -> Iterator[Row]:
    for torch, linen in (("ctr", "score"), ("offset", "offset"), ("size", "size")):
        for i in range(1, 5):
            yield f"conv{i}_{torch}.0", f"{linen}/conv_{i}", "conv"
            yield f"conv{i}_{torch}.1", f"{linen}/norm_{i}", "batch_norm"
        yield f"conv5_{torch}", f"{linen}/conv_5", "conv"


def _position_head(spl: Mapping) -> Iterator[Row]:
    for tower in ("tower",) if spl["shared"] else ("template_tower", "search_tower"):
        for i in range(1, len(spl["channels"]) + 1):
            yield f"{tower}.conv{i}.0", f"{tower}/conv_{i}", "conv_no_bias"
            yield f"{tower}.conv{i}.1", f"{tower}/norm_{i}", "batch_norm"
    yield "absolute", "absolute", "linear_no_bias"
    yield "pos_neg", "pos_neg", "linear_no_bias"
