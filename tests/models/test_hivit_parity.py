"""HiViT-B against AQATrack's backbone, stage by stage."""

import jax
import numpy as np

import detweights
from esat_jax.models.esat import make_model
from esat_jax.torch_weights import load_state_dict
from parity import FIXTURES, flat_intermediates, network_inputs, read_config, read_manifest

FIXTURE = np.load(FIXTURES / "aqatrack_hivit_256.npz")


def test_every_stage_and_block_equals_the_original():
    config = read_config("esat_hivit_b256", "t5_baseline")
    head = [entry for entry in read_manifest("ostrack_vitb_256") if entry[0].startswith("box_head")]
    state = detweights.state(read_manifest("aqatrack_hivit_base_256_backbone"))
    for key, shape, dtype, _ in head:  # any values: the fixture holds the backbone's alone
        narrow = [512 if size == 768 else size for size in shape]
        state[key] = detweights.tensor(key, narrow, dtype)
    variables, _ = load_state_dict(state, config)
    model = make_model(config.to_dict())
    apply = jax.jit(
        lambda v, z, x: model.apply(
            v, z, x, mutable="intermediates", capture_intermediates=lambda *_: True
        )
    )
    out, collected = apply(variables, *network_inputs(FIXTURE, 256))
    seen = flat_intermediates(collected)
    close = {"atol": 1e-4, "rtol": 0}
    np.testing.assert_allclose(out.tokens[..., ::8], FIXTURE["feat_sub"], **close)
    np.testing.assert_allclose(out.tokens[1], FIXTURE["feat_full_sample1"], **close)
    np.testing.assert_allclose(out.tokens.mean(-1), FIXTURE["feat_mean"], **close)
    rms = np.sqrt((np.asarray(out.tokens) ** 2).mean(-1))
    np.testing.assert_allclose(rms, FIXTURE["feat_rms"], **close)
    stages = {  # fixture name -> module, channel step
        "patch_embed": ("patch_norm", 1),
        "block0": ("stage_1/block_0", 1),
        "stage1_end": ("stage_1", 1),
        "merge1": ("merge_1", 2),
        "stage2_end": ("stage_2", 2),
        "merge2": ("merge_2", 2),
    }
    for side, role in enumerate(("template", "search")):
        at = FIXTURE[f"{role}_tokens"]
        for name, (module, step) in stages.items():
            values = seen[f"backbone/{module}/__call__"][side][:, at, ..., ::step]
            np.testing.assert_allclose(values, FIXTURE[f"{name}_{role}"], **close)
        for layer in range(20):
            tokens, _ = seen[f"backbone/encoder/block_{layer:02d}/__call__"][0]
            tokens = tokens[:, at + 64 * side, ::8]
            np.testing.assert_allclose(tokens, FIXTURE[f"main_block_{role}"][layer], **close)
