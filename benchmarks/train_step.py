r"""Pairs a second and model FLOPs utilisation of the optimisation step, on one and more devices.

python -m benchmarks.train_step --config=configs/esat_vit_b384.py --batch_sizes=16,32 \
    --devices=1,2,4,8 --data=memory,pipeline --config.data.root=/data --config.data.num_workers=80
prints one JSON line a row. A batch size is that of one device. "queued" steps follow each other
without a wait, as in training.

With --data=memory a random batch lies on the devices; "pipeline" takes what config.data names, as
training does. The parts of a queued step are differences between rows of the same batch a device:
compute_ms is the step on one device from memory, communication_ms what a step from memory takes
longer on all devices, data_ms what it takes longer from the pipeline, waiting for batches and
placing them. They sum to the step; noise can make a small one negative, and where the row to
compare with was not measured, null stands. host_wait_ms is the host's time in the pipeline as
measured; in part of it the devices were still at work. "input" is the pipeline by itself: its
pairs_per_second, and cpu_ms, the time that a pair takes on a core of the worker processes.
"""

import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
from absl import app, flags
from jax.sharding import Mesh
from ml_collections import config_flags

from benchmarks.environment import environment
from benchmarks.flag_values import device_counts, whole_numbers
from data_pipeline.batches import Batches
from data_pipeline.pipeline import make_train_batches
from esat_jax.batched_tracker import available_cores
from esat_jax.sharding import make_mesh
from esat_jax.step_timing import (
    GIB,
    CompiledStep,
    compile_step,
    peak_flops,
    step_flops,
    time_fed_steps,
    time_steps,
)
from launch import errors
from launch.training_faults import quiet_libraries

VARIANTS = ("full", "no_fda", "no_spl", "no_fda_no_spl")
SOURCES = ("memory", "pipeline")
PROCESSES = Path("/proc")  # of Linux

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["32", "64"], "Pairs a step on each device.")
_DEVICES = flags.DEFINE_list("devices", ["1"], "Numbers of devices.")
_DATA = flags.DEFINE_list("data", ["memory"], "memory, pipeline.")
_VARIANTS = flags.DEFINE_list("variants", ["full"], f"Of the model: {', '.join(VARIANTS)}.")
_KEEP_RATIOS = flags.DEFINE_list("keep_ratios", ["1.0"], "Of candidate elimination.")
_DTYPES = flags.DEFINE_list("compute_dtypes", ["bfloat16"], "float32, bfloat16.")
_STEPS = flags.DEFINE_integer(
    "steps",
    20,
    "Timed steps, each way; of the pipeline, at least two rounds of its workers.",
    lower_bound=2,
)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Measures every combination of the flags."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    quiet_libraries()
    for name, given, known in (("variants", _VARIANTS, VARIANTS), ("data", _DATA, SOURCES)):
        if unknown := set(given.value) - set(known):
            raise ValueError(f"--{name} are {', '.join(known)}; got {', '.join(unknown)}.")
    counts = device_counts(_DEVICES.value)
    batch_sizes = whole_numbers("batch_sizes", _BATCH_SIZES.value)
    ratios = list(map(float, _KEEP_RATIOS.value))
    alone: dict[tuple, float] = {}  # ms of a step from memory on one device
    for devices, *setting in itertools.product(
        counts, _DTYPES.value, _VARIANTS.value, batch_sizes, ratios
    ):
        dtype, variant, batch, ratio = setting
        config = _configured(variant, dtype, batch * devices)
        for row in _measure(config, devices, ratio, alone, tuple(setting)):
            named = {"variant": variant, "devices": devices, "batch_per_device": batch}
            print(json.dumps(named | row), flush=True)


