"""Numbers computed by hand, and what reads the file afterwards."""

import json

import numpy as np
import pytest
from flax import traverse_util
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from esat_jax.compressed_weights import compressed, expanded
from esat_jax.weights import load_initial_paths, load_weights, save_weights

KERNEL = "params/backbone/encoder/block_00/mlp/fc_1/kernel"
POSITIONS = "params/backbone/pos_embed_search"
PATCHES = "params/backbone/patch_embed/kernel"
LAST = "params/box_head/size/conv_5/kernel"
BIAS = "params/box_head/size/conv_5/bias"
VARIANCE = "batch_stats/box_head/size/norm_1/var"


def arrays():
    rng = np.random.default_rng(0)
    shapes = {KERNEL: (24, 40), "params/box_head/size/conv_1/kernel": (3, 3, 8, 5)}
    shapes |= {POSITIONS: (1, 9, 24), PATCHES: (4, 4, 3, 24), LAST: (1, 1, 8, 2)}
    shapes |= {BIAS: (2,), VARIANCE: (8,), "params/position_head/pos_neg/kernel": (4, 2)}
    shapes |= {"batch_stats/position_head/tower/norm_1/var": (4,), "torch/backbone.pos": (3, 3)}
    return {path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}


def test_a_kernel_becomes_the_nearest_127ths_of_each_outputs_largest():
    kernel = np.array([[12.7, -1, 0], [0.04, 0.5, 0], [-0.06, 0.2545, 0], [3.149, 0, 0]], "f")
    small = compressed({KERNEL: kernel}, "int8")
    assert small[KERNEL].dtype == np.int8
    np.testing.assert_array_equal(
        small[KERNEL], [[127, -127, 0], [0, 64, 0], [-1, 32, 0], [31, 0, 0]]
    )
    scales = small[f"scales/{KERNEL}"]
    assert scales.dtype == np.float32
    np.testing.assert_allclose(scales, [0.1, 1 / 127, 0], rtol=1e-6)
    again = expanded(small)[KERNEL]
    assert again.dtype == np.float32
    np.testing.assert_allclose(again[:, 0], [12.7, 0, -0.1, 3.1], rtol=1e-6)
    np.testing.assert_allclose(again[:, 1], [-1, 64 / 127, 32 / 127, 0], rtol=1e-6)
    np.testing.assert_array_equal(again[:, 2], 0)


def test_every_kind_of_array_is_stored_as_it_bears():
    small = compressed(arrays(), "int8")
    assert {path: str(value.dtype) for path, value in small.items()} == {
        KERNEL: "int8",
        f"scales/{KERNEL}": "float32",
        "params/box_head/size/conv_1/kernel": "int8",
        "scales/params/box_head/size/conv_1/kernel": "float32",
        POSITIONS: "float16",
        PATCHES: "float16",
        LAST: "float16",
        BIAS: "float32",
        VARIANCE: "float32",
    }
    assert small["scales/params/box_head/size/conv_1/kernel"].shape == (5,)
    small = compressed(arrays(), "float16")
    assert {path for path in small if small[path].dtype == np.float32} == {BIAS, VARIANCE}
    assert {path for path in small if small[path].dtype == np.float16} == small.keys() - {
        BIAS,
        VARIANCE,
    }


def test_numbers_come_back_within_half_a_step():
    before, after = arrays(), expanded(compressed(arrays(), "int8"))
    assert all(value.dtype == np.float32 for value in after.values())
    assert after.keys() == {p for p in before if "position_head" not in p and p[:5] != "torch"}
    step = np.abs(before[KERNEL]).max(axis=0) / 127
    error = np.abs(after[KERNEL] - before[KERNEL])
    assert (error <= step * 0.500001).all()
    assert error.max() > 0.4 * step.min()
    np.testing.assert_allclose(after[POSITIONS], before[POSITIONS], rtol=2**-11, atol=2**-25)
    np.testing.assert_array_equal(after[VARIANCE], before[VARIANCE])


def test_compressing_again_changes_nothing_more():
    once = expanded(compressed(arrays(), "int8"))
    twice = expanded(compressed(once, "int8"))
    for path, value in once.items():
        np.testing.assert_allclose(twice[path], value, rtol=3e-7, err_msg=path)


