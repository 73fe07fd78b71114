"""Names and numbers of parameters, which checkpoints depend on, pinned per configuration."""

from pathlib import Path

import numpy as np
import pytest

from esat_jax.initial_variables import variable_shapes
from parity import FIXTURES, read_config

CONFIGS = {path.stem for path in Path("configs").glob("esat_*.py")}
COUNTS = {  # trained with position learning, and what tracking needs
    "esat_vit_b384": (99_699_141, 92_673_669),  # OSTrack-384's 92,825,733 less 152,064 unused
    "esat_vit_b256": (99_361_221, 92_366_469),
    "esat_hivit_b384": (76_018_245, 70_762_245),  # 70,862,597 less 100,352 unused
    "esat_hivit_b256": (75_782_725, 70_557_445),
    "esat_vit_s224": (22_713_285, 18_372_741),  # 1,775,232 a block
    "esat_vit_xs168": (16_898_053, 12_568_261),
}


def count(shapes):
    return sum(int(np.prod(s)) for path, s in shapes.items() if path.startswith("params/"))


def test_every_configuration_has_a_row():
    assert set(COUNTS) == CONFIGS


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    shapes = variable_shapes(read_config(name).to_dict())
    inference = {path: s for path, s in shapes.items() if "position_head" not in path}
    assert (count(shapes), count(inference)) == COUNTS[name]
    assert count(variable_shapes(read_config(name, "t2_baseline").to_dict())) == COUNTS[name][1]


@pytest.mark.parametrize("name", ["esat_vit_b384", "esat_hivit_b384", "esat_vit_s224"])
def test_sorted_paths_and_shapes(name):
    shapes = variable_shapes(read_config(name).to_dict())
    lines = [f"{path} {'x'.join(map(str, shape))}" for path, shape in sorted(shapes.items())]
    assert lines == (FIXTURES / f"{name}_paths.txt").read_text().splitlines()