def split_step(step_ms: float, memory_ms: float | None, alone_ms: float | None) -> dict:
    """The parts of a step; None where a row to compare with is missing.

    Args: step_ms: of this row; memory_ms: the same from memory; alone_ms: that on one device.
    """

    def longer(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else round(a - b, 3)

    return {
        "compute_ms": alone_ms,
        "communication_ms": longer(memory_ms, alone_ms),
        "data_ms": longer(step_ms, memory_ms),
    }


def _configured(variant: str, dtype: str, batch_size: int) -> dict:
    config = _CONFIG.value.to_dict()
    config["batch_size"], config["compute_dtype"] = batch_size, dtype
    if "no_fda" in variant:
        config["fda"]["enabled"] = False
    if "no_spl" in variant:
        config["loss"] |= {"abs": 0.0, "pn": 0.0}
    return config


def _measure(
    config: Mapping, devices: int, ratio: float, alone: dict[tuple, float], setting: tuple
) -> Iterator[dict]:
    """A row for each source of batches; notes the step of one device from memory in `alone`."""
    mesh = make_mesh(jax.devices()[:devices])
    program = compile_step(config, mesh, ratio)
    fixed = {
        "backbone": config["backbone"]["name"],
        "search_size": config["search"]["size"],
        "compute_dtype": config["compute_dtype"],
        "implementation": config["fda"]["implementation"],
        "keep_ratio": ratio,
        "compile_seconds": round(program.compile_seconds, 1),
        "memory_gib": round(program.memory_bytes / GIB, 2),
    }
    flops, peak, memory_ms = step_flops(config, ratio), peak_flops(mesh.devices.flat[0]), None
    for source in filter(_DATA.value.__contains__, SOURCES):
        times = _times(source, config, mesh, program)
        if source == "memory":
            memory_ms = times["queued_ms"]
            if devices == 1:
                alone[setting] = memory_ms
        step_ms, alone_ms = times["queued_ms"], alone.get(setting)
        per_device = flops / devices / (1e-3 * step_ms)
        yield {
            "data": source,
            **fixed,
            **times,
            **split_step(step_ms, memory_ms, alone_ms),
            "pairs_per_second": round(1e3 * config["batch_size"] / step_ms, 1),
            # Pairs a second over those of one device from memory.
            "speedup": round(devices * alone_ms / step_ms, 3) if alone_ms else None,
            "tflops_per_device": round(per_device / 1e12, 1),
            "mfu": round(per_device / peak, 3) if peak else None,
            "cpu_cores": available_cores(),
            **environment(),
            "devices": devices,
        }


def _times(source: str, config: Mapping, mesh: Mesh, program: CompiledStep) -> dict:
    if source == "memory":
        times = time_steps(config, mesh, program, steps=_STEPS.value)
        rate = 1e3 * config["batch_size"] / times["step_ms_p50"]
        return times | {"pairs_per_second_waiting": round(rate, 1)}
    with make_train_batches(config) as batches:
        # Batches come in rounds, one of each worker. What lies ready at first is used up untimed.
        workers = max(config["data"]["num_workers"], 1)
        ready, count = 2 * workers + 3, workers * max(2, -(-_STEPS.value // workers))
        alone = time_input(batches, config, ready, count)
        times = time_fed_steps(config, mesh, program, batches, steps=count, warm_up=ready)
    return {"input": alone, **times}


def time_input(batches: Batches, config: Mapping, warm_up: int, count: int) -> dict:
    """Takes batches as fast as they come, after `warm_up` ones.

    Returns: workers; pairs_per_second; cpu_ms, processor time of the worker processes a pair;
      cores, how many of them it kept busy; both None without worker processes.
    """
    for _ in range(warm_up):
        next(batches)
    workers = [child.pid for child in multiprocessing.active_children() if PROCESSES.is_dir()]
    start, used = time.perf_counter(), sum(map(_cpu_seconds, workers))
    for _ in range(count):
        next(batches)
    seconds, used = time.perf_counter() - start, sum(map(_cpu_seconds, workers)) - used
    pairs = count * config["batch_size"]
    return {
        "workers": config["data"]["num_workers"],
        "datasets": list(config["data"]["datasets"]),
        "pairs_per_second": round(pairs / seconds, 1),
        "cpu_ms": round(1e3 * used / pairs, 3) if workers else None,
        "cores": round(used / seconds, 1) if workers else None,
    }


def _cpu_seconds(process: int) -> float:
    """Processor time of a process so far; Linux tells it as fields 14 and 15 of its line."""
    fields = (PROCESSES / f"{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    errors.run(main)
