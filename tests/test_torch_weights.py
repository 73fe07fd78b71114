"""State dicts have the names and shapes of the original trackers (fixtures/*_manifest.json)."""

import json
import os
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import detweights
from configs import esat_hivit_b256, esat_vit_b256, esat_vit_b384, esat_vit_s224
from esat_jax.initial_variables import variable_shapes
from esat_jax.torch_archive import write_torch_file
from esat_jax.torch_names import detect_format, entries
from esat_jax.torch_weights import (
    export_state_dict,
    left_out_of_export,
    load_state_dict,
    read_checkpoint,
)
from esat_jax.weights import save_weights

FIXTURES = Path(__file__).parent / "fixtures"
VIT_256 = esat_vit_b256.get_config("t2_baseline")  # without position head, as OSTrack
VIT_384 = esat_vit_b384.get_config("t2_baseline")
HIVIT_256 = esat_hivit_b256.get_config("t5_baseline")
VIT_S = esat_vit_s224.get_config()
with VIT_S.unlocked():  # as DINOv2's files are
    VIT_S.backbone.depth, VIT_S.backbone.target_mark = 12, False
SMALL_VIT = esat_vit_b256.get_config("smoke")
SMALL_HIVIT = esat_hivit_b256.get_config("smoke")
SMALL_VIT_S = esat_vit_s224.get_config("smoke")


def manifest(name):
    rows = json.loads((FIXTURES / f"{name}_manifest.json").read_text())
    return {key: (tuple(shape), dtype) for key, shape, dtype, _ in rows}


def ostrack_manifest(size):
    return manifest(f"ostrack_vitb_{size}")


def aqatrack_manifest():
    """The backbone's fixture and OSTrack's head, which reads 512 channels here."""
    head = {k: v for k, v in ostrack_manifest(256).items() if k.startswith("box_head.")}
    for tower in ("ctr", "offset", "size"):
        head[f"box_head.conv1_{tower}.0.weight"] = ((256, 512, 3, 3), "float32")
    return manifest("aqatrack_hivit_base_256_backbone") | head


