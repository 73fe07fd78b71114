"""What the report shows of the network, against the network's own outputs and the equations."""

import jax
import numpy as np
import pytest

import detweights
from esat_jax.models.esat import make_model
from esat_jax.report.network_views import main_components, make_viewer
from tiny_tracker import make_tiny

BOX = np.array([0.5, 0.5, 0.4, 0.6], np.float32)


def cosines(rows):
    rows = np.asarray(rows, np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


@pytest.fixture(scope="module")
def seen():
    config, variables = make_tiny(**{"fda.alpha": 0.3, "fda.beta": 0.2, "backbone.depth": 3})
    config = config.to_dict()
    variables["params"]["position_head"]["absolute"]["kernel"][:] = 0
    crops = [
        detweights.smooth_image(name, config[name]["size"], config[name]["size"], cells=(16, 8))
        for name in ("template", "search")
    ]
    return config, variables, crops, make_viewer(config, variables)(*crops, BOX)


@pytest.fixture(scope="module")
def outputs(seen):
    """Of the network itself: as it tracks, with what its layers gave, and without elimination."""
    config, variables, crops, _ = seen
    model, crops = make_model(config), [crop[None] for crop in crops]

    def run(variables, keep_ratio):
        return model.apply(
            variables, *crops, keep_ratio=keep_ratio, train=False, capture_intermediates=True
        )

    run = jax.jit(run, static_argnums=1)
    return run(variables, None), run(variables, 1.0)[0]


def test_the_network_is_not_changed_by_looking(seen, outputs):
    views, (tracked, _) = seen[3], outputs[0]
    np.testing.assert_array_equal(views.kept, tracked.kept[0])
    np.testing.assert_allclose(views.score_map, tracked.score_map[0], atol=1e-6)
    assert 0 < views.kept.sum() < views.kept.size
    assert np.isnan(views.features[~views.kept.reshape(views.score_map.shape)]).all()


def test_features_and_positions_are_compared_by_their_angle(seen, outputs):
    config, variables, _, views = seen
    np.testing.assert_allclose(views.output_similarity, cosines(outputs[1].tokens[0]), atol=1e-5)
    backbone = variables["params"]["backbone"]
    positions = [backbone[f"pos_embed_{name}"][0] for name in ("template", "search")]
    np.testing.assert_allclose(
        views.position_similarity, cosines(np.concatenate(positions)), atol=1e-5
    )
    side = config["template"]["size"] // config["backbone"]["patch_size"]
    assert views.num_template == side**2
    embedded = outputs[0][1]["intermediates"]["backbone"]["patch_embed"]["__call__"]
    patches = [np.asarray(each).reshape(-1, each.shape[-1]) for each in embedded]
    tokens = np.concatenate([a + b for a, b in zip(patches, positions, strict=True)])
    np.testing.assert_allclose(views.input_similarity, cosines(tokens), atol=1e-5)


def test_attention_is_that_of_the_last_block(seen, outputs):
    """Worked out from the block's query, key and value with Eq. 5-7."""
    config, _, _, views = seen
    block = outputs[0][1]["intermediates"]["backbone"]["encoder"]
    last = f"block_{config['backbone']['depth'] - 1:02d}"
    qkv = np.asarray(block[last]["attention"]["qkv"]["__call__"][0][0], np.float64)
    heads = config["backbone"]["heads"]
    query, key, _ = qkv.reshape(len(qkv), 3, heads, -1).transpose(1, 2, 0, 3)
    fda = config["fda"]
    forces = fda["delta"] * ((query[:, :, None] - key[:, None]) ** 2).sum(axis=-1)
    logits = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
    logits += fda["alpha"] * np.exp(-forces) - fda["beta"] * forces
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    centre = range(4)  # the template has 2 x 2 tokens, all in its middle
    cells = block["kept_cells"][0][0]  # of the block before, in the order of its tokens
    assert len(cells) < views.kept.size
    expected = np.zeros(views.kept.size)
    expected[cells] = weights[:, centre, 4:].mean(axis=(0, 1))
    np.testing.assert_allclose(views.attention.ravel(), expected, rtol=1e-4)


def test_predictions_that_are_the_same_overlap_wholly(seen):
    absolute, sign = seen[3].absolute_similarity, seen[3].sign_similarity
    np.testing.assert_allclose(absolute, 1, atol=1e-5)  # its kernel is zero
    np.testing.assert_allclose(np.diag(sign), 1, atol=1e-5)
    np.testing.assert_allclose(sign, sign.T, atol=1e-6)
    assert 0.1 < sign.min() < 0.99


def test_weights_without_a_position_head_have_no_learned_positions(seen):
    config, variables, crops, views = seen
    params = {name: part for name, part in variables["params"].items() if name != "position_head"}
    config = config | {"ce": config["ce"] | {"layers": (), "keep_ratio": ()}}
    bare = make_viewer(config, variables | {"params": params})(*crops, BOX)
    assert bare.absolute_similarity is None
    assert bare.sign_similarity is None
    assert bare.kept.all()
    np.testing.assert_allclose(bare.output_similarity, views.output_similarity, atol=1e-5)
    assert bare.attention.min() > 0


def test_main_components_tell_groups_apart():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, 64)
    tokens = rng.normal(size=(64, 16)) * 0.01 + groups[:, None] * np.linspace(-1, 1, 16)
    kept = rng.random(64) < 0.7
    found = main_components(tokens, kept)
    assert np.isnan(found[~kept]).all()
    first = found[kept, 0]
    one, other = first[groups[kept] == 0], first[groups[kept] == 1]
    assert abs(one.mean() - other.mean()) > 0.9
    assert ((found[kept] >= 0) & (found[kept] <= 1)).all()
