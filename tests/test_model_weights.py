import jax
import numpy as np
import pytest
from flax import traverse_util

from configs import esat_vit_b256
from esat_jax.initial_variables import initial_variables
from esat_jax.model_weights import NEEDED_KEYS, load_model_weights
from esat_jax.tracker import Tracker
from esat_jax.weights import save_weights

CONFIG = esat_vit_b256.get_config("smoke").to_dict()
BIAS = "params/box_head/score/conv_2/bias"


@pytest.fixture(scope="module")
def flat():
    return traverse_util.flatten_dict(initial_variables(CONFIG, seed=0), sep="/")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


def save(path, flat, config=CONFIG):
    save_weights(path, traverse_util.unflatten_dict(flat, sep="/"), config)


def test_whole_files_are_read_with_and_without_what_training_alone_needs(path, flat):
    kept = {"torch/backbone.cls_token": np.zeros((1, 1, 128), np.float32)}
    save(path, flat | kept)
    assert len(jax.tree.leaves(load_model_weights(path)[0])) == len(flat) + 1
    save(path, {name: value for name, value in flat.items() if "position_head" not in name})
    assert "position_head" not in load_model_weights(path)[0]["params"]


def change(**values):
    return lambda flat: flat | {k.replace("__", "/"): v for k, v in values.items()}


def drop(prefix):
    return lambda flat: {k: v for k, v in flat.items() if not k.startswith(prefix)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop(BIAS), f"{BIAS} missing"),
        (drop("batch_stats/box_head"), r"batch_stats/box_head/\S+, .* and \d+ more missing"),
        (drop("params/position_head/search_tower"), r"params/position_head/\S+, .* missing"),
        (change(params__extra=np.zeros(1)), "params/extra without a place in the model"),
        (change(ema__extra=np.zeros(1)), "ema/extra without a place in the model"),
        (lambda flat: flat | {BIAS: np.zeros(3)}, rf"{BIAS} is \(3,\) and should be \(16,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named_in_one_sentence(path, flat, damage, message):
    save(path, damage(flat))
    with pytest.raises(ValueError, match=rf"x\.safetensors: the arrays do not fit .*{message}\.$"):
        Tracker.from_weights(path)


def without_key(dotted):
    flat = traverse_util.flatten_dict(CONFIG, sep=".")
    return traverse_util.unflatten_dict(
        {key: value for key, value in flat.items() if key != dotted}, sep="."
    )


@pytest.mark.parametrize("key", NEEDED_KEYS)
def test_a_config_without_a_needed_key_is_of_another_version(path, key):
    save(path, {BIAS: np.zeros(1)}, without_key(key))
    with pytest.raises(ValueError, match=rf"written by another version: .* lacks {key}\.$"):
        load_model_weights(path)


def test_no_other_key_is_needed_to_track(path, flat):
    keys = traverse_util.flatten_dict(CONFIG, sep=".")
    needed = {key: keys[key] for key in NEEDED_KEYS}
    save(path, flat, traverse_util.unflatten_dict(needed, sep="."))
    tracker = Tracker.from_weights(path)
    frame = np.zeros((90, 120, 3), np.uint8)
    tracker.initialize(frame, (40, 30, 20, 20))
    assert np.isfinite(tracker.update(frame).score)


def test_a_config_that_is_no_config_lacks_everything(path, flat):
    save(path, flat, {"backbone": 3})
    with pytest.raises(ValueError, match=r"lacks compute_dtype, backbone\.name, .* more\.$"):
        Tracker.from_weights(path)


def test_a_config_of_no_model_names_the_file(path, flat):
    save(path, flat, CONFIG | {"compute_dtype": "int8"})
    with pytest.raises(ValueError, match=r"x\.safetensors: compute_dtype is one of"):
        Tracker.from_weights(path)
