"""What an optimisation step needs: time to compile, memory on each device, time to run.

The step is the one that training runs, on random weights and, unless batches are given, a random
one: neither time nor memory depends on them.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from esat_jax.latency import random_variables
from esat_jax.model_cost import model_cost
from esat_jax.sharding import batch_sharded, put_batch, replicated
from esat_jax.step_programs import guarded
from esat_jax.train_state import TrainState, create_state, state_shapes
from esat_jax.train_step import make_train_step

GIB = 2**30
# Dense matrix products of 16-bit floats, TFLOP/s, from NVIDIA's data sheets; first match counts.
_PEAK_TFLOPS = {"H200": 989.4, "H100 PCIe": 756.0, "H100": 989.4, "A100": 312.0}


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A compiled step.

    Attributes:
      run: (state, healthy, batch) -> (state, healthy, numbers), see step_programs.guarded.
      compile_seconds: it took, tracing included.
      memory_bytes: most that one device holds at a time: state, batch and temporaries.
      temporary_bytes: of these, what only exists during the step.
    """

    run: Callable
    compile_seconds: float
    memory_bytes: int
    temporary_bytes: int


def random_batch(config: Mapping, batch_size: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch with the shapes and types of data_pipeline's, without any data set.

    Args: config: plain nested dict with the keys of configs/base.py; batch_size: samples.
    """
    rng = np.random.default_rng(seed)
    patch, number = config["backbone"]["patch_size"], config["search"]["number"]
    sizes = config["template"]["size"], config["search"]["size"]
    template_grid, grid = (size // patch for size in sizes)
    tokens = template_grid**2 + grid**2
    frames = batch_size, number
    centers = rng.uniform(0.3, 0.7, (*frames, 2))
    boxes_cxcywh = np.concatenate([centers, rng.uniform(0.1, 0.4, (*frames, 2))], axis=-1)
    score_target = np.zeros((*frames, grid**2))
    np.put_along_axis(score_target, rng.integers(0, grid**2, (*frames, 1)), 1, axis=-1)
    batch = {
        "template": rng.integers(0, 256, (batch_size, sizes[0], sizes[0], 3), np.uint8),
        "search": rng.integers(0, 256, (*frames, sizes[1], sizes[1], 3), np.uint8),
        "template_box_cxcywh": np.float32(np.tile([0.5, 0.5, 0.5, 0.5], (batch_size, 1))),
        "box_cxcywh": np.float32(boxes_cxcywh),
        "template_brightness": rng.uniform(0.8, 1.2, batch_size).astype(np.float32),
        "search_brightness": rng.uniform(0.8, 1.2, frames).astype(np.float32),
        "score_target": np.float32(score_target.reshape(*frames, grid, grid)),
        "abs_labels": rng.integers(0, grid**2, (*frames, tokens), np.int32),
        "pn_labels": rng.integers(0, 2, (*frames, tokens), np.int32),
    }
    if config["data"]["color_jitter"]:
        same = np.eye(3, 4, dtype=np.float32)
        batch["template_color"] = np.broadcast_to(same, (batch_size, 3, 4))
        batch["search_color"] = np.broadcast_to(same, (*frames, 3, 4))
    return batch


def compile_step(config: Mapping, mesh: Mesh, keep_ratio: float) -> CompiledStep:
    """Compiles the step of config.batch_size for the devices of `mesh`; nothing is computed.

    Args: config: plain nested dict with the keys of configs/base.py; keep_ratio: of the program.
    """
    step = make_train_step(config, mesh, steps_per_epoch=1)
    state = state_shapes(config, mesh)
    split = batch_sharded(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(
            (config["batch_size"], *one.shape[1:]), one.dtype, sharding=split
        )
        for name, one in random_batch(config, 1).items()
    }
    healthy = jax.ShapeDtypeStruct((), bool, sharding=replicated(mesh))
    start = time.perf_counter()
    program = guarded(step, state).lower(state, healthy, batch, keep_ratio=keep_ratio).compile()
    seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    # Of an update in place, argument and output are the same memory.
    output = memory.output_size_in_bytes - memory.alias_size_in_bytes
    total = memory.argument_size_in_bytes + output + memory.temp_size_in_bytes
    return CompiledStep(program, seconds, total, memory.temp_size_in_bytes)


def time_steps(
    config: Mapping, mesh: Mesh, program: CompiledStep, *, steps: int, warm_up: int = 3
) -> dict[str, float]:
    """Runs steps on one random batch that lies on the devices.

    Returns: step_ms_p50, the median of steps that are each waited for; queued_ms, the mean of steps
      that are sent one after the other as training does; loss of the last one.
    """
    state, healthy = _start(config, mesh)
    batch = put_batch(random_batch(config, config["batch_size"]), mesh)
    for _ in range(warm_up):
        state, healthy, numbers = program.run(state, healthy, batch)
    jax.block_until_ready(state)
    single = []
    for _ in range(steps):
        start = time.perf_counter()
        state, healthy, numbers = program.run(state, healthy, batch)
        jax.block_until_ready((state, numbers))
        single.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(steps):
        state, healthy, numbers = program.run(state, healthy, batch)
    jax.block_until_ready((state, numbers))
    queued = (time.perf_counter() - start) / steps
    if not bool(healthy):
        raise ArithmeticError("a step on random data was not finite.")
    return {
        "step_ms_p50": round(1e3 * statistics.median(single), 3),
        "queued_ms": round(1e3 * queued, 3),
        "loss": round(float(numbers["total"]), 4),
    }


def time_fed_steps(
    config: Mapping,
    mesh: Mesh,
    program: CompiledStep,
    batches: Iterator[Mapping[str, np.ndarray]],
    *,
    steps: int,
    warm_up: int = 3,
) -> dict[str, float]:
    """Runs steps as training does: takes a batch, places it, reads the numbers of the step before.

    Returns: queued_ms, the mean time from step to step; host_wait_ms, the part of it in which the
      host waited for `batches`, while the devices may still have been at work on the step before;
      loss of the last one.
    """
    state, healthy = _start(config, mesh)
    start = waited = 0.0
    before = None
    for number in range(warm_up + steps):
        if number == warm_up:
            jax.block_until_ready((state, before))
            start, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        state, healthy, numbers = program.run(state, healthy, put_batch(batch, mesh))
        jax.device_get(before)
        before = numbers
    jax.block_until_ready((state, numbers))
    seconds = time.perf_counter() - start
    if not bool(healthy):
        raise ArithmeticError("a step was not finite.")
    return {
        "queued_ms": round(1e3 * seconds / steps, 3),
        "host_wait_ms": round(1e3 * waited / steps, 3),
        "loss": round(float(numbers["total"]), 4),
    }


def step_flops(config: Mapping, keep_ratio: float) -> float:
    """FLOPs of the step that the model asks for: 2 a multiply-add, backward twice the forward.

    Sums over axes only (see model_cost); recomputation does not count, so that a share of the
    device's peak made with it is "model FLOPs utilisation".
    """
    ce = {**config["ce"], "keep_ratio": [keep_ratio] * len(config["ce"]["layers"])}
    macs = model_cost({**config, "ce": ce}).training.macs
    return 3.0 * 2.0 * macs * config["batch_size"] * config["search"]["number"]


def _start(config: Mapping, mesh: Mesh) -> tuple[TrainState, jax.Array]:
    """State and health before the first step, on random weights."""
    variables = random_variables(config, np.random.default_rng(0))
    state = create_state(config, variables, mesh=mesh)
    return state, jax.device_put(jnp.array(True), replicated(mesh))


def peak_flops(device: jax.Device) -> float | None:
    """FLOP/s of 16-bit matrix products by the data sheet; None for a device not in the list."""
    for name, tera in _PEAK_TFLOPS.items():
        if name.lower() in device.device_kind.lower():
            return 1e12 * tera
    return None


def device_memory(device: jax.Device) -> int:
    """Bytes that JAX may use on a GPU; all of the computer's for a CPU."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
