import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import detweights
from esat_jax.exporting.compare import largest_differences
from esat_jax.exporting.description import read_description
from esat_jax.exporting.files import export_tracker
from esat_jax.models.esat import inference_variables
from esat_jax.tracker import make_search_step
from tiny_tracker import make_tiny

# What a program needs that has JAX and the folder, and nothing of this project.
PROGRAM = """
import json, sys
import jax, numpy as np
from jax import export
folder, crops, found = sys.argv[1:]
values = dict(np.load(crops))
for graph in json.load(open(f"{folder}/export.json"))["graphs"].values():
    exported = export.deserialize(bytearray(open(f"{folder}/{graph['file']}", "rb").read()))
    inputs = [values[x["name"]] for x in graph["inputs"]]
    assert [(list(x.shape), x.dtype) for x in exported.in_avals] == [
        (x["shape"], x["dtype"]) for x in graph["inputs"]]
    assert exported.platforms == ("cpu", "cuda", "tpu")
    values.update(zip(graph["outputs"], exported.call(*inputs)))
assert not any(name.startswith(("esat_jax", "flax")) for name in sys.modules)
np.savez(found, box_cxcywh=values["box_cxcywh"], score=values["score"])
"""


@pytest.fixture(scope="module")
def tracker():
    config, variables = make_tiny()
    return config.to_dict(), variables


@pytest.fixture(scope="module")
def folder(tracker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "stablehlo"
    export_tracker(folder, *tracker, target="stablehlo", dtype="float32")
    return folder


def test_a_program_without_this_project_runs_the_graphs(tracker, folder, tmp_path):
    config, variables = tracker
    image = detweights.smooth_image("export", 64, 64, cells=(16, 8))
    crops = {name: image[None, : config[name]["size"], : config[name]["size"]]
             for name in ("template", "search")}  # fmt: skip
    np.savez(tmp_path / "crops.npz", **crops)
    arguments = [str(path) for path in (folder, tmp_path / "crops.npz", tmp_path / "found.npz")]
    command = [sys.executable, "-I", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    step = jax.jit(make_search_step(config))
    box_cxcywh, score = step(inference_variables(variables, config), *crops.values())
    np.testing.assert_allclose(found["box_cxcywh"], box_cxcywh, atol=1e-5)
    np.testing.assert_allclose(found["score"], score, atol=1e-5)


def test_the_comparison_sees_other_weights(tracker, folder):
    config, variables = tracker
    box_px, score = largest_differences(folder, *tracker, target="stablehlo", pairs=2)
    assert 0 <= box_px < 0.01
    assert 0 <= score < 1e-4
    other = jax.tree.map(lambda x: 1.2 * x, variables)
    box_px, score = largest_differences(folder, config, other, target="stablehlo", pairs=2)
    assert box_px > 0.1
    assert score > 1e-3


def test_the_description_holds_the_configuration(tracker, folder):
    description = read_description(folder, "stablehlo")
    assert description["config"] == json.loads(json.dumps(tracker[0]))
    assert description["dtype"] == "float32"
    assert {file.name for file in folder.iterdir()} == {
        "template.stablehlo", "search.stablehlo", "export.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "export.json").unlink(), "there is no whole export here"),
        (lambda folder: (folder / "export.json").write_text("[]"), "there is no whole export here"),
        (lambda folder: (folder / "search.stablehlo").unlink(), "search.stablehlo: missing or"),
        (lambda folder: (folder / "template.stablehlo").write_bytes(b"x"), "export it again"),
    ],
)
def test_an_export_that_is_not_whole_is_refused(folder, tmp_path, harm, words):
    copy = shutil.copytree(folder, tmp_path / "copy")
    harm(copy)
    with pytest.raises(ValueError, match=words):
        read_description(copy, "stablehlo")


def test_an_export_for_something_else_is_refused(folder):
    with pytest.raises(ValueError, match="this is an esat-jax export, stablehlo; onnx was exp"):
        read_description(folder, "onnx")


def test_types_that_a_target_lacks_are_refused(tracker, tmp_path):
    with pytest.raises(ValueError, match="onnx is written in float32 or float16, not in bfloat16"):
        export_tracker(tmp_path / "new", *tracker, target="onnx", dtype="bfloat16")
    assert not (tmp_path / "new").exists()
