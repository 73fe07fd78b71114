"""The centre head against the original's outputs (fixture head.npz)."""

import json
from pathlib import Path

import flax
import jax
import numpy as np
import pytest

import detweights
from esat_jax.models.batch_norm import BatchNorm
from esat_jax.models.box_head import BoxHead, decode_boxes, hann_window

FIXTURES = Path(__file__).parents[1] / "fixtures"
HEAD = np.load(FIXTURES / "head.npz")


def maps_last(array):
    return np.moveaxis(array, 1, -1)


def head_variables():
    """The 384 px head's generated weights, renamed here by hand."""
    manifest = json.loads((FIXTURES / "ostrack_vitb_384_manifest.json").read_text())
    flat = {}
    leaves = {
        "weight": ("params", "scale"),
        "bias": ("params", "bias"),
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    for key, shape, dtype, _ in manifest:
        if not key.startswith("box_head") or key.endswith("num_batches_tracked"):
            continue
        value = detweights.tensor(key, shape, dtype)
        _, layer, *part, leaf = key.split(".")
        conv, tower = layer.split("_")
        tower = {"ctr": "score"}.get(tower, tower)
        collection, name = leaves[leaf]
        if value.ndim == 4:
            name, value = "kernel", value.transpose(2, 3, 1, 0)
        kind = "norm" if part == ["1"] else "conv"
        flat[collection, tower, f"{kind}_{conv[-1]}", name] = value
    return flax.traverse_util.unflatten_dict(flat)


def test_maps_and_boxes_equal_the_original():
    feature = detweights.normal("head/feat", (3, 768, 24, 24)).astype(np.float32)
    feature[1] *= 12
    feature[2] = np.abs(feature[2])
    assert detweights.digest(feature) == str(HEAD["feat_digest"])
    apply = jax.jit(lambda v, x: BoxHead().apply(v, x, train=False))
    score, size, offset = apply(head_variables(), maps_last(feature))
    np.testing.assert_allclose(score, HEAD["head_score"][:, 0], atol=2e-5)
    np.testing.assert_allclose(size, maps_last(HEAD["head_size"]), atol=2e-5)
    # Sample 1 is scaled by 12, its raw offsets with it.
    np.testing.assert_allclose(offset, maps_last(HEAD["head_offset"]), atol=2e-5, rtol=2e-5)
    box, _ = decode_boxes(score, size, offset)
    np.testing.assert_allclose(box, HEAD["head_bbox"], atol=1e-5)
    given = detweights.uniform("head/gt", (3, 24, 24)).astype(np.float32)
    box, _ = decode_boxes(given, size, offset)
    np.testing.assert_allclose(box, HEAD["head_bbox_with_gt_score"], atol=1e-5)


def test_decoding_of_corners_ties_and_constant_maps_equals_the_original():
    score = HEAD["cal_score"].reshape(8, 24, 24)
    size, offset = (maps_last(HEAD[f"cal_{name}"]) for name in ("size", "offset"))
    box, index = decode_boxes(score, size, offset)
    np.testing.assert_array_equal(index, HEAD["cal_argmax"])
    np.testing.assert_allclose(box, HEAD["cal_bbox"], atol=1e-6)
    response = score * hann_window(24)
    np.testing.assert_allclose(response, HEAD["cal_hann_response"][:, 0], atol=1e-6)
    box, index = decode_boxes(response, size, offset)
    sure = np.arange(8) != 6  # case 6 is a tie up to rounding
    np.testing.assert_array_equal(index[sure], HEAD["cal_hann_argmax"][sure])
    np.testing.assert_allclose(box[sure], HEAD["cal_hann_bbox"][sure], atol=1e-6)


def test_window_equals_the_original():
    for grid in (16, 24):
        np.testing.assert_allclose(hann_window(grid), HEAD[f"hann2d_{grid}"][0, 0], atol=1e-6)


def test_batch_norm_trains_as_pytorch_does():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (2, 3, 3, 4)).astype(np.float32)
    scale, bias = rng.normal(size=(2, 4)).astype(np.float32)
    variables = {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": np.ones(4, np.float32), "var": np.full(4, 5, np.float32)},
    }
    out, new = BatchNorm().apply(variables, x, train=True, mutable="batch_stats")
    flat = x.reshape(-1, 4).astype(np.float64)
    expected = (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * scale + bias
    np.testing.assert_allclose(out, expected, atol=1e-5)
    stats = new["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.9 + 0.1 * flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["var"], 4.5 + 0.1 * flat.var(0, ddof=1), rtol=1e-6)
    out = BatchNorm().apply(variables, x, train=False)
    np.testing.assert_allclose(out, (x - 1) / np.sqrt(5 + 1e-5) * scale + bias, atol=1e-5)


@pytest.mark.torch
def test_batch_norm_equals_pytorchs_over_three_steps():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    theirs = torch.nn.BatchNorm2d(5)
    variables = BatchNorm().init(jax.random.key(0), np.zeros((1, 2, 2, 5)), train=False)
    for _ in range(3):
        x = rng.normal(1, 4, (3, 4, 4, 5)).astype(np.float32)
        out, new = BatchNorm().apply(variables, x, train=True, mutable="batch_stats")
        variables = variables | new
        expected = theirs(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().numpy()
        np.testing.assert_allclose(out, maps_last(expected), atol=1e-5)
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], theirs.running_mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], theirs.running_var, rtol=1e-5)