def dinov2_manifest(width=384, depth=12, grid=37, patch=14):
    """Names as Hugging Face's Dinov2Model has them."""
    block = {"norm1": (width,)}
    block |= {f"attention.attention.{n}": (width, width) for n in ("query", "key", "value")}
    block |= {"attention.output.dense": (width, width), "layer_scale1": (width,)}
    block |= {"norm2": (width,), "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    block |= {"layer_scale2": (width,)}
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.mask_token": (1, width),
        "embeddings.position_embeddings": (1, 1 + grid**2, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
    }
    for i in range(depth):
        for name, shape in block.items():
            if name.startswith("layer_scale"):
                shapes[f"encoder.layer.{i}.{name}.lambda1"] = shape
                continue
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
    shapes |= {"layernorm.weight": (width,), "layernorm.bias": (width,)}
    return {name: (shape, "float32") for name, shape in shapes.items()}


def shallow(config):
    """Two blocks: what the first ones teach, the others repeat."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.backbone.depth = 2
        config.ce.layers, config.ce.keep_ratio = (), ()
    return config


def random_state(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.random(shape, np.float32) - np.float32(0.5)
        if dtype == "float32"
        else rng.integers(0, 2**40, shape)
        for name, (shape, dtype) in shapes.items()
    }


def zeros(config):
    """Template variables that make what was not loaded visible, cheaply."""
    variables = {}
    for path, shape in variable_shapes(config.to_dict()).items():
        *folders, name = path.split("/")
        place = variables
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = np.zeros(shape, np.float32)
    return variables


def random_variables(config):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: rng.random(a.shape, np.float32), zeros(config))


def assert_identical(result, expected):
    assert list(result) == list(expected)
    for name, value in expected.items():
        got = result[name]
        assert (got.dtype, got.shape, got.tobytes()) == (
            value.dtype,
            value.shape,
            value.tobytes(),
        ), name


def without(state, *prefixes):
    return {name: value for name, value in state.items() if not name.startswith(prefixes)}


# ------------------------------------------------------------------ the trackers


@pytest.mark.parametrize(("size", "config"), [(256, VIT_256), (384, VIT_384)])
def test_ostrack_comes_back_bitwise_and_in_order(size, config):
    state = random_state(ostrack_manifest(size))
    variables, report = load_state_dict(state, config)
    assert (report.format, len(report.used), report.missing, report.left_out) == (
        "ostrack", 242, [], {},
    )  # fmt: skip
    assert report.cast == report.resized == {}
    assert_identical(export_state_dict(variables, config, "ostrack"), state)
    assert_identical(export_state_dict(variables, config, "esat"), state)


def test_layouts_are_those_of_flax():
    """Each rule once, written out for a place of its own."""
    state = random_state(ostrack_manifest(256))
    variables, _ = load_state_dict(state, VIT_256)
    params, stats = variables["params"], variables["batch_stats"]
    backbone, block = params["backbone"], params["backbone"]["encoder"]["block_10"]
    np.testing.assert_array_equal(backbone["pos_embed_template"], state["backbone.pos_embed_z"])
    np.testing.assert_array_equal(backbone["pos_embed_search"], state["backbone.pos_embed_x"])
    patches = state["backbone.patch_embed.proj.weight"]
    assert backbone["patch_embed"]["kernel"][5, 9, 2, 700] == patches[700, 2, 5, 9]
    qkv = state["backbone.blocks.10.attn.qkv.weight"]
    np.testing.assert_array_equal(block["attention"]["qkv"]["kernel"], qkv.T)
    np.testing.assert_array_equal(
        block["norm_2"]["scale"], state["backbone.blocks.10.norm2.weight"]
    )
    np.testing.assert_array_equal(
        block["mlp"]["fc_2"]["bias"], state["backbone.blocks.10.mlp.fc2.bias"]
    )
    conv = state["box_head.conv3_ctr.0.weight"]
    assert params["box_head"]["score"]["conv_3"]["kernel"][0, 2, 100, 50] == conv[50, 100, 0, 2]
    np.testing.assert_array_equal(
        stats["box_head"]["offset"]["norm_2"]["var"], state["box_head.conv2_offset.1.running_var"]
    )
    np.testing.assert_array_equal(
        stats["box_head"]["size"]["norm_4"]["mean"], state["box_head.conv4_size.1.running_mean"]
    )
    counter = variables["torch"]["box_head.conv2_offset.1.num_batches_tracked"]
    assert counter == state["box_head.conv2_offset.1.num_batches_tracked"]


def test_loaded_variables_share_no_memory_with_the_state():
    state = random_state(ostrack_manifest(256))
    variables, _ = load_state_dict(state, VIT_256)
    leaves = jax.tree.leaves(variables)
    assert all(leaf.flags.owndata and leaf.flags.writeable for leaf in leaves)


def test_aqatrack_comes_back_bitwise_without_its_decoder():
    used = random_state(aqatrack_manifest())
    decoder = {
        "transformer_dec.layers.0.linear1.weight": np.ones((512, 512), np.float32),
        "position_encoding": np.ones((1, 512), np.float32),
        "query_embed.weight": np.ones((1, 512), np.float32),
    }
    variables, report = load_state_dict(used | decoder, HIVIT_256)
    assert report.format == "aqatrack"
    assert report.left_out.keys() == decoder.keys()
    assert all("decoder" in reason for reason in report.left_out.values())
    assert report.missing == []
    assert_identical(export_state_dict(variables, HIVIT_256, "aqatrack"), used)
    stage = variables["params"]["backbone"]["stage_2"]["block_3"]
    np.testing.assert_array_equal(stage["norm"]["bias"], used["backbone.blocks.8.norm2.bias"])
    merge = variables["params"]["backbone"]["merge_2"]["reduction"]["kernel"]
    np.testing.assert_array_equal(merge, used["backbone.blocks.9.reduction.weight"].T)
    final = variables["params"]["backbone"]["encoder"]["norm"]["scale"]
    np.testing.assert_array_equal(final, used["backbone.norm_.weight"])


@pytest.mark.parametrize("config", [SMALL_VIT, SMALL_HIVIT, SMALL_VIT_S])
def test_esat_comes_back_bitwise_in_both_directions(config):
    variables = random_variables(config)
    state = export_state_dict(variables, config, "esat")
    assert detect_format(state) == "esat"
    assert state["position_head.search_tower.conv1.0.weight"].shape == (32, 128, 3, 3)
    assert state["position_head.absolute.weight"].shape == (16, 16)
    assert state["position_head.pos_neg.weight"].shape == (2, 16)
    counter = state["position_head.template_tower.conv2.1.num_batches_tracked"]
    assert (counter.dtype, counter.shape) == (np.int64, ())
    again, report = load_state_dict(state, config)
    assert report.missing == []
    assert set(again) == {"params", "batch_stats", "torch"}
    del again["torch"]
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    assert_identical(export_state_dict(again, config, "esat"), state)


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_position_tower_has_one_name(shared):
    config = SMALL_VIT.copy_and_resolve_references()
    config.spl.shared = shared
    names = [name for entry in entries("esat", config) for name in entry.torch]
    towers = {name.split(".")[1] for name in names if name.startswith("position_head.")}
    both = {"template_tower", "search_tower"}
    assert towers == ({"tower"} if shared else both) | {"absolute", "pos_neg"}


@pytest.mark.parametrize(
    "config",
    [VIT_256, VIT_384, HIVIT_256, VIT_S, SMALL_VIT, esat_vit_b384.get_config(),
     esat_hivit_b256.get_config("t5_pn")],
)  # fmt: skip
def test_the_table_names_every_variable_once(config):
    paths = [entry.path for entry in entries("esat", config)]
    assert len(set(paths)) == len(paths)
    model_paths = {path for path in paths if not path.startswith("torch/")}
    assert model_paths == set(variable_shapes(config.to_dict()))


# ------------------------------------------------------------------ pretrained backbones


def mae_manifest(depth=12):
    dropped = tuple(f"backbone.blocks.{i}." for i in range(depth, 12))
    names = without(ostrack_manifest(256), "box_head", "backbone.pos_embed_", *dropped)
    return {name.removeprefix("backbone."): value for name, value in names.items()}


def test_all_150_arrays_of_mae_are_used_and_come_back_bitwise():
    state = random_state(mae_manifest())
    assert len(state) == 150
    template = zeros(VIT_256)
    template["params"]["box_head"]["score"]["conv_1"]["bias"] += 7
    variables, report = load_state_dict(state, VIT_256, template)
    assert (report.format, len(report.used)) == ("mae", 150)
    assert all("box_head" in path for path in report.missing)
    assert (variables["params"]["box_head"]["score"]["conv_1"]["bias"] == 7).all()
    assert_identical(export_state_dict(variables, VIT_256, "mae"), state)
    final = variables["params"]["backbone"]["encoder"]["norm"]["scale"]
    np.testing.assert_array_equal(final, state["norm.weight"])


@pytest.mark.parametrize(("size", "config"), [(256, VIT_256), (384, VIT_384)])
def test_mae_positions_are_resized_as_by_the_original(size, config):
    state, config = random_state(mae_manifest(depth=2)), shallow(config)
    state["pos_embed"] = detweights.tensor("posresize/pos_embed", (1, 197, 768))
    variables, report = load_state_dict(state, config, zeros(config))
    expected = np.load(FIXTURES / "pos_embed_resize.npz")
    for crop, letter in (("template", "z"), ("search", "x")):
        result = variables["params"]["backbone"][f"pos_embed_{crop}"]
        np.testing.assert_allclose(result[..., ::16], expected[f"vit_{letter}_{size}"], atol=2e-6)
        shapes = report.resized[f"params/backbone/pos_embed_{crop}"]
        assert shapes == ((1, 196, 768), result.shape)


def test_maes_decoder_is_left_out():
    decoder = {"mask_token": np.zeros((1, 1, 512)), "decoder_embed.weight": np.zeros((512, 768))}
    state, config = random_state(mae_manifest(depth=2)) | decoder, shallow(VIT_256)
    _, report = load_state_dict(state, config, zeros(config))
    assert report.left_out.keys() == decoder.keys()


def hivit_mae_manifest():
    names = without(
        manifest("aqatrack_hivit_base_256_backbone"), "backbone.pos_embed_", "backbone.norm_"
    )
    return {name.removeprefix("backbone."): v for name, v in names.items()}


def hivit_mae_state():
    used = random_state(hivit_mae_manifest())
    unused = {"norm.weight": np.ones(3584, np.float32), "norm.bias": np.ones(3584, np.float32)}
    unused |= {"mask_token": np.ones((1, 1, 512), np.float32), "decoder_norm.bias": np.ones(512)}
    return used, unused


def test_299_arrays_of_mae_hivit_are_used_and_the_rest_has_a_reason():
    used, unused = hivit_mae_state()
    assert len(used) == 299
    used["absolute_pos_embed"] = detweights.tensor("posresize/absolute_pos_embed", (1, 196, 512))
    template = zeros(HIVIT_256)
    template["params"]["backbone"]["encoder"]["norm"]["scale"] += 1
    variables, report = load_state_dict(used | unused, HIVIT_256, template)
    assert (report.format, len(report.used)) == ("mae_hivit", 299)
    assert report.left_out.keys() == unused.keys()
    assert "3584" in report.left_out["norm.weight"]
    assert "params/backbone/encoder/norm/scale" in report.missing
    backbone = variables["params"]["backbone"]
    assert (backbone["encoder"]["norm"]["scale"] == 1).all()
    expected = np.load(FIXTURES / "pos_embed_resize.npz")["hivit_x_256"]
    np.testing.assert_allclose(backbone["pos_embed_search"][..., ::16], expected, atol=2e-6)
    assert_identical(export_state_dict(variables, HIVIT_256, "mae_hivit"), used)


def test_dinov2_is_joined_resized_and_comes_back_bitwise():
    state = random_state(dinov2_manifest())
    variables, report = load_state_dict(state, VIT_S, zeros(VIT_S))
    assert (report.format, len(report.used)) == ("dinov2", 223)
    assert report.left_out == {}
    assert not any("backbone" in path for path in report.missing)
    backbone = variables["params"]["backbone"]
    layer = "encoder.layer.11.attention.attention"
    parts = [state[f"{layer}.{name}.weight"].T for name in ("query", "key", "value")]
    attention = backbone["encoder"]["block_11"]["attention"]
    np.testing.assert_array_equal(attention["qkv"]["kernel"], np.concatenate(parts, axis=1))
    parts = [state[f"{layer}.{name}.bias"] for name in ("query", "key", "value")]
    np.testing.assert_array_equal(attention["qkv"]["bias"], np.concatenate(parts))
    scale = backbone["encoder"]["block_03"]["scale_2"]
    np.testing.assert_array_equal(scale, state["encoder.layer.3.layer_scale2.lambda1"])
    np.testing.assert_array_equal(backbone["cls_token"], state["embeddings.cls_token"])
    positions = state["embeddings.position_embeddings"]
    np.testing.assert_array_equal(backbone["pos_embed_cls"], positions[:, :1])
    assert backbone["pos_embed_template"].shape == (1, 64, 384)
    assert report.resized["params/backbone/pos_embed_search"] == ((1, 1369, 384), (1, 256, 384))
    back = export_state_dict(variables, VIT_S, "dinov2")
    assert back.keys() == state.keys()
    assert_identical(back, {name: state[name] for name in back})


@pytest.mark.torch
def test_dinov2_positions_are_resized_as_by_torch():
    torch = pytest.importorskip("torch")
    state, config = random_state(dinov2_manifest(depth=2)), shallow(VIT_S)
    variables, _ = load_state_dict(state, config, zeros(config))
    grid = torch.from_numpy(state["embeddings.position_embeddings"][:, 1:])
    image = grid.reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    for crop, size in (("template", 8), ("search", 16)):
        expected = torch.nn.functional.interpolate(image, (size, size), mode="bicubic")
        expected = expected.permute(0, 2, 3, 1).reshape(1, size**2, 384).numpy()
        result = variables["params"]["backbone"][f"pos_embed_{crop}"]
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_dinov2_without_class_token_keeps_it_for_the_way_back():
    config = shallow(VIT_S)
    config.backbone.cls_token = False
    state = random_state(dinov2_manifest(depth=2))
    variables, report = load_state_dict(state, config, zeros(config))
    assert report.used["embeddings.cls_token"][0] == "torch/embeddings.cls_token"
    back = export_state_dict(variables, config, "dinov2")
    assert back.keys() == state.keys()
    assert_identical(back, {name: state[name] for name in back})


def dinov2_meta_state(depth=2, width=384, grid=37):
    """Names, shapes and order as the authors' DinoVisionTransformer has them."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
    }
    for i in range(depth):
        block = {
            "norm1.weight": (width,), "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
            "ls1.gamma": (width,),
            "norm2.weight": (width,), "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
            "ls2.gamma": (width,),
        }  # fmt: skip
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return random_state({name: (shape, "float32") for name, shape in shapes.items()})


