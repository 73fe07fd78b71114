"""The ViT-B tracker without forces against the original OSTrack, down to single blocks."""

import jax
import numpy as np
import pytest

from esat_jax.models.encoder import Block
from esat_jax.models.esat import make_model
from parity import (
    FIXTURES,
    flat_intermediates,
    maps_last,
    network_inputs,
    ostrack_variables,
    read_config,
)

FIXTURE = np.load(FIXTURES / "ostrack_256_ce.npz")
MODES = {  # fixture prefix -> template range, keep ratio, channel step of stored features or None
    "": ("CTR_POINT", None, 8),
    "keep1_": ("CTR_POINT", 1.0, 16),
    "keep085_": ("CTR_POINT", 0.85, None),
    "nomask_": ("ALL", None, None),
}


def run(prefix):
    template_range, keep_ratio, _ = MODES[prefix]
    config = read_config("esat_vit_b256", "ostrack").to_dict()
    config["ce"]["template_range"] = template_range
    model = make_model(config)

    @jax.jit
    def apply(variables, template, search):
        return model.apply(
            variables,
            template,
            search,
            keep_ratio=keep_ratio,
            mutable="intermediates",
            capture_intermediates=lambda module, _: isinstance(module, Block),
        )

    out, collected = apply(ostrack_variables(256), *network_inputs(FIXTURE, 256))
    return out, flat_intermediates(collected) if "intermediates" in collected else {}


@pytest.mark.parametrize("prefix", MODES)
def test_maps_boxes_features_and_kept_tokens_equal_the_original(prefix):
    out, seen = run(prefix)
    fixture = {key.removeprefix(prefix): FIXTURE[key] for key in FIXTURE if key.startswith(prefix)}
    np.testing.assert_allclose(out.score_map, fixture["score_map"][:, 0], atol=2e-5)
    np.testing.assert_allclose(out.size_map, maps_last(fixture["size_map"]), atol=2e-5)
    np.testing.assert_allclose(out.offset_map, maps_last(fixture["offset_map"]), atol=2e-5)
    np.testing.assert_allclose(out.box_cxcywh, fixture["pred_boxes"][:, 0], atol=1e-5)
    if step := MODES[prefix][2]:
        np.testing.assert_allclose(out.tokens[..., ::step], fixture["feat_sub"], atol=1e-4)
    kept = seen.get("backbone/encoder/kept_cells", ())
    assert len(kept) == (0 if prefix == "keep1_" else 3)
    for layer, cells in zip((3, 6, 9), kept, strict=False):
        for ours, theirs in zip(cells, fixture[f"ce{layer}_keep"], strict=True):
            assert set(ours.tolist()) == set(theirs.tolist())
    expected = np.zeros((2, 256), bool)
    np.put_along_axis(expected, np.asarray(kept[-1]) if kept else np.arange(256)[None], True, 1)
    np.testing.assert_array_equal(out.kept, expected)
    assert not np.any(out.tokens[:, 64:][~expected])


def test_every_block_and_every_elimination_score_equals_the_original():
    out, seen = run("")
    np.testing.assert_allclose(out.tokens[1], FIXTURE["feat_full_sample1"], atol=1e-4)
    np.testing.assert_allclose(out.tokens.mean(-1), FIXTURE["feat_mean"], atol=1e-4)
    rms = np.sqrt((np.asarray(out.tokens) ** 2).mean(-1))
    np.testing.assert_allclose(rms, FIXTURE["feat_rms"], atol=1e-4)
    embedded = embed(ostrack_variables(256))
    np.testing.assert_allclose(embedded[:, ::5, ::16], FIXTURE["embed_sub"], atol=1e-4)
    for layer in range(12):
        tokens, cells = seen[f"backbone/encoder/block_{layer:02d}/__call__"][0]
        template = tokens[:, FIXTURE["block_template_tokens"], ::8]
        np.testing.assert_allclose(template, FIXTURE["block_template"][layer], atol=1e-4)
        for b in range(2):
            at = [int(np.flatnonzero(cells[b] == c)[0]) for c in FIXTURE["block_search_tokens"]]
            search = tokens[b, 64:][np.array(at), ::8]
            np.testing.assert_allclose(search, FIXTURE["block_search"][layer, b], atol=1e-4)
    before = {3: 2, 6: 5, 9: 8}  # eliminating block -> block whose cells it starts from
    for layer, previous in before.items():
        (scores,) = seen[f"backbone/encoder/block_{layer:02d}/candidate_scores"]
        cells = np.asarray(seen[f"backbone/encoder/block_{previous:02d}/__call__"][0][1])
        slots = FIXTURE[f"ce{layer}_index_in"]
        ours, theirs = np.zeros((2, 2, 256))
        np.put_along_axis(ours, cells, np.asarray(scores), 1)
        np.put_along_axis(theirs, slots.astype(int), FIXTURE[f"ce{layer}_score"], 1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def embed(variables):
    """Patch embedding and positions of both crops, template first, as plain arithmetic."""
    parts, backbone = [], variables["params"]["backbone"]
    kernel, bias = backbone["patch_embed"]["kernel"], backbone["patch_embed"]["bias"]
    for image, name in zip(network_inputs(FIXTURE, 256), ("template", "search"), strict=True):
        grid = image.shape[1] // 16
        patches = image.reshape(2, grid, 16, grid, 16, 3).swapaxes(2, 3).reshape(2, grid**2, -1)
        parts.append(patches @ kernel.reshape(-1, 768) + bias + backbone[f"pos_embed_{name}"])
    return np.concatenate(parts, axis=1)


def test_forces_of_zero_change_nothing_and_forces_change_something():
    template, search = network_inputs(FIXTURE, 256)
    outputs = []
    for alpha, enabled in ((0.0, False), (0.0, True), (0.1, True)):
        config = read_config("esat_vit_b256", "ostrack").to_dict()
        config["fda"] |= {"enabled": enabled, "alpha": alpha, "beta": alpha}
        model = make_model(config)
        outputs.append(jax.jit(model.apply)(ostrack_variables(256), template[:1], search[:1]))
    np.testing.assert_array_equal(outputs[0].score_map, outputs[1].score_map)
    np.testing.assert_array_equal(outputs[0].tokens, outputs[1].tokens)
    assert np.abs(outputs[0].score_map - outputs[2].score_map).max() > 1e-3
