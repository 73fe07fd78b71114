import jax
import numpy as np
import pytest

from configs import esat_vit_b256, esat_vit_b384
from esat_jax.initial_variables import initial_values, initial_variables, variable_shapes
from esat_jax.models.esat import make_model

SMOKE = esat_vit_b256.get_config("smoke").to_dict()


def test_shapes_are_those_of_ostrack_and_its_parameter_count():
    shapes = variable_shapes(esat_vit_b384.get_config("t2_baseline").to_dict())
    assert shapes["params/backbone/pos_embed_search"] == (1, 576, 768)
    assert shapes["batch_stats/box_head/size/norm_4/mean"] == (32,)
    count = sum(np.prod(shape) for path, shape in shapes.items() if path.startswith("params/"))
    assert count == 92_825_733 - 152_064  # OSTrack's less its unused class token and positions


@pytest.mark.parametrize("template_range", ["CTR_POINT", "GT_BOX"])
def test_every_template_range_has_shapes(template_range):
    config = SMOKE | {"ce": SMOKE["ce"] | {"template_range": template_range}}
    assert len(variable_shapes(config)) > 100


def test_values_are_those_of_the_whole_model_and_depend_on_the_seed():
    kernel, mean = "params/position_head/pos_neg/kernel", "batch_stats/box_head/size/norm_4/mean"
    values = initial_values(SMOKE, 1, [kernel, mean])
    assert values.keys() == {kernel, mean}
    np.testing.assert_array_equal(values[mean], np.zeros(4))
    crops = [np.zeros((1, size, size, 3), np.uint8) for size in (32, 64)]
    rngs = {"params": jax.random.key(1), "dropout": jax.random.key(1)}
    model = make_model(SMOKE)
    expected = jax.jit(lambda: model.init(rngs, *crops, train=True)["params"]["position_head"])()
    np.testing.assert_array_equal(values[kernel], expected["pos_neg"]["kernel"])
    whole = initial_variables(SMOKE, seed=1)
    assert whole.keys() == {"params", "batch_stats"}
    assert len(jax.tree.leaves(whole)) == len(variable_shapes(SMOKE))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(whole))
    jax.tree.map(np.testing.assert_array_equal, whole["params"]["position_head"], expected)
    assert not np.array_equal(values[kernel], initial_values(SMOKE, 2, [kernel])[kernel])


def test_unknown_paths_are_named():
    with pytest.raises(ValueError, match="the model has no params/neck/bias"):
        initial_values(SMOKE, 0, ["params/neck/bias", "params/backbone/patch_embed/bias"])