@pytest.mark.parametrize("cls_token", [True, False])
@pytest.mark.parametrize("left_out", ["mask_token", "nothing"])  # timm's file has no mask token
def test_dinov2_of_its_authors_comes_back_bitwise(cls_token, left_out):
    config = shallow(VIT_S)
    config.backbone.cls_token = cls_token
    state = without(dinov2_meta_state(), left_out)
    variables, report = load_state_dict(state, config, zeros(config))
    assert (report.format, len(report.used)) == ("dinov2_meta", len(state))
    assert report.left_out == {}
    assert not any("backbone" in path for path in report.missing)
    assert_identical(export_state_dict(variables, config, "dinov2_meta"), state)


def test_both_forms_of_dinov2_give_the_same_variables():
    config, meta = shallow(VIT_S), dinov2_meta_state()
    names = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "blocks": "encoder.layer",
        "attn.proj": "attention.output.dense",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    hugging_face = {}
    for name, value in meta.items():
        for old, new in names.items():
            name = name.replace(old, new)
        if ".attn.qkv." in name:
            for part, rows in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                hugging_face[name.replace("attn.qkv", f"attention.attention.{part}")] = rows
        else:
            hugging_face[name.replace("norm.", "layernorm.") if name[0] == "n" else name] = value
    assert hugging_face.keys() == dinov2_manifest(depth=2).keys()
    one, _ = load_state_dict(meta, config, zeros(config))
    other, report = load_state_dict(hugging_face, config, zeros(config))
    assert report.format == "dinov2"
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("manifest_of", [dinov2_meta_state, dinov2_manifest])
def test_dinov2_needs_a_backbone_with_layer_scale(manifest_of):
    state, config = manifest_of(depth=2), shallow(VIT_S)
    config.backbone.layer_scale = False
    with pytest.raises(ValueError, match=r"has layer_scale, but config\.backbone has not"):
        load_state_dict(state, config)


