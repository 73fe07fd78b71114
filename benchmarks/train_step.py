r"""Pairs a second and model FLOPs utilisation of the optimisation step, batches on the device.

python -m benchmarks.train_step --config=configs/esat_vit_b384.py --batch_sizes=32,64 \
    --variants=full,no_fda,no_spl,no_fda_no_spl --keep_ratios=1.0,0.7
prints one JSON line a row. A batch size is that of one device. "queued" steps follow each other
without a wait, as in training.
"""

import json
from collections.abc import Mapping

import jax
from absl import app, flags
from ml_collections import config_flags

from benchmarks.environment import environment
from esat_jax.sharding import make_mesh
from esat_jax.step_timing import GIB, compile_step, peak_flops, step_flops, time_steps
from launch import errors

VARIANTS = ("full", "no_fda", "no_spl", "no_fda_no_spl")

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["32", "64"], "Pairs a step on each device.")
_DEVICES = flags.DEFINE_list("devices", ["1"], "Numbers of devices.")
_VARIANTS = flags.DEFINE_list("variants", ["full"], f"Of the model: {', '.join(VARIANTS)}.")
_KEEP_RATIOS = flags.DEFINE_list("keep_ratios", ["1.0"], "Of candidate elimination.")
_DTYPES = flags.DEFINE_list("compute_dtypes", ["bfloat16"], "float32, bfloat16.")
_STEPS = flags.DEFINE_integer("steps", 20, "Timed steps, each way.", lower_bound=2)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
    """Measures every combination of the flags."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    if unknown := set(_VARIANTS.value) - set(VARIANTS):
        raise ValueError(f"--variants are {', '.join(VARIANTS)}; got {', '.join(unknown)}.")
    for devices in map(int, _DEVICES.value):
        if devices > jax.device_count():
            raise ValueError(f"--devices={devices}, but there are {jax.device_count()}.")
        for dtype in _DTYPES.value:
            for variant in _VARIANTS.value:
                for batch in map(int, _BATCH_SIZES.value):
                    for ratio in map(float, _KEEP_RATIOS.value):
                        config = _configured(variant, dtype, batch * devices)
                        row = {"variant": variant, "devices": devices, "batch_per_device": batch}
                        row |= _measure(config, devices, ratio)
                        print(json.dumps(row), flush=True)


def _configured(variant: str, dtype: str, batch_size: int) -> dict:
    config = _CONFIG.value.to_dict()
    config["batch_size"], config["compute_dtype"] = batch_size, dtype
    if "no_fda" in variant:
        config["fda"]["enabled"] = False
    if "no_spl" in variant:
        config["loss"] |= {"abs": 0.0, "pn": 0.0}
    return config


def _measure(config: Mapping, devices: int, ratio: float) -> dict:
    mesh = make_mesh(jax.devices()[:devices])
    step = compile_step(config, mesh, ratio)
    times = time_steps(config, mesh, step, steps=_STEPS.value)
    flops = step_flops(config, ratio)
    per_device = flops / devices / (1e-3 * times["queued_ms"])
    peak = peak_flops(mesh.devices.flat[0])
    return {
        "backbone": config["backbone"]["name"],
        "search_size": config["search"]["size"],
        "compute_dtype": config["compute_dtype"],
        "implementation": config["fda"]["implementation"],
        "keep_ratio": ratio,
        "compile_seconds": round(step.compile_seconds, 1),
        "memory_gib": round(step.memory_bytes / GIB, 2),
        **times,
        "pairs_per_second": round(1e3 * config["batch_size"] / times["queued_ms"], 1),
        "pairs_per_second_waiting": round(1e3 * config["batch_size"] / times["step_ms_p50"], 1),
        "tflops_per_device": round(per_device / 1e12, 1),
        "mfu": round(per_device / peak, 3) if peak else None,
        **environment(),
        "devices": devices,
    }


if __name__ == "__main__":
    errors.run(main)
