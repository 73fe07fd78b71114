import json
import os
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from esat_jax.torch_archive import write_torch_file
from esat_jax.weights import (
    load_initial_paths,
    load_weights,
    random_part,
    read_safetensors,
    save_weights,
)

VARIABLES = {
    "params": {
        "backbone": {"norm": {"scale": jnp.arange(3.0), "bias": np.zeros((2, 3), np.float32).T}},
        "half": jnp.ones(2, jnp.bfloat16),
    },
    "batch_stats": {"mean": np.float32(2.5)},
    "torch": {"backbone.cls_token": np.ones((1, 1, 4)), "counter": np.array(7, np.int64)},
}
CONFIG = {"backbone": {"name": "vit", "rate": 0.1}, "layers": (3, (6, 9)), "none": None, "on": True}


def write_raw(path, header, data=bytes(16)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_variables_and_config_come_back_as_they_were(tmp_path):
    save_weights(tmp_path / "x.safetensors", VARIABLES, CONFIG)
    variables, config = load_weights(tmp_path / "x.safetensors")
    assert config == CONFIG
    assert variables.keys() == VARIABLES.keys()
    norm, torch = variables["params"]["backbone"]["norm"], variables["torch"]
    np.testing.assert_array_equal(norm["scale"], [0.0, 1.0, 2.0])
    assert norm["bias"].shape == (3, 2)
    assert variables["params"]["half"].dtype == jnp.bfloat16
    assert variables["batch_stats"]["mean"] == 2.5
    assert (torch["counter"].dtype, torch["counter"].shape, torch["counter"]) == (np.int64, (), 7)
    np.testing.assert_array_equal(torch["backbone.cls_token"], np.ones((1, 1, 4)))


def test_other_programs_see_slashed_names_and_true_values(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3).T  # stored column by column
    save_weights(tmp_path / "x.safetensors", {"params": {"dense": {"kernel": kernel}}}, CONFIG)
    arrays = load_file(tmp_path / "x.safetensors")
    assert list(arrays) == ["params/dense/kernel"]
    np.testing.assert_array_equal(arrays["params/dense/kernel"], [[0, 3], [1, 4], [2, 5]])
    _, metadata = read_safetensors(tmp_path / "x.safetensors")
    assert metadata["format"] == "esat-jax"
    assert json.loads(metadata["config"])["layers"] == [3, [6, 9]]


def test_the_same_weights_make_the_same_file_to_the_byte(tmp_path):
    config = CONFIG | {"quotes": 'a "b" \\ \n \x07 \x7f Größe 目'}
    files = []
    for i in range(8):  # three keys have six orders
        save_weights(tmp_path / f"{i}.safetensors", VARIABLES, config, ["params/half"])
        files.append((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(set(files)) == 1
    assert load_weights(tmp_path / "7.safetensors")[1] == config
    assert load_file(tmp_path / "7.safetensors").keys() >= {"params/half", "torch/counter"}


def test_others_may_read_the_file_as_far_as_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        save_weights(tmp_path / "x.safetensors", {"params": {"a": np.zeros(1)}}, CONFIG)
    finally:
        os.umask(old)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, {"params": {"a": np.zeros(1)}}, CONFIG)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        save_weights(path, VARIABLES, {"object": object()})
    assert list(tmp_path.iterdir()) == [path]
    assert load_weights(path)[1] == CONFIG


def test_what_was_never_trained_is_remembered(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, VARIABLES, CONFIG)
    assert load_initial_paths(path) == []
    initial = ["params/half", "batch_stats/mean"]
    save_weights(path, VARIABLES, CONFIG, initial)
    assert load_initial_paths(path) == sorted(initial)
    assert load_weights(path)[1] == CONFIG


@pytest.mark.parametrize("text", ["{", "3", '["a"]', "[3]"])
def test_a_damaged_list_of_initial_values_is_refused(tmp_path, text):
    metadata = {"format": "esat-jax", "config": "{}", "initial_paths": text}
    header = {"__metadata__": metadata, "params/a": FLOATS}
    with pytest.raises(ValueError, match=r"x\.safetensors: its list of initial values is"):
        load_initial_paths(write_raw(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        ([], ""),
        (["position_head"], ""),
        (["backbone", "position_head"], "a part of the backbone"),
        (["position_head", "box_head", "backbone"], "the box head"),
    ],
)
def test_only_what_tracks_is_called_random(modules, words):
    assert random_part([f"params/{name}/conv/kernel" for name in modules]) == words


def test_pytorch_files_are_pointed_to_the_converter(tmp_path):
    path = tmp_path / "OSTrack_ep0300.pth.tar"
    write_torch_file(path, {"net": {"a": np.zeros(1, np.float32)}})
    with pytest.raises(ValueError, match=r"tar: .*no esat-jax weights; .*launch\.convert_weights"):
        load_weights(path)


FLOATS = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
OURS = {"format": "esat-jax", "config": "{}"}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "not read as a safetensors file"),
        (b'{"a": 1', "not read as a safetensors file"),
        ({"a": FLOATS | {"data_offsets": [0, 2**40]}}, "not read as a safetensors file"),
        ({"a": FLOATS | {"shape": [2**62, 4]}}, "not read as a safetensors file"),
        ({"a": FLOATS | {"data_offsets": [4, 20]}}, "not read as a safetensors file"),
        ({"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}, "float8"),
        ({"a": FLOATS}, "not written by esat-jax"),
        ({"__metadata__": {"format": "pt"}, "a": FLOATS}, "not written by esat-jax"),
        ({"__metadata__": {"format": "esat-jax"}, "params/a": FLOATS}, "damaged"),
        ({"__metadata__": OURS | {"config": "{"}, "params/a": FLOATS}, "damaged"),
        ({"__metadata__": OURS | {"config": "3"}, "params/a": FLOATS}, "damaged"),
    ],
)
def test_files_that_are_not_ours_are_refused_in_one_sentence(tmp_path, header, message):
    path = write_raw(tmp_path / "x.safetensors", header)
    with pytest.raises(ValueError, match=rf"x\.safetensors: .*{message}.*\.$"):
        load_weights(path)


def test_names_that_contradict_each_other_are_refused(tmp_path):
    two = FLOATS | {"shape": [2]}
    header = {
        "__metadata__": OURS,
        "params/a": two | {"data_offsets": [0, 8]},
        "params/a/b": two | {"data_offsets": [8, 16]},
    }
    with pytest.raises(ValueError, match="damaged"):
        load_weights(write_raw(tmp_path / "x.safetensors", header))


def test_a_truncated_or_missing_file_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, VARIABLES, CONFIG)
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"x\.safetensors: not read"):
            load_weights(path)
    for missing in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such file"):
            load_weights(missing)