@pytest.mark.data
def test_the_published_dinov2_file_comes_back_with_equal_values():
    path = Path(os.environ["ESAT_DATA"]) / "weights" / "dinov2_vits14_fp16.safetensors"
    state, format = read_checkpoint(path)
    variables, report = load_state_dict(state, VIT_S, zeros(VIT_S))
    assert (format, len(report.used), report.left_out) == ("dinov2", 222, {})
    assert report.cast == {"float16": 222}
    back = export_state_dict(variables, VIT_S, "dinov2")
    assert back.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(back[name], value.astype(np.float32), err_msg=name)


@pytest.mark.parametrize(
    ("state", "config", "behind", "blocks", "words"),
    [
        (mae_manifest(depth=3), VIT_256, ("blocks.2.",), {2}, "block 2, 12 arrays"),
        (dinov2_manifest(depth=5), VIT_S, ("encoder.layer.2.", "encoder.layer.3.",
         "encoder.layer.4."), {2, 3, 4}, "blocks 2 to 4, 54 arrays"),
        (hivit_mae_manifest(), HIVIT_256, tuple(f"blocks.{i}." for i in range(12, 30)),
         set(range(2, 20)), "blocks 2 to 19, 216 arrays"),
    ],
    ids=["mae", "dinov2", "mae_hivit"],
)  # fmt: skip
def test_a_shallower_model_takes_a_pretrained_files_first_blocks(
    state, config, behind, blocks, words
):
    state, config = random_state(state), shallow(config)
    first = without(state, *behind)
    variables, report = load_state_dict(state, config, zeros(config))
    expected, _ = load_state_dict(first, config, zeros(config))
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    assert report.used.keys() == first.keys()
    assert report.unused_blocks.keys() == state.keys() - first.keys()
    assert set(report.unused_blocks.values()) == blocks
    assert f"not used: {words}; the model has 2 blocks" in report.lines()


