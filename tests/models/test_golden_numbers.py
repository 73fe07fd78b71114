"""Sums over outputs of the original code at 384 px, on weights that arithmetic alone defines."""

import jax
import numpy as np
import pytest

from esat_jax.models.esat import make_model
from esat_jax.torch_weights import load_state_dict
from parity import flat_intermediates, read_config, read_manifest

GOLDEN = {  # name -> (config, variant, template range, keep ratio), the original's numbers
    "vit_no_elimination": (
        ("esat_vit_b384", "ostrack", "CTR_POINT", 1.0),
        {
            "score_max": 0.549699,
            "argmax": 288,
            "score": 273.6465,
            "size": 606.3077,
            "offset": 87.9704,
            "abs_offset": 125.3678,
            "box": [0.010065, 0.505007, 0.559625, 0.471800],
            "abs_template": 87924.17,
            "abs_search": 351815.19,
            "first": [-0.507778, -0.728940, -0.341278, -0.645829],
            "removed": [],
        },
    ),
    "vit_all_template_tokens": (
        ("esat_vit_b384", "ostrack", "ALL", None),
        {
            "score_max": 0.539275,
            "argmax": 416,
            "score": 276.8411,
            "size": 597.7972,
            "offset": 54.3120,
            "abs_offset": 76.7900,
            "box": [0.336090, 0.707693, 0.576097, 0.510960],
            "abs_template": 87936.31,
            "abs_search": 121504.13,
            "first": [-0.510729, -0.763525, -0.358485, -0.712605],
            "removed": [52309, 35132, 24492],
            "first_removed": [146, 177, 571, 117, 273],
        },
    ),
    "vit_centre_token": (
        ("esat_vit_b384", "ostrack", "CTR_POINT", None),
        {
            "score_max": 0.551234,
            "argmax": 434,
            "score": 277.9685,
            "size": 597.3137,
            "offset": 54.0762,
            "abs_offset": 74.4173,
            "box": [0.085584, 0.745671, 0.570259, 0.490860],
            "abs_template": 87912.99,
            "abs_search": 121477.22,
            "first": [-0.481059, -0.698401, -0.381649, -0.727694],
            "removed": [49847, 34331, 21543],
            "first_removed": [275, 61, 217, 247, 171],
        },
    ),
    "hivit": (
        ("esat_hivit_b384", "t5_baseline", "CTR_POINT", None),
        {
            "score_max": 0.701466,
            "argmax": 442,
            "score": 370.8479,
            "size": 470.7012,
            "offset": 107.4002,
            "abs_offset": 136.8424,
            "box": [0.417284, 0.755994, 0.367105, 0.414058],
            "abs_template": 59769.86,
            "abs_search": 239369.79,
            "first": [-0.767082, -1.091493, -0.725052, -0.656148],
            "removed": [],
        },
    ),
}


def hashed(number, count):
    """`count` values in [-1, 1) of stream `number`: a multiplicative hash of the index."""
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
        h += np.uint32((number + 1) * 2246822519 % 2**32)
        for shift, factor in ((15, 2246822519), (13, 3266489917)):
            h ^= h >> np.uint32(shift)
            h *= np.uint32(factor)
        h ^= h >> np.uint32(16)
    return h / 2.0**31 - 1


def hashed_state(manifest):
    """A state dict whose values follow from position and kind of each entry."""
    state = {}
    for number, (name, shape, dtype, _) in enumerate(manifest):
        value = hashed(number, int(np.prod(shape))).reshape(shape)
        kind = name.rsplit(".", 1)[-1]
        if dtype == "int64":
            state[name] = np.zeros(shape, np.int64)
            continue
        if len(shape) == 1:
            centre, spread = {
                "weight": (1, 0.1),
                "running_var": (1, 0.1),
                "running_mean": (0, 0.05),
            }.get(kind, (0, 0.02))
            value = centre + spread * value
        elif kind == "weight":
            value = value * np.sqrt(3 * shape[0] / np.prod(shape))
        else:
            value = 0.2 * value
        state[name] = value.astype(np.float32)
    return state


def manifest_384(backbone):
    """Names and shapes of OSTrack-384, or of HiViT-B with the same head."""
    vit = read_manifest("ostrack_vitb_384")
    if backbone == "vit":
        return vit
    grids = {"backbone.pos_embed_z": [1, 144, 512], "backbone.pos_embed_x": [1, 576, 512]}
    entries = [
        [name, grids.get(name, shape), dtype, None]
        for name, shape, dtype, _ in read_manifest("aqatrack_hivit_base_256_backbone")
    ]
    for name, shape, dtype, _ in vit:
        if name.startswith("box_head"):
            entries.append([name, [512 if n == 768 else n for n in shape], dtype, None])
    return entries


def crop(number, size):
    image = 2 * hashed(number, 3 * size * size).astype(np.float64)
    return image.astype(np.float32).reshape(1, 3, size, size).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_sum_to_the_originals_numbers(name):
    (config_name, variant, template_range, keep_ratio), expected = GOLDEN[name]
    config = read_config(config_name, variant).to_dict()
    config["ce"]["template_range"] = template_range
    variables, _ = load_state_dict(hashed_state(manifest_384(config["backbone"]["name"])), config)
    model = make_model(config)
    apply = jax.jit(
        lambda v, z, x: model.apply(v, z, x, keep_ratio=keep_ratio, mutable="intermediates")
    )
    out, collected = apply(variables, crop(1000, 192), crop(1001, 384))
    tokens = np.asarray(out.tokens, np.float64)
    digits = {"rtol": 2e-7, "atol": 6e-7}  # the printed digits, and float32's last bit on top
    np.testing.assert_allclose(out.score_map.max(), expected["score_max"], **digits)
    assert out.score_map.argmax() == expected["argmax"]
    np.testing.assert_allclose(out.box_cxcywh[0], expected["box"], **digits)
    np.testing.assert_allclose(tokens[0, 0, :4], expected["first"], atol=1.5e-6)
    sums = {
        "score": np.float64(out.score_map).sum(),
        "size": np.float64(out.size_map).sum(),
        "offset": np.float64(out.offset_map).sum(),
        "abs_offset": np.abs(np.float64(out.offset_map)).sum(),
    }
    for key, value in sums.items():
        np.testing.assert_allclose(value, expected[key], atol=1.5e-4)
    np.testing.assert_allclose(np.abs(tokens[:, :144]).sum(), expected["abs_template"], atol=0.015)
    np.testing.assert_allclose(np.abs(tokens[:, 144:]).sum(), expected["abs_search"], atol=0.015)
    removed, alive = [], np.arange(576)
    if expected["removed"]:
        for cells in flat_intermediates(collected)["backbone/encoder/kept_cells"]:
            removed.append(alive.sum() - int(cells.sum()))
            alive = np.asarray(cells)
        # Removed tokens in the order of their scores, the best of them first.
        (scores,) = flat_intermediates(collected)["backbone/encoder/block_03/candidate_scores"]
        order = np.argsort(-np.asarray(scores[0]))
        assert order[404:409].tolist() == expected["first_removed"]
    assert removed == expected["removed"]
