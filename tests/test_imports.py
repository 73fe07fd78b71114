"""The arrows of docs/architecture.md: what each folder may import."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ALLOWED = {  # folder -> what its files may import besides the standard library; longest match rules
    "configs": {"ml_collections", "configs"},
    "data_pipeline": {"numpy", "cv2", "grain", "data_pipeline"},  # never jax: it claims GPU memory
    "esat_jax": {
        *("numpy", "jax", "flax", "optax", "orbax", "ml_collections", "safetensors", "torch"),
        *("absl", "tensorboardX", "tqdm", "esat_jax"),
    },
    "esat_jax/frame_sources.py": {"numpy", "cv2"},
    "esat_jax/tracker.py": {"numpy", "jax", "ml_collections", "esat_jax", "data_pipeline.crop"},
    "esat_jax/evaluation": {
        *("numpy", "jax", "tqdm", "absl", "esat_jax"),
        *("data_pipeline.crop", "data_pipeline.annotations"),
    },
    "esat_jax/ops": {"numpy", "jax", "esat_jax.ops"},
    "esat_jax/models": {"numpy", "jax", "flax", "esat_jax.ops", "esat_jax.models"},
}
FILES = sorted(path for folder in ("configs", "data_pipeline", "esat_jax")
               for path in (ROOT / folder).rglob("*.py"))  # fmt: skip


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def allowed_in(name):
    return ALLOWED[max((key for key in ALLOWED if f"{name}/".startswith(f"{key}/")), key=len)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    allowed = allowed_in(path.relative_to(ROOT).as_posix())
    for name in imported(path):
        parts = name.split(".")
        prefixes = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        assert prefixes & (allowed | sys.stdlib_module_names), f"may not import {name}"


def test_nobody_imports_the_launch_tools_or_the_tests():
    tests = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"tests", "launch"}
    for path in (*FILES, *(ROOT / "launch").rglob("*.py")):
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & tests, f"{path.relative_to(ROOT)} imports {sorted(roots & tests)}"