def test_the_first_blocks_of_dinov2_in_its_authors_form_are_taken():
    state, config = dinov2_meta_state(depth=4), shallow(VIT_S)
    variables, report = load_state_dict(state, config, zeros(config))
    assert sorted({name.split(".")[1] for name in report.unused_blocks}) == ["2", "3"]
    encoder = variables["params"]["backbone"]["encoder"]
    assert encoder.keys() == {"block_00", "block_01", "norm"}
    kernel = encoder["block_01"]["attention"]["qkv"]["kernel"]
    np.testing.assert_array_equal(kernel, state["blocks.1.attn.qkv.weight"].T)
    np.testing.assert_array_equal(encoder["norm"]["scale"], state["norm.weight"])


@pytest.mark.parametrize("name", ["blocks.2.extra", "blocks.4.norm1.bias", "blocks.12.norm1.bias"])
def test_only_whole_rows_of_blocks_behind_the_last_are_left_out(name):
    """A name that no block has, or a block behind a gap: not the file it seems to be."""
    state, config = dinov2_meta_state(depth=3) | {name: np.zeros(384, "f")}, shallow(VIT_S)
    with pytest.raises(ValueError, match=rf": {name} without a place in the model"):
        load_state_dict(state, config, zeros(config))


@pytest.mark.parametrize("config", [SMALL_VIT, SMALL_HIVIT, SMALL_VIT_S])
@pytest.mark.parametrize("position_head", [True, False])  # without it, an OSTrack or AQATrack
def test_a_whole_tracker_is_never_cut_short(config, position_head):
    state = small_state(config)
    state = state if position_head else without(state, "position_head")
    less = config.copy_and_resolve_references()
    with less.unlocked():
        less.backbone.depth = 1
    message = r"without a place in the model; it has a \w+ with (2|12) blocks, .* (1|11) blocks$"
    with pytest.raises(ValueError, match=message):
        load_state_dict(state, less)


@pytest.mark.data
def test_the_published_dinov2_file_gives_its_first_half():
    path = Path(os.environ["ESAT_DATA"]) / "weights" / "dinov2_vits14_fp16.safetensors"
    config = VIT_S.copy_and_resolve_references()
    with config.unlocked():
        config.backbone.depth = 6
        config.ce.layers, config.ce.keep_ratio = (), ()
    state, format = read_checkpoint(path)
    variables, report = load_state_dict(state, config, zeros(config), format=format)
    assert "not used: blocks 6 to 11, 108 arrays; the model has 6 blocks" in report.lines()
    kernel = variables["params"]["backbone"]["encoder"]["block_05"]["mlp"]["fc_2"]["kernel"]
    np.testing.assert_array_equal(kernel, state["encoder.layer.5.mlp.fc2.weight"].T)


# ------------------------------------------------------------------ export to the originals


def torch_module(torch, shapes):
    """A module whose state_dict has exactly these names, in this order."""
    module = torch.nn.Module()
    for name, (shape, dtype) in shapes.items():
        *folders, leaf = name.split(".")
        place = module
        for folder in folders:
            if not hasattr(place, folder):
                place.add_module(folder, torch.nn.Module())
            place = getattr(place, folder)
        place.register_buffer(leaf, torch.full(shape, 9, dtype=getattr(torch, dtype)))
    assert list(module.state_dict()) == list(shapes)
    return module


