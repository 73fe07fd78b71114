"""How long the network takes: crops on the device in, boxes and scores on the device out."""

import statistics
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from esat_jax.initial_variables import variable_shapes
from esat_jax.models.esat import inference_variables, make_model

WARM_UP = 10  # calls before the timed ones


def inference_latency(config: Mapping, batch_size: int, repeats: int) -> dict[str, float]:
    """Compiles the network for one batch size and times it on the default device.

    Weights and crops are random: the time does not depend on them.

    Args:
      config: plain nested dict with the keys of configs/base.py.
      batch_size: pairs of crops in one call. repeats: timed calls, after `WARM_UP`.
    Returns: compile_seconds; latency_ms_p50 and _p95 of calls that each wait for their boxes;
      queued_ms, the mean of calls sent without waiting for the one before; frames_per_second of
      both ways; weights_mib and temporary_mib of memory on the device.
    """
    model, rng = make_model(config), np.random.default_rng(0)
    sizes = config["template"]["size"], config["search"]["size"]
    crops = [jnp.array(rng.integers(0, 256, (batch_size, s, s, 3), np.uint8)) for s in sizes]
    whole = jnp.tile(jnp.array([0.5, 0.5, 1.0, 1.0]), (batch_size, 1))  # read by "GT_BOX" only

    @jax.jit
    def forward(variables: dict, template: jax.Array, search: jax.Array) -> tuple:
        out = model.apply(variables, template, search, template_box_cxcywh=whole)
        return out.box_cxcywh, out.score_map.max(axis=(1, 2))

    variables = inference_variables(random_variables(config, rng), config)
    start = time.perf_counter()
    compiled = forward.lower(variables, *crops).compile()
    compile_seconds = time.perf_counter() - start
    for _ in range(WARM_UP):
        jax.block_until_ready(compiled(variables, *crops))
    single = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(variables, *crops))
        single.append(1e3 * (time.perf_counter() - start))
    start = time.perf_counter()
    queued = [compiled(variables, *crops) for _ in range(repeats)]
    jax.block_until_ready(queued)
    mean_queued = 1e3 * (time.perf_counter() - start) / repeats
    memory = compiled.memory_analysis()
    return {
        "compile_seconds": round(compile_seconds, 2),
        "latency_ms_p50": round(statistics.median(single), 3),
        "latency_ms_p95": round(float(np.percentile(single, 95)), 3),
        "queued_ms": round(mean_queued, 3),
        "frames_per_second": round(1e3 * batch_size / statistics.median(single), 1),
        "frames_per_second_queued": round(1e3 * batch_size / mean_queued, 1),
        "weights_mib": round(memory.argument_size_in_bytes / 2**20, 1),
        "temporary_mib": round(memory.temp_size_in_bytes / 2**20, 1),
    }


def random_variables(config: Mapping, rng: np.random.Generator) -> dict:
    """Numbers in the range of trained ones, for measurements; nothing has to be compiled.

    `config` is a plain nested dict with the keys of configs/base.py.
    """

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if path.endswith(("/scale", "/var")):
            return np.ones(shape, np.float32)
        return 0.02 * rng.standard_normal(shape, np.float32)

    flat = {path: draw(path, shape) for path, shape in variable_shapes(config).items()}
    return traverse_util.unflatten_dict(flat, sep="/")
