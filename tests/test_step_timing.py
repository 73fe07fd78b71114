"""What a step is said to need, against counts written out and against the data pipeline."""

import itertools
import math

import jax
import numpy as np
import pytest

from configs import esat_vit_b256, esat_vit_b384, esat_vit_s224
from data_pipeline.pipeline import make_train_batches
from esat_jax.initial_variables import variable_shapes
from esat_jax.sharding import make_mesh
from esat_jax.step_timing import compile_step, peak_flops, random_batch, step_flops, time_steps


@pytest.mark.parametrize("frames", [1, 3])
def test_a_random_batch_looks_like_one_of_the_pipeline(frames):
    config = esat_vit_s224.get_config("smoke").copy_and_resolve_references().unlock()
    config.search.number = frames
    with make_train_batches(config.to_dict()) as batches:
        real = next(batches)
    made = random_batch(config.to_dict(), config.batch_size)
    assert set(made) == set(real) - {"source"}
    for name, array in made.items():
        assert (array.shape, array.dtype) == (real[name].shape, real[name].dtype), name
    assert made["abs_labels"].max() <= real["score_target"][0, 0].size


def test_a_compiled_step_is_timed_and_its_memory_holds_the_state():
    config = esat_vit_b256.get_config("smoke").to_dict() | {"batch_size": 2}
    mesh = make_mesh(jax.devices()[:1])
    step = compile_step(config, mesh, 1.0)
    params = sum(
        math.prod(shape)
        for path, shape in variable_shapes(config).items()
        if path.startswith("params/")
    )
    state = 3 * 4 * params  # with both moments of AdamW
    assert state < step.memory_bytes < state + 64 * 2**20
    assert 0 < step.temporary_bytes < step.memory_bytes
    assert step.compile_seconds > 0
    times = time_steps(config, mesh, step, steps=2, warm_up=1)
    assert times["step_ms_p50"] > 0
    assert times["queued_ms"] > 0
    assert np.isfinite(times["loss"])


def test_flops_are_six_a_weight_and_token_and_those_of_attention():
    config = esat_vit_b384.get_config("t2_baseline").to_dict() | {"batch_size": 4}
    tokens, width, channels = 144 + 576, 768, (768, 256, 128, 64, 32)
    block = 12 * width**2 * tokens + 2 * tokens**2 * width
    patches = tokens * 16 * 16 * 3 * width
    convs = sum(9 * a * b for a, b in itertools.pairwise(channels))
    heads = 576 * (3 * convs + 32 * (1 + 2 + 2))
    expected = 4 * 6 * (12 * block + patches + heads)
    assert step_flops(config, 1.0) == pytest.approx(expected, rel=5e-3)  # and rows for candidates
    assert step_flops(config, 0.7) < 0.8 * step_flops(config, 1.0)


@pytest.mark.parametrize(
    ("kind", "tera"),
    [("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA A100-SXM4-80GB", 312.0), ("cpu", None)],
)
def test_peak_is_that_of_the_data_sheet(kind, tera):
    class Device:
        device_kind = kind

    assert peak_flops(Device()) == (tera and 1e12 * tera)
