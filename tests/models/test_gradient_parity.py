"""Gradients of the whole network and loss against the original training code.

The fixture's after/ arrays hold the BatchNorm statistics from before the step (its counters are
0), so running statistics are compared with PyTorch itself, in test_box_head.py.
"""

import jax
import numpy as np
import pytest

from data_pipeline.labels import score_target
from esat_jax.losses import tracking_loss
from esat_jax.models.esat import make_model
from esat_jax.torch_weights import export_state_dict
from parity import FIXTURES, maps_last, network_inputs, ostrack_variables, read_config

FIXTURE = np.load(FIXTURES / "grads_256.npz")
SLICES = {  # what the fixture keeps of large gradients
    "backbone.patch_embed.proj.weight": np.s_[::32, :, ::5, ::5],
    "backbone.pos_embed_z": np.s_[:, ::7, ::32],
    "backbone.pos_embed_x": np.s_[:, ::17, ::32],
    "backbone.blocks.0.attn.qkv.weight": np.s_[::48, ::48],
    "backbone.blocks.11.attn.qkv.weight": np.s_[::48, ::48],
    "backbone.blocks.3.attn.proj.weight": np.s_[::24, ::24],
    "backbone.blocks.6.mlp.fc1.weight": np.s_[::64, ::24],
    "backbone.blocks.9.mlp.fc2.weight": np.s_[::24, ::64],
    "box_head.conv1_ctr.0.weight": np.s_[::16, ::32],
    "box_head.conv1_size.0.weight": np.s_[::16, ::32],
    "box_head.conv3_offset.0.weight": np.s_[::8, ::16],
}


def relative(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize(
    "tag", ["bntrain_keep1", "bntrain_keep07", "bneval_keep1", "bneval_keep07"]
)
def test_losses_and_gradients_equal_the_original(tag):
    fixture = {k.removeprefix(f"{tag}/"): FIXTURE[k] for k in FIXTURE if k.startswith(f"{tag}/")}
    config = read_config("esat_vit_b256", "ostrack")
    config.backbone.drop_path = 0.0
    model, variables = make_model(config.to_dict()), ostrack_variables(256)
    template, search = network_inputs(fixture, 256)
    xywh = fixture["gt_xywh"]
    box_cxcywh = np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1)
    batch = {
        "box_cxcywh": box_cxcywh,
        "score_target": np.stack([score_target(box, 16) for box in box_cxcywh]),
    }
    keep_ratio = {"keep1": 1.0, "keep07": 0.7}[tag.split("_")[1]]

    def forward(params):
        out, _ = model.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            template,
            search,
            keep_ratio=keep_ratio,
            train=tag.startswith("bntrain"),
            mutable="batch_stats",
        )
        total, terms = tracking_loss(out, batch, config.loss)
        return total, (terms, out)

    step = jax.jit(jax.value_and_grad(forward, has_aux=True))
    (total, (terms, out)), grads = step(variables["params"])
    ours = [total, terms["giou"], terms["l1"], terms["focal"], terms["iou"]]
    np.testing.assert_allclose(ours, fixture["losses"], rtol=2e-5)
    np.testing.assert_allclose(out.score_map, fixture["score_map"][:, 0], atol=2e-5)
    np.testing.assert_allclose(out.size_map, maps_last(fixture["size_map"]), atol=2e-5)
    np.testing.assert_allclose(out.offset_map, maps_last(fixture["offset_map"]), atol=2e-5)
    np.testing.assert_allclose(out.box_cxcywh, fixture["pred_boxes"][:, 0], atol=1e-5)
    np.testing.assert_allclose(out.tokens[:, ::5, ::32], fixture["backbone_feat_sub"], atol=1e-4)

    named = {"params": grads, "batch_stats": variables["batch_stats"]}
    state = export_state_dict(named, config, "ostrack")
    total_norm = np.sqrt(sum(np.sum(np.float64(g) ** 2) for g in jax.tree.leaves(grads)))
    np.testing.assert_allclose(total_norm, fixture["grad_total_norm"], rtol=1e-4)
    for i, name in enumerate(FIXTURE["param_names"]):
        norm = fixture["grad_norms"][i]
        # Exactly zero but for rounding: a bias that batch statistics subtract again.
        cancels = tag.startswith("bntrain") and ".0.bias" in str(name)
        if norm < 0 or cancels:  # cls_token and pos_embed: unused
            continue
        value = np.float64(state[str(name)])
        np.testing.assert_allclose(np.linalg.norm(value), norm, rtol=1e-4)
        np.testing.assert_allclose(
            value.sum(), fixture["grad_sums"][i], atol=1e-4 * norm * value.size**0.5
        )
    stored = {
        k.split("/", 1)[1]: v for k, v in fixture.items() if k.startswith(("grad/", "gradslice/"))
    }
    for name, expected in stored.items():
        got = state[name][SLICES.get(name, ...)]
        if tag.startswith("bntrain") and name.endswith(".0.bias"):
            np.testing.assert_allclose(got, expected, atol=1e-5)
        else:
            assert relative(got, expected) < 1e-4, name
