"""The tool runs as users run it: as a program, with a small network."""

import pathlib

import numpy as np
import pytest
from flax import traverse_util

import detweights
from configs import esat_vit_s224
from esat_jax.initial_variables import variable_shapes
from esat_jax.tracker import Tracker
from esat_jax.weights import load_weights, read_safetensors, save_weights
from tool_run import run_tool

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = esat_vit_s224.get_config("smoke").to_dict()


def flat_weights(path):
    return traverse_util.flatten_dict(load_weights(path)[0], sep="/")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """x.safetensors, a small tracker; y.safetensors, the tool's; and what the tool said."""
    folder = tmp_path_factory.mktemp("compressed")
    flat = {
        path: (path.endswith(("scale", "var")) + 0.2 * detweights.normal(path, shape)).astype("f")
        for path, shape in variable_shapes(CONFIG).items()
    }
    variables = traverse_util.unflatten_dict(flat, sep="/")
    initial = ["params/box_head/size/conv_5/bias"]
    save_weights(folder / "x.safetensors", variables, CONFIG, initial)
    done = run_tool(folder, "compress_weights", "--weights=x.safetensors", "--output=y.safetensors")
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    assert done.stderr == "WARNING: the box head is random: it was not trained yet.\n"
    return folder


def test_the_file_is_small_and_the_table_says_what_became_of_it(folder):
    before, after = flat_weights(folder / "x.safetensors"), flat_weights(folder / "y.safetensors")
    stored, _ = read_safetensors(folder / "y.safetensors")
    kept = {path: value for path, value in before.items() if "position_head" not in path}
    assert after.keys() == kept.keys()
    lines = [line.split() for line in (folder / "said").read_text().splitlines()]
    rows = {" ".join(line[:2]): line[2:] for line in lines if line[0][-1] == ","}
    assert rows.keys() == {
        "kernels, int8", "kernels, float16", "embeddings, float16", "vectors, float32",
    }  # fmt: skip
    integers = [path for path in kept if stored[path].dtype == np.int8]
    count, numbers, megabytes, change = rows["kernels, int8"]
    assert int(count) == len(integers)
    assert int(numbers.replace(",", "")) == sum(kept[path].size for path in integers)
    size = sum(kept[path].size + 4 * kept[path].shape[-1] for path in integers)
    assert float(megabytes) == pytest.approx(size / 1e6, abs=0.005)
    moved = [np.linalg.norm(after[p] - kept[p]) / np.linalg.norm(kept[p]) for p in integers]
    assert float(change) == pytest.approx(max(moved), rel=0.05)
    assert 0 < max(moved) < 0.02
    assert float(rows["vectors, float32"][3]) == 0
    sizes = [(folder / f"{name}.safetensors").stat().st_size / 1e6 for name in "xy"]
    assert f"{sizes[0]:.1f} MB -> {sizes[1]:.1f} MB".split() in lines
    assert f"left out, not for tracking: {len(before) - len(kept)} arrays".split() in lines


def test_the_tracker_and_the_torch_file_have_the_very_same_values(folder):
    """PyTorch's form and back gives the values that the compressed file is read as."""
    there = run_tool(folder, "convert_weights", "--export=esat", "--input=y.safetensors",
                "--output=y.pth")  # fmt: skip
    assert there.returncode == 0, there.stderr
    assert "no position head, which only training uses: load with strict=False" in there.stdout
    config = f"--config={ROOT}/configs/esat_vit_s224.py:smoke"
    back = run_tool(folder, "convert_weights", config, "--input=y.pth", "--output=z.safetensors")
    assert back.returncode == 0, back.stderr
    small, again = flat_weights(folder / "y.safetensors"), flat_weights(folder / "z.safetensors")
    for path, value in small.items():
        assert (again[path].dtype, again[path].tobytes()) == (np.float32, value.tobytes()), path
    tracker = Tracker.from_weights(folder / "y.safetensors")
    frames, boxes_xywh = detweights.video("small", 3, 120, 160, (60, 40, 30, 24), (2, 1))
    tracker.initialize(frames[0], boxes_xywh[0])
    assert all(np.isfinite(tracker.update(frame).score) for frame in frames[1:])


def test_wrong_input_is_one_sentence_and_status_1(folder):
    weights = traverse_util.flatten_dict(load_weights(folder / "x.safetensors")[0], sep="/")
    weights["params/box_head/size/conv_5/bias"][0] = np.nan
    bad = folder / "bad.safetensors"
    save_weights(bad, traverse_util.unflatten_dict(weights, sep="/"), CONFIG)
    x, new = "--weights=x.safetensors", "--output=new.safetensors"
    cases = {
        (x, "--output=new.pth"): "new.pth: esat-jax weights are written to a .safetensors file",
        (x, "--output=y.safetensors"): "y.safetensors exists: choose another --output, or add",
        (x, "--output=no/y.safetensors"): "no: there is no such folder",
        ("--weights=said", new): "said: not read as a safetensors file",
        ("--weights=bad.safetensors", new): "bad.safetensors: params/box_head/size/conv_5/bias has",
    }
    for arguments, message in cases.items():
        done = run_tool(folder, "compress_weights", *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith(f"error: {message}"), done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(folder.glob("*new*"))