@pytest.mark.torch
def test_a_trained_model_loads_strictly_into_the_original(tmp_path):
    """Variables that never saw a PyTorch file; the original's names, shapes and types."""
    torch = pytest.importorskip("torch")
    variables = jax.tree.map(lambda a: a + np.float32(0.25), zeros(VIT_256))
    state = export_state_dict(variables, VIT_256, "ostrack")
    shapes = ostrack_manifest(256)
    assert {n: (a.shape, str(a.dtype)) for n, a in state.items()} == shapes
    assert list(state) == list(shapes)
    path = tmp_path / "x.pth.tar"
    write_torch_file(path, {"net": state, "epoch": 300, "net_type": "OSTrack"})
    module = torch_module(torch, shapes)
    module.load_state_dict(torch.load(path, weights_only=True)["net"], strict=True)
    loaded = module.state_dict()
    assert (loaded["backbone.blocks.3.attn.qkv.weight"] == 0.25).all()
    assert (loaded["backbone.cls_token"] == 0).all()
    assert loaded["box_head.conv1_ctr.1.num_batches_tracked"] == 0
    # MAE's table, by its formula: cell (row 2, column 5), first sine of the column and the row.
    cell = loaded["backbone.pos_embed"][0, 1 + 2 * 14 + 5]
    np.testing.assert_allclose([cell[0], cell[384]], np.sin([5, 2]), atol=1e-6)


def test_values_without_a_name_in_the_format_are_listed():
    left_out = left_out_of_export(zeros(SMALL_VIT), SMALL_VIT, "ostrack")
    assert left_out
    assert all("/position_head/" in path for path in left_out)
    assert left_out_of_export(zeros(SMALL_VIT), SMALL_VIT, "esat") == []
    state = export_state_dict(zeros(SMALL_VIT), SMALL_VIT, "ostrack")
    assert not any(name.startswith("position_head") for name in state)


def test_an_export_that_lacks_values_names_them():
    variables = zeros(SMALL_VIT_S)
    with pytest.raises(ValueError, match=r"lack: torch/embeddings\.position_embeddings$"):
        export_state_dict(variables, SMALL_VIT_S, "dinov2")
    del variables["batch_stats"]
    with pytest.raises(ValueError, match=r"lack: batch_stats/box_head/score/norm_1/mean, .* more"):
        export_state_dict(variables, SMALL_VIT_S, "esat")


# ------------------------------------------------------------------ what does not fit


def small_state(config=SMALL_VIT):
    return export_state_dict(zeros(config), config, "esat")


def test_missing_and_surplus_names_are_listed():
    state = small_state()
    del state["backbone.norm.bias"]
    state["backbone.extra"] = np.zeros(1, np.float32)
    message = (
        "backbone.norm.bias missing; backbone.extra without a place in the model; "
        "--allow_missing=PATTERN .*, --allow_surplus=PATTERN .*$"
    )
    with pytest.raises(ValueError, match=message):
        load_state_dict(state, SMALL_VIT)
    del state["backbone.extra"]
    with pytest.raises(ValueError, match=r"norm.bias missing; --allow_missing=PATTERN [a-z ]*$"):
        load_state_dict(state, SMALL_VIT)


def test_the_prefix_of_data_parallel_training_is_removed_where_every_name_has_it():
    state = random_state(ostrack_manifest(256))
    prefixed = {f"module.{name}": value for name, value in state.items()}
    variables, report = load_state_dict(prefixed, VIT_256)
    assert report.format == "ostrack"
    assert "removed from the front of every name: module." in list(report.lines())
    assert_identical(export_state_dict(variables, VIT_256, "ostrack"), state)
    _, report = load_state_dict(state, VIT_256)
    assert not any("removed" in line for line in report.lines())
    prefixed["head.bias"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="none of the known formats"):
        load_state_dict(prefixed, VIT_256)


def test_named_names_may_be_missing_or_surplus():
    state = without(small_state(), "position_head.search_tower")
    state["backbone.extra"] = np.zeros(1, np.float32)
    with pytest.raises(
        ValueError, match=r"position_head\.search_tower\.conv1\.0\.weight, .* 4 more miss"
    ):
        load_state_dict(state, SMALL_VIT)
    template = zeros(SMALL_VIT)
    template["params"]["position_head"]["search_tower"]["conv_1"]["kernel"] += 5
    variables, report = load_state_dict(
        state, SMALL_VIT, template,
        allow_missing=["position_head.*"], allow_surplus=["backbone.ex*"],
    )  # fmt: skip
    assert report.left_out == {"backbone.extra": "left out as asked"}
    assert "params/position_head/search_tower/conv_1/kernel" in report.missing
    assert not any("template_tower" in path for path in report.missing)
    assert (variables["params"]["position_head"]["search_tower"]["conv_1"]["kernel"] == 5).all()