def test_floats_of_16_bits_and_numbers_too_small_to_divide_are_compressed():
    half = {KERNEL: np.array([[1, 2**-24], [-0.5, 0]], np.float16)}
    np.testing.assert_allclose(
        expanded(compressed(half, "int8"))[KERNEL], [[1, 2**-24], [-64 / 127, 0]], rtol=1e-6
    )
    tiny = {KERNEL: np.full((2, 2), 1e-40, np.float32)}
    np.testing.assert_allclose(expanded(compressed(tiny, "int8"))[KERNEL], 0, atol=2e-40)


@pytest.mark.parametrize(
    ("path", "value", "kernels", "message"),
    [
        (KERNEL, np.nan, "int8", f"{KERNEL} has numbers that are not finite"),
        (VARIANCE, np.inf, "int8", f"{VARIANCE} has numbers that are not finite"),
        (POSITIONS, 7e4, "int8", f"{POSITIONS} has numbers that are too large for float16"),
        (KERNEL, 7e4, "float16", f"{KERNEL} has numbers that are too large for float16"),
        (KERNEL, 1, "int4", "kernels become int8 or float16; got 'int4'"),
    ],
)
def test_what_cannot_be_compressed_is_named(path, value, kernels, message):
    changed = arrays()
    changed[path].flat[1] = value
    with pytest.raises(ValueError, match=f"^{message}$"):
        compressed(changed, kernels)


# ------------------------------------------------------------------ the file

CONFIG = {"backbone": {"name": "vit"}, "layers": (3, 6)}


def save_compressed(path, **options):
    variables = traverse_util.unflatten_dict(arrays(), sep="/")
    save_weights(path, variables, CONFIG, compression="int8", **options)
    return path


def test_a_compressed_file_is_read_as_any_other(tmp_path):
    initial = [LAST, "params/position_head/pos_neg/kernel"]
    path = save_compressed(tmp_path / "x.safetensors", initial_paths=initial)
    variables, config = load_weights(path)
    assert config == CONFIG
    flat = traverse_util.flatten_dict(variables, sep="/")
    raw = load_file(path)  # by hand, as another program would
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    assert metadata["compression"] == "int8"
    assert json.loads(metadata["config"])["layers"] == [3, 6]
    assert flat.keys() == {name for name in raw if not name.startswith("scales/")}
    for name, value in flat.items():
        expected = raw[name].astype(np.float32)
        if raw[name].dtype == np.int8:
            expected = expected * raw[f"scales/{name}"]
        assert (value.dtype, value.tobytes()) == (np.float32, expected.tobytes()), name
    assert load_initial_paths(path) == [LAST]


def test_compressing_twice_makes_the_same_file(tmp_path):
    files = {save_compressed(tmp_path / f"{i}.safetensors").read_bytes() for i in range(4)}
    assert len(files) == 1


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"scales/{KERNEL}", None, f"{KERNEL} has integers and no scales/{KERNEL}"),
        (KERNEL, None, f"scales/{KERNEL} has no kernel"),
        (f"scales/{KERNEL}", np.ones(39, "f"), r"should be float32 \(40,\), but is float32 \(39,"),
        (f"scales/{KERNEL}", np.ones(40, "e"), r"should be float32 \(40,\), but is float16 \(40,"),
        (f"scales/{KERNEL}", np.full(40, np.nan, "f"), "scales/.* has numbers that are not finite"),
        (POSITIONS, np.full(3, np.inf, "e"), f"{POSITIONS} has numbers that are not finite"),
        (BIAS, np.ones(2), f"{BIAS} should be int8, float16 or float32, but is float64"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, path, value, message):
    file = save_compressed(tmp_path / "x.safetensors")
    raw = {k: v for k, v in load_file(file).items() if k != path}
    raw |= {} if value is None else {path: value}
    save_file(raw, file, {"format": "esat-jax", "config": "{}", "compression": "int8"})
    with pytest.raises(ValueError, match=rf"x\.safetensors: this compressed .*{message}.*\.$"):
        load_weights(file)


def test_a_truncated_file_and_another_versions_are_refused(tmp_path):
    file = save_compressed(tmp_path / "x.safetensors")
    raw, whole = load_file(file), file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"x\.safetensors: not read as a safetensors file"):
        load_weights(file)
    save_file(raw, file, {"format": "esat-jax", "config": "{}", "compression": "int4"})
    with pytest.raises(ValueError, match=r"compression is 'int4', .* int8 and float16; use a new"):
        load_weights(file)
