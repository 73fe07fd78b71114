"""The arrows of docs/architecture.md: what each folder may import."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
CV2_TOO = {"numpy", "cv2", "esat_jax"}
ALLOWED = {  # folder or file -> what it may import besides the standard library; the longest rules
    "configs": {"ml_collections", "configs"},
    # never jax: it claims GPU memory
    "data_pipeline": {"numpy", "cv2", "grain", "array_record", "data_pipeline"},
    "data_pipeline/batches.py": {"numpy", "cv2", "grain", "absl", "data_pipeline"},  # its flags
    "esat_jax": {
        *("numpy", "jax", "ml_dtypes", "flax", "optax", "orbax", "ml_collections", "safetensors"),
        *("absl", "tensorboardX", "tqdm", "torch", "esat_jax"),
    },
    "esat_jax/adapters": {"numpy", "esat_jax", "got10k", "PIL", "trax"},
    "esat_jax/drawing.py": CV2_TOO,
    "esat_jax/frame_sinks.py": CV2_TOO,
    "esat_jax/frame_sources.py": CV2_TOO,
    "esat_jax/exporting": {"numpy", "jax", "flax", "onnx", "onnxruntime", "esat_jax"},
    # for computers without JAX
    "esat_jax/exporting/description.py": set(),
    "esat_jax/exporting/onnx_tracker.py": {
        *("numpy", "onnxruntime", "data_pipeline.crop", "esat_jax.target"),
        "esat_jax.exporting.description",
    },
    "esat_jax/follower.py": {"numpy", "esat_jax", "data_pipeline.crop"},
    "esat_jax/target.py": {"numpy", "esat_jax", "data_pipeline.crop"},
    "esat_jax/tracker.py": {"numpy", "jax", "esat_jax", "data_pipeline.crop"},
    "esat_jax/evaluation": {
        *("numpy", "jax", "tqdm", "absl", "esat_jax"),
        *("data_pipeline.crop", "data_pipeline.annotations"),
    },
    "esat_jax/ops": {"numpy", "jax", "esat_jax.ops"},
    "esat_jax/models": {"numpy", "jax", "flax", "esat_jax.ops", "esat_jax.models"},
}


def python_files(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


LIBRARY = python_files("configs", "data_pipeline", "esat_jax")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed_in(name):
    return ALLOWED[max((key for key in ALLOWED if f"{name}/".startswith(f"{key}/")), key=len)]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path):
    allowed = allowed_in(path.relative_to(ROOT).as_posix()) | sys.stdlib_module_names
    for name in imported(path):
        parts = name.split(".")
        prefixes = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        assert prefixes & allowed, f"may not import {name}"


@pytest.mark.parametrize(
    ("folders", "closed"),
    [
        (("configs", "data_pipeline", "esat_jax"), {"launch", "tests"}),
        (("launch", "benchmarks"), {"tests"}),
    ],
)
def test_nobody_imports_the_tests_or_from_below_the_launch_tools(folders, closed):
    closed = closed | {path.stem for path in (ROOT / "tests").glob("*.py")}
    for path in python_files(*folders):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & closed, f"{path.relative_to(ROOT)} imports {sorted(roots & closed)}"