def test_a_tracker_without_position_head_starts_one_from_initial_values():
    state = without(small_state(), "position_head")
    variables, report = load_state_dict(state, SMALL_VIT)
    assert report.format == "ostrack"
    assert report.missing
    assert all("/position_head/" in path for path in report.missing)
    head = variables["params"]["position_head"]
    # Flax's default for kernels: deviation 1 / sqrt(inputs); norms start at 1, their mean at 0.
    np.testing.assert_allclose(head["absolute"]["kernel"].std(), 16**-0.5, rtol=0.2)
    assert (head["search_tower"]["norm_1"]["scale"] == 1).all()
    stats = variables["batch_stats"]["position_head"]["search_tower"]["norm_1"]
    assert (stats["mean"] == 0).all()


@pytest.mark.parametrize("config", [SMALL_VIT, SMALL_HIVIT, SMALL_VIT_S])
def test_the_position_head_may_be_absent_on_the_way_out_and_back(config):
    variables = random_variables(config)
    whole = export_state_dict(variables, config, "esat")
    for collection in variables.values():
        del collection["position_head"]
    state = export_state_dict(variables, config, "esat")
    assert_identical(state, without(whole, "position_head"))
    again, report = load_state_dict(state, config, zeros(config), format="esat")
    assert report.missing
    assert all("/position_head/" in path for path in report.missing)
    del again["params"]["position_head"], again["batch_stats"]["position_head"], again["torch"]
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_half_a_position_head_is_not_exported():
    variables = random_variables(SMALL_VIT)
    del variables["params"]["position_head"]["pos_neg"]
    with pytest.raises(ValueError, match=r"lack: params/position_head/pos_neg/kernel$"):
        export_state_dict(variables, SMALL_VIT, "esat")


def test_template_variables_that_lack_values_are_refused():
    state = without(small_state(), "position_head")
    with pytest.raises(ValueError, match=r"template variables lack .*position_head"):
        load_state_dict(state, SMALL_VIT, {"params": {"box_head": {}}})


@pytest.mark.parametrize(
    ("state_of", "config", "message"),
    [
        (
            SMALL_HIVIT,
            SMALL_VIT,
            r"missing; .*it has a HiViT with 12 blocks, the model a ViT with 2 blocks$",
        ),
        (VIT_256, HIVIT_256, r"OSTrack checkpoint \(ostrack\) has a vit backbone.* is 'hivit'"),
        (HIVIT_256, VIT_256, r"AQATrack checkpoint \(aqatrack\) has a hivit backbone.* is 'vit'"),
        (VIT_256, VIT_S, r"OSTrack checkpoint \(ostrack\) has no layer_scale and no cls_token"),
    ],
)
def test_the_wrong_backbone_is_named(state_of, config, message):
    with pytest.raises(ValueError, match=message):
        load_state_dict(small_state(state_of), config)


def test_another_depth_or_width_is_named():
    config = SMALL_VIT.copy_and_resolve_references()
    with config.unlocked():
        config.backbone.depth = 3
    message = r"blocks\.2\.norm1\.weight, .*4 more missing; it has .* 2 blocks, .* 3 blocks$"
    with pytest.raises(ValueError, match=message):
        load_state_dict(small_state(), config)
    config = SMALL_VIT.copy_and_resolve_references()
    config.backbone.width = 64
    config.backbone.heads = 1
    with pytest.raises(
        ValueError, match=r"is \(1, 4, 128\) and should be \(1, 4, 64\).* width is 128, .* 64$"
    ):
        load_state_dict(small_state(), config)


def test_positions_of_other_crop_sizes_are_resized_only_if_asked():
    state = random_state(ostrack_manifest(256))
    message = (
        r"pos_embed_search is \(1, 256, 768\) and should be \(1, 576, 768\); .*--resize_positions$"
    )
    with pytest.raises(ValueError, match=message):
        load_state_dict(state, VIT_384)
    variables, report = load_state_dict(state, VIT_384, resize_positions=True)
    assert report.resized == {
        "params/backbone/pos_embed_template": ((1, 64, 768), (1, 144, 768)),
        "params/backbone/pos_embed_search": ((1, 256, 768), (1, 576, 768)),
    }
    corner = variables["params"]["backbone"]["pos_embed_search"][0, 0]
    old = state["backbone.pos_embed_x"].reshape(16, 16, 768)
    # 16 -> 24: the first cell lies at -1/6; taps at -2 .. 1, those outside the edge on cell 0.
    at, a = np.array([11, 5, 1, 7]) / 6, -0.75
    near, far = (a + 2) * at**3 - (a + 3) * at**2 + 1, a * (at**3 - 5 * at**2 + 8 * at - 4)
    taps = np.where(at < 1, near, far)
    expected = np.einsum("y,x,yxd->d", *[np.array([taps[:3].sum(), taps[3]])] * 2, old[:2, :2])
    np.testing.assert_allclose(corner, expected, atol=1e-6)


