"""The tool runs as users run it: as a program, with a small network."""

import pathlib

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file, save_file

import detweights
from configs import esat_vit_b256, esat_vit_s224
from esat_jax.initial_variables import initial_variables, variable_shapes
from esat_jax.torch_archive import write_torch_file
from esat_jax.torch_pickle import read_torch_file
from esat_jax.torch_weights import export_state_dict
from esat_jax.tracker import Tracker
from esat_jax.weights import load_initial_paths, load_weights, save_weights
from tool_run import run_tool

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = "configs/esat_vit_b256.py:smoke"
SMOKE = esat_vit_b256.get_config("smoke")


def convert(folder, *arguments):
    """Runs the tool in `folder`; the config's path is the repository's."""
    arguments = [a.replace("--config=configs", f"--config={ROOT}/configs") for a in arguments]
    return run_tool(folder, "convert_weights", *arguments)


@pytest.fixture(scope="module")
def ostrack_state():
    """A small tracker in OSTrack's names, with random values."""
    rng, variables = np.random.default_rng(0), {}
    for path, shape in variable_shapes(SMOKE.to_dict()).items():
        *folders, name = path.split("/")
        place = variables
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = rng.random(shape, np.float32)
    return export_state_dict(variables, SMOKE, "ostrack")


def test_a_checkpoint_there_and_back_is_bitwise_the_same(tmp_path, ostrack_state):
    checkpoint = {"epoch": 300, "net_type": "OSTrack", "net": ostrack_state, "optimizer": {}}
    write_torch_file(tmp_path / "OSTrack_ep0300.pth.tar", checkpoint)
    there = convert(
        tmp_path, f"--config={CONFIG}", "--input=OSTrack_ep0300.pth.tar", "--output=x.safetensors"
    )
    assert there.returncode == 0
    assert there.stderr.startswith("WARNING: this model attends with forces (config.fda), but")
    assert there.stderr.endswith("choose --config=FILE:ostrack.\n")
    lines = [line.split() for line in there.stdout.splitlines()]
    assert f"used: {len(ostrack_state)} arrays of the format ostrack".split() in lines
    qkv = "backbone.blocks.*.attn.qkv.weight"
    path = "params/backbone/encoder/block_*/attention/qkv/kernel"
    assert [qkv, path, "transposed", "x", "2"] in lines
    assert "not in the file, initial values: 22\n" in there.stdout
    assert lines[-1] == ["Written:", "x.safetensors"]
    _, config = load_weights(tmp_path / "x.safetensors")
    assert config == SMOKE.to_dict()
    back = convert(tmp_path, "--export=ostrack", "--input=x.safetensors", "--output=y.pth.tar")
    assert (back.returncode, back.stderr) == (0, "")
    assert "left out, the format has no place: 22 of position_head" in back.stdout
    assert "the original computes plain attention" in back.stdout
    result = read_torch_file(tmp_path / "y.pth.tar")
    assert result["net_type"] == "OSTrack"
    assert list(result["net"]) == list(ostrack_state)
    for name, value in ostrack_state.items():
        assert (result["net"][name].tobytes(), result["net"][name].dtype) == (
            value.tobytes(),
            value.dtype,
        ), name
    names = ["OSTrack_ep0300.pth.tar", "x.safetensors", "y.pth.tar"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_the_small_tracker_comes_back_from_torch_with_the_same_boxes(tmp_path):
    config = esat_vit_s224.get_config("smoke")
    config.backbone.target_mark = True
    flat = {
        path: path.endswith(("scale", "var")) + 0.2 * detweights.normal(path, shape)
        for path, shape in variable_shapes(config.to_dict()).items()
    }
    flat = {path: value.astype(np.float32) for path, value in flat.items()}
    variables = traverse_util.unflatten_dict(flat, sep="/")
    save_weights(tmp_path / "x.safetensors", variables, config.to_dict())
    there = convert(tmp_path, "--export=esat", "--input=x.safetensors", "--output=x.pth")
    assert there.returncode == 0, there.stderr
    back = convert(
        tmp_path,
        "--config=configs/esat_vit_s224.py:smoke",
        *("--config.backbone.target_mark=True", "--input=x.pth", "--output=y.safetensors"),
    )
    assert back.returncode == 0, back.stderr
    frames, boxes_xywh = detweights.video("torch", 6, 120, 160, (60, 40, 30, 24), (2, 1))
    found = []
    for name in ("x", "y"):
        tracker = Tracker.from_weights(tmp_path / f"{name}.safetensors")
        tracker.initialize(frames[0], boxes_xywh[0])
        found.append([(*p.box_xywh, p.score) for p in map(tracker.update, frames[1:])])
    np.testing.assert_array_equal(*found)
    assert np.ptp(found[0], axis=0).min() > 0  # boxes and scores change


def test_safetensors_are_exported_and_missing_names_allowed(tmp_path, ostrack_state):
    surplus = ostrack_state | {"backbone.extra": np.zeros(1, np.float32)}
    surplus["position_head.pos_neg.weight"] = np.ones((2, 16), np.float16)
    save_file(surplus, tmp_path / "in.safetensors")
    arguments = [f"--config={CONFIG}", "--input=in.safetensors", "--output=x.safetensors"]
    refused = convert(tmp_path, *arguments)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: in.safetensors: the state dict is not that of")
    assert "position_head.template_tower.conv1.0.weight" in refused.stderr
    assert "backbone.extra without a place" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
    allowed = ("--allow_missing=position_head.*", "--allow_surplus=backbone.ex*")
    done = convert(tmp_path, *arguments, *allowed)
    assert done.returncode == 0, done.stderr
    assert "backbone.extra  left out as asked" in done.stdout
    assert "changed from float16 to float32 of equal value: 1" in done.stdout
    exported = convert(
        tmp_path, "--export=esat", "--input=x.safetensors", "--output=x.safetensors", "--overwrite"
    )
    assert exported.returncode == 0, exported.stderr
    state = load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(state["position_head.pos_neg.weight"], np.ones((2, 16)))
    assert state.keys() > ostrack_state.keys()


def test_positions_of_another_size_are_resized_on_request(tmp_path, ostrack_state):
    save_file(ostrack_state, tmp_path / "in.safetensors")
    arguments = [
        f"--config={CONFIG}", "--config.search.size=96",
        "--input=in.safetensors", "--output=x.safetensors",
    ]  # fmt: skip
    refused = convert(tmp_path, *arguments)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "pos_embed_search is (1, 16, 128) and should be (1, 36, 128)" in refused.stderr
    done = convert(tmp_path, *arguments, "--resize_positions")
    assert done.returncode == 0, done.stderr
    assert "params/backbone/pos_embed_search  (1, 16, 128) -> (1, 36, 128)" in done.stdout


def test_a_tracker_for_its_own_config_has_no_warning(tmp_path):
    config = esat_vit_b256.get_config("ostrack,smoke")
    state = export_state_dict(initial_variables(config.to_dict(), seed=0), config, "ostrack")
    save_file(state, tmp_path / "in.safetensors")
    arguments = [f"--config={ROOT}/configs/esat_vit_b256.py:ostrack,smoke"]
    done = convert(tmp_path, *arguments, "--input=in.safetensors", "--output=x.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert load_initial_paths(tmp_path / "x.safetensors") == []


def test_a_pretrained_backbone_is_no_tracker_yet(tmp_path, ostrack_state):
    mae = {
        name.removeprefix("backbone."): value
        for name, value in ostrack_state.items()
        if name.startswith("backbone.") and "pos_embed_" not in name
    }
    save_file(mae, tmp_path / "in.safetensors")
    done = convert(
        tmp_path, f"--config={CONFIG}", "--input=in.safetensors", "--output=x.safetensors"
    )
    warning = "the box head is random: this is a start for training, not a tracker yet"
    assert (done.returncode, done.stderr) == (0, f"WARNING: {warning}.\n")
    initial = load_initial_paths(tmp_path / "x.safetensors")
    assert {path.split("/")[1] for path in initial} == {"box_head", "position_head"}
    assert "params/box_head/size/conv_5/bias" in initial
    done = convert(tmp_path, "--export=ostrack", "--input=x.safetensors", "--output=y.pth")
    assert (done.returncode, done.stderr) == (
        0, "WARNING: the box head is random: it was not trained yet.\n"
    )  # fmt: skip


def test_wrong_input_is_one_sentence_and_status_1(tmp_path):
    (tmp_path / "bomb.pth").write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
        b"\x80\x02cposix\nsystem\n(X\x0e\x00\x00\x00touch explodedtR.\x80\x02]."
    )
    (tmp_path / "there.safetensors").write_bytes(b"")
    save_weights(tmp_path / "esat.safetensors", {"params": {"a": np.zeros(1)}}, SMOKE.to_dict())
    new, bomb = "--output=new.safetensors", "--input=bomb.pth"
    cases = {
        (f"--config={CONFIG}", bomb, new): "bomb.pth: not read as a PyTorch checkpoint: the pickle "
        "asks for 'posix.system'",
        (f"--config={CONFIG}", bomb, "--output=there.safetensors"): "there.safetensors exists",
        (f"--config={CONFIG}", bomb, "--output=no/x.safetensors"): "no: there is no such folder",
        (f"--config={CONFIG}", bomb, "--output=x.pth"): "written to a .safetensors file",
        (bomb, new): "give --config=FILE",
        ("--export=esat", bomb, "--output=x.bin"): "written to a .pth, .tar or .safetensors",
        ("--export=esat", "--input=esat.safetensors", new): "do not fit the config beside them",
        ("--export=esat", bomb, new): "bomb.pth: not read as a safetensors file",
    }
    for arguments, message in cases.items():
        done = convert(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith("error: "), done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["bomb.pth", "esat.safetensors", "there.safetensors"]
