"""What the assembled network promises beyond parity: training parts, types, sizes, messages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esat_jax.models.esat import inference_variables, make_model
from parity import flat_intermediates, random_variables, read_config


def smoke(name="esat_vit_b384", variants="smoke", **overrides):
    config = read_config(name, variants)
    config.update_from_flattened_dict(overrides)
    return config.to_dict()


WHOLE = np.float32([[0.5, 0.5, 1.0, 1.0]] * 2)  # read where the target is marked


def crops(config, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    sizes = config["template"]["size"], config["search"]["size"]
    return [rng.integers(0, 256, (batch, size, size, 3), np.uint8) for size in sizes]


@pytest.mark.parametrize("name", ["esat_vit_b384", "esat_hivit_b384", "esat_vit_s224"])
def test_position_logits_exist_in_training_only_and_need_no_parameters_outside(name):
    config = smoke(name)
    model, variables = make_model(config), random_variables(config)
    apply = functools.partial(model.apply, template_box_cxcywh=WHOLE)
    train = jax.jit(lambda v, *c: apply(v, *c, train=True, mutable="batch_stats", rngs=rngs))
    rngs = {"dropout": jax.random.key(1)}
    out, stats = train(variables, *crops(config))
    tokens, cells = 4 + 16, 16
    assert out.abs_logits.shape == (2, tokens, cells)
    assert out.pn_logits.shape == (2, tokens, 2)
    assert set(stats["batch_stats"]) == {"box_head", "position_head"}
    pruned = inference_variables(variables, config)
    assert set(pruned["params"]) == {"backbone", "box_head"}
    out = jax.jit(apply)(pruned, *crops(config))
    assert out.abs_logits is None
    assert out.pn_logits is None
    assert out.score_map.shape == (2, 4, 4)
    assert out.offset_map.shape == (2, 4, 4, 2)


@pytest.mark.parametrize(("shared", "towers"), [(False, 2), (True, 1)])
def test_position_towers_are_separate_or_shared(shared, towers):
    config = smoke(**{"spl.shared": shared})
    head = random_variables(config)["params"]["position_head"]
    assert len([name for name in head if "tower" in name]) == towers
    assert set(head) >= {"absolute", "pos_neg"}


def test_baselines_have_no_position_head_even_in_training():
    config = smoke(variants="smoke,t2_baseline")
    assert "position_head" not in random_variables(config)["params"]


def test_uint8_crops_are_normalised_as_pytorch_trackers_do():
    config = smoke()
    model, variables = make_model(config), random_variables(config)
    raw = crops(config)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = [((crop / 255 - mean) / std).astype(np.float32) for crop in raw]
    ours, expected = (jax.jit(model.apply)(variables, *c) for c in (raw, normalised))
    np.testing.assert_allclose(ours.tokens, expected.tokens, atol=1e-5)
    with pytest.raises(ValueError, match="uint8 RGB or normalised floats, got int32"):
        model.apply(variables, *(crop.astype(np.int32) for crop in raw))


def test_bfloat16_computes_in_16_bits_keeps_float32_parameters_and_stays_close():
    config = smoke(variants="smoke,no_ce")
    half = smoke(variants="smoke,no_ce", compute_dtype="bfloat16")
    variables = random_variables(half)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    outputs = []
    for settings in (config, half):
        model = make_model(settings)
        prepared = inference_variables(variables, settings)
        outputs.append(jax.jit(model.apply)(prepared, *crops(settings)))
        again = jax.jit(model.apply)(variables, *crops(settings))
        np.testing.assert_array_equal(outputs[-1].score_map, again.score_map)
    assert outputs[1].tokens.dtype == jnp.bfloat16
    assert outputs[1].score_map.dtype == jnp.float32
    assert outputs[1].box_cxcywh.dtype == jnp.float32
    # The last norm leaves features near 1; bfloat16 keeps 8 bits, and errors add up over blocks.
    difference = np.abs(outputs[0].tokens - outputs[1].tokens.astype(np.float32))
    assert 1e-4 < difference.mean() < 0.02


@pytest.mark.parametrize("template_range", ["CTR_POINT", "CTR_REC", "GT_BOX", "ALL"])
@pytest.mark.parametrize("grids", [(2, 4), (3, 5)])
def test_every_template_range_works_at_any_grid_and_removed_cells_are_zero(template_range, grids):
    sizes = {"template.size": 16 * grids[0], "search.size": 16 * grids[1]}
    config = smoke(**sizes, **{"ce.template_range": template_range})
    model, variables = make_model(config), random_variables(config)
    box = np.array([[0.5, 0.5, 0.6, 0.6], [0.4, 0.6, 0.3, 0.5]], np.float32)
    out = jax.jit(model.apply)(variables, *crops(config), template_box_cxcywh=box)
    cells = grids[1] ** 2
    assert (out.kept.sum(axis=1) == int(np.ceil(0.7 * cells))).all()
    search = np.asarray(out.tokens[:, grids[0] ** 2 :])
    assert (np.any(search != 0, axis=2) == out.kept).all()
    whole = jax.jit(lambda *a, **k: model.apply(*a, keep_ratio=1.0, **k))
    assert whole(variables, *crops(config), template_box_cxcywh=box).kept.all()


def test_elimination_ranks_by_the_attention_that_the_block_uses_forces_included():
    config = smoke(variants="smoke", **{"fda.alpha": 5.0, "fda.beta": 2.0})
    model, variables = make_model(config), random_variables(config)
    _, collected = model.apply(
        variables,
        *crops(config),
        mutable="intermediates",
        capture_intermediates=lambda module, _: module.name in ("qkv", "norm_1"),
    )
    seen = flat_intermediates(collected)
    qkv = np.asarray(seen["backbone/encoder/block_01/attention/qkv/__call__"][0], np.float64)
    query, key, _ = np.moveaxis(qkv.reshape(2, 20, 3, 2, 64), 2, 0)
    query = query[:, 0]  # the first of four template tokens is the centre of a 2 x 2 grid
    distance = ((query[:, None] - key) ** 2).sum(-1) / 64  # [B, N, H]
    logits = np.einsum("bhd,bnhd->bnh", query, key) / 8 + 5 * np.exp(-distance) - 2 * distance
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    (scores,) = seen["backbone/encoder/block_01/candidate_scores"]
    np.testing.assert_allclose(scores, weights[:, 4:].mean(axis=2), rtol=1e-4)


def test_class_token_takes_part_and_is_not_returned():
    config = smoke("esat_vit_s224")
    model, variables = make_model(config), random_variables(config)
    apply = jax.jit(functools.partial(model.apply, template_box_cxcywh=WHOLE))
    out = apply(variables, *crops(config))
    assert out.tokens.shape[1] == 4 + 16
    moved = jax.tree.map(np.copy, variables)
    moved["params"]["backbone"]["cls_token"] += 3 * np.sign(
        moved["params"]["backbone"]["cls_token"]
    )
    assert np.abs(apply(moved, *crops(config)).tokens - out.tokens).max() > 1e-3


def test_drop_path_drops_whole_examples_and_rescales_the_others():
    config = smoke(variants="smoke,no_ce", **{"backbone.drop_path": 0.5, "backbone.depth": 2})
    model, variables = make_model(config), random_variables(config)
    pair = [np.repeat(crop[:1], 64, axis=0) for crop in crops(config)]

    @jax.jit
    def tokens(rng):
        return model.apply(
            variables,
            *pair,
            train=True,
            mutable=["batch_stats", "intermediates"],
            rngs={"dropout": rng},
            capture_intermediates=lambda m, _: m.name in ("block_00", "block_01"),
        )[1]["intermediates"]["backbone"]["encoder"]

    seen = tokens(jax.random.key(3))
    first, second = (np.asarray(seen[f"block_0{i}"]["__call__"][0][0]) for i in (0, 1))
    assert np.ptp(first, axis=0).max() < 1e-4  # rate 0 in the first block: all examples alike
    kinds = {tuple(np.round(example[0, :8] - first[0, 0, :8], 3)) for example in second}
    assert len(kinds) == 4  # each of two branches kept or dropped, alike for all tokens
    unchanged = np.abs(second - first).max(axis=(1, 2)) < 1e-6
    assert 3 <= unchanged.sum() <= 32  # a quarter expected; outside by chance once in 10,000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"backbone.name": "swin"}, "one of .*'hivit', 'vit'.*got 'swin'"),
        ({"compute_dtype": "float16"}, "one of .*'bfloat16', 'float32'.*got 'float16'"),
        ({"backbone.name": "hivit", "backbone.layer_scale": True}, r"has no \['layer_scale'\]"),
        ({"fda.implementation": "cuda"}, "one of .*'fused'.*got 'cuda'"),
        ({"backbone.heads": 5}, "width 128 does not divide into 5 heads"),
        ({"backbone.depth": 0}, "backbone.depth is a whole number from 1 up, got 0"),
        ({"backbone.width": -8}, "backbone.width is a whole number from 1 up, got -8"),
        ({"head.channels": 4}, "head.channels is a whole number from 8 up, got 4"),
        ({"search.size": 0}, "search.size is a whole number from 1 up, got 0"),
        ({"ce.layers": (2,)}, r"ce.layers names blocks \[2\], but blocks count from 0 to 1"),
        ({"fda.alpha": float("nan")}, "fda.alpha is a finite number from 0 up, got nan"),
    ],
)
def test_impossible_settings_are_refused_in_words(override, message):
    config = smoke(**override)
    with pytest.raises(ValueError, match=message):
        random_variables(config)


def test_a_crop_that_does_not_divide_into_patches_is_refused():
    with pytest.raises(ValueError, match="70x70 does not divide into 16 px patches"):
        random_variables(smoke(**{"search.size": 70}))


def test_the_target_mark_is_added_to_the_template_tokens_that_the_box_touches():
    """A mark makes the same difference as putting it into the positions of those tokens."""
    config = smoke("esat_vit_s224")  # 2 x 2 template tokens
    rng = np.random.default_rng(0)
    pairs = crops(config)
    boxes = np.float32([[0.75, 0.25, 0.3, 0.3], [0.5, 0.25, 0.4, 0.2]])  # right top; both top
    variables = random_variables(config)
    backbone = variables["params"]["backbone"]
    mark = 5 * rng.normal(size=(1, 1, config["backbone"]["width"])).astype(np.float32)
    backbone["target_mark"] = mark
    model = make_model(config)
    got = model.apply(variables, *pairs, template_box_cxcywh=boxes)
    touched = np.float32([[0, 1, 0, 0], [1, 1, 0, 0]])[:, :, None]
    positions = backbone["pos_embed_template"]
    backbone["target_mark"] = 0 * mark
    for i in range(2):
        backbone["pos_embed_template"] = positions + touched[i] * mark
        one = [crop[i : i + 1] for crop in pairs]
        expected = model.apply(variables, *one, template_box_cxcywh=boxes[i : i + 1])
        backbone["pos_embed_template"] = positions
        unmarked = model.apply(variables, *one, template_box_cxcywh=boxes[i : i + 1])
        size = np.linalg.norm(expected.tokens[0])
        assert np.linalg.norm(got.tokens[i] - expected.tokens[0]) < 1e-3 * size
        assert np.linalg.norm(unmarked.tokens[0] - expected.tokens[0]) > 1e-2 * size
    with pytest.raises(ValueError, match="target_mark needs template_box_cxcywh"):
        model.apply(variables, *pairs)