def test_broken_pretrained_positions_are_refused():
    state, config = random_state(mae_manifest(depth=2)), shallow(VIT_256)
    state["pos_embed"] = state["pos_embed"][0]
    with pytest.raises(ValueError, match=r"pos_embed is \(197, 768\)"):
        load_state_dict(state, config, zeros(config))
    state, config = random_state(dinov2_manifest(depth=2)), shallow(VIT_S)
    state["embeddings.position_embeddings"] = state["embeddings.position_embeddings"][:, :-1]
    with pytest.raises(ValueError, match="1368 position embeddings do not form a square"):
        load_state_dict(state, config, zeros(config))


def test_parts_of_different_shapes_are_refused():
    state, config = random_state(dinov2_manifest(depth=2)), shallow(VIT_S)
    name = "encoder.layer.0.attention.attention.key.bias"
    state[name] = state[name][:-1]
    with pytest.raises(ValueError, match=r"key.bias.* one shape, but have \(384,\), \(383,\)"):
        load_state_dict(state, config, zeros(config))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_other_floats_become_float32_and_are_counted(dtype):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    state = small_state()
    state["backbone.norm.bias"] = (np.arange(128) / 64).astype(dtype)
    variables, report = load_state_dict(state, SMALL_VIT)
    bias = variables["params"]["backbone"]["encoder"]["norm"]["bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, np.arange(128) / 64)
    assert report.cast == {str(dtype): 1}


def test_weights_that_are_integers_are_refused():
    state = small_state()
    state["backbone.norm.bias"] = np.zeros(128, np.int8)
    with pytest.raises(ValueError, match=r"backbone\.norm\.bias should be floating-point.* int8"):
        load_state_dict(state, SMALL_VIT)


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match=r"2 arrays named a, b, .* ostrack \(OSTrack checkpoint\)"):
        load_state_dict({"a": np.zeros(1), "b": np.zeros(1)}, SMALL_VIT)
    with pytest.raises(ValueError, match=r"formats are ostrack, .*got 'siamfc'"):
        load_state_dict(small_state(), SMALL_VIT, format="siamfc")
    with pytest.raises(ValueError, match="formats are"):
        export_state_dict(zeros(SMALL_VIT), SMALL_VIT, "siamfc")


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("wrapper", [None, "net", "model"])
def test_a_state_dict_is_found_alone_and_wrapped(tmp_path, wrapper):
    state = random_state({"patch_embed.proj.weight": ((2, 3, 4, 4), "float32")})
    content = {wrapper: state, "epoch": 3, "optimizer": {"state": {}}} if wrapper else state
    write_torch_file(tmp_path / "x.pth", content)
    result, format = read_checkpoint(tmp_path / "x.pth")
    assert format == "mae"
    assert_identical(result, state)


def test_safetensors_are_told_by_content_not_by_name(tmp_path):
    state = random_state({"patch_embed.proj.weight": ((2, 3, 4, 4), "float32")})
    save_file(state, tmp_path / "x.pth")
    result, format = read_checkpoint(tmp_path / "x.pth")
    assert format == "mae"
    assert_identical(result, state)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict"),
        ({}, "expected a state dict"),
        ({"net": {}}, "expected a state dict"),
        ({"epoch": 3}, "expected a state dict"),
        ({"model": {"a": 1}}, "expected a state dict"),
        ({1: np.zeros(1)}, "expected a state dict"),
        ({"fc.weight": np.zeros(1)}, "1 arrays named fc.weight, ... are none of the known formats"),
    ],
)
def test_files_without_known_weights_are_refused(tmp_path, content, message):
    write_torch_file(tmp_path / "x.pth", content)
    with pytest.raises(ValueError, match=rf"x\.pth: .*{message}"):
        read_checkpoint(tmp_path / "x.pth")


def test_our_own_files_are_pointed_out(tmp_path):
    save_weights(tmp_path / "x.safetensors", {"params": {"a": np.zeros(1)}}, {})
    with pytest.raises(ValueError, match="esat-jax weights already"):
        read_checkpoint(tmp_path / "x.safetensors")


# ------------------------------------------------------------------ the report


def test_the_report_names_everything_once():
    used, unused = hivit_mae_state()
    _, report = load_state_dict(used | unused, HIVIT_256, zeros(HIVIT_256))
    text = "\n".join(report.lines())
    assert text.startswith("used: 299 arrays of the format mae_hivit")
    lines = [line.split() for line in text.splitlines()]
    row = ["blocks.*.attn.qkv.weight", "params/backbone/encoder/block_*/attention/qkv/kernel"]
    assert [*row, "transposed", "x", "20"] in lines
    row = ["params/backbone/pos_embed_search", "(1,", "196,", "512)", "->", "(1,", "256,", "512)"]
    assert row in lines
    reason = "normalises the features of all three stages, 3584 channels"
    assert ["norm.weight", *reason.split()] in lines
    assert "left out: 4" in text
    assert "changed from" not in text
    report.cast = {"float64": 3, "float16": 2}
    assert list(report.lines())[-2:] == [
        "changed from float64 to float32 rounded: 3",
        "changed from float16 to float32 of equal value: 2",
    ]
