r"""Says what a training run will need, before any data is read.

python -m launch.plan --config=configs/esat_vit_b384.py --config.compute_dtype=bfloat16 --devices=8

Compiles the training step and times it on random data: parameters, FLOPs, memory of each device and
what to change where it does not fit, pairs a second, hours, and the rate at which data must come.
With fewer devices here than asked for, one device computes its share of the batch.
"""

from collections.abc import Mapping

import jax
from absl import app, flags
from jax.sharding import Mesh
from ml_collections import config_flags

from esat_jax.keep_ratio import keep_ratios, quantised_keep_ratio
from esat_jax.memory_advice import Setting, fitting_settings, in_gib
from esat_jax.model_cost import ModelCost, model_cost
from esat_jax.sharding import make_mesh
from esat_jax.step_timing import (
    GIB,
    CompiledStep,
    compile_step,
    device_memory,
    peak_flops,
    step_flops,
    time_steps,
)
from launch import errors
from launch.json_file import output_path, write_json

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_DEVICES = flags.DEFINE_integer(
    "devices", None, "Devices of the run; by default those here.", lower_bound=1
)
_STEPS = flags.DEFINE_integer("steps", 10, "Timed steps; 0 only compiles.", lower_bound=0)
_MEMORY = flags.DEFINE_float(
    "memory_gib", None, "Memory of each device; by default that of those here.", lower_bound=0
)
_JSON = flags.DEFINE_string("json", None, "File that receives the numbers.")
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> int:
    """Prints the plan; 1 if the run does not fit into memory in any way tried."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    path = output_path(_JSON.value)
    config = _CONFIG.value.to_dict()
    devices = _DEVICES.value or jax.device_count()
    share, mesh = _share(config, devices)
    ratios = keep_ratios(config["ce"], config["optim"]["epochs"])
    cost = model_cost(config)
    # Of what is computed here; every ratio's network is traced, so once.
    flops = {ratio: step_flops(share, ratio) for ratio in {1.0, *ratios}}
    whole = config["batch_size"] / share["batch_size"]
    print(*_describe(config, cost, whole * flops[1.0], devices, mesh), sep="\n")
    print("\nCompiling the largest program.", flush=True)
    memory = device_memory(mesh.devices.flat[0])
    if _MEMORY.value:
        memory = int(_MEMORY.value * GIB)
    tried = fitting_settings(share, mesh, memory=memory)
    print(*(_memory_line(setting, memory) for setting in tried), sep="\n")
    plan = {
        "devices": devices,
        "parameters": cost.training.parameters,
        "flops_per_step": whole * flops[ratios[0]],
        "device_memory_bytes": memory,
        "settings": [_numbers(setting) for setting in tried],
    }
    chosen = tried[-1]
    if not chosen.fits:
        print(
            "None of these fits: use more devices, a smaller --config.batch_size, or "
            "--config.compute_dtype=bfloat16."
        )
    else:
        if len(tried) > 1:
            print(f"Train with: {chosen.flags}")
        if _STEPS.value:
            print(f"\nTiming {_STEPS.value} steps on random data.", flush=True)
            timed = _time(share, mesh, chosen, ratios)
            plan |= _run_numbers(config, timed, flops)
            print(*_run_lines(config, mesh, timed, flops, plan), sep="\n")
    write_json(path, plan)
    return 0 if chosen.fits else 1


def _share(config: Mapping, devices: int) -> tuple[dict, Mesh]:
    """What the devices here compute of a run on `devices`: all of it, or one device's part."""
    if config["batch_size"] % devices:
        raise ValueError(
            f"config.batch_size {config['batch_size']} does not divide among {devices} devices."
        )
    if devices <= jax.device_count():
        return dict(config), make_mesh(jax.devices()[:devices])
    share = config["batch_size"] // devices
    return {**config, "batch_size": share}, make_mesh(jax.devices()[:1])


def _describe(
    config: Mapping, cost: ModelCost, flops: float, devices: int, mesh: Mesh
) -> list[str]:
    kind, batch = mesh.devices.flat[0].device_kind, config["batch_size"]
    lines = [
        f"{config['backbone']['name']}, {config['compute_dtype']}, search "
        f"{config['search']['size']} px: {cost.training.parameters / 1e6:.1f} M parameters in "
        f"training, {cost.inference.parameters / 1e6:.1f} M in use.",
        f"Batch: {batch} pairs = {devices} x {batch // devices}, each with "
        f"{config['search']['number']} search frame(s).",
        f"FLOPs a step: {flops / 1e12:.2f} T forward and backward, no token removed.",
    ]
    if mesh.size == devices:
        return [*lines, f"Devices: {devices} x {kind}."]
    return [
        *lines,
        f"Devices: {devices} asked for, {jax.device_count()} x {kind} here: one computes its share "
        "of the batch. What devices say to each other is not in the numbers.",
    ]


def _memory_line(setting: Setting, memory: int) -> str:
    verdict = "fits" if setting.fits else "does not fit"
    return (
        f"accumulate {setting.accumulate}, remat {setting.remat}: "
        f"{in_gib(setting.step.memory_bytes)} of {in_gib(memory)} a device "
        f"({in_gib(setting.step.temporary_bytes)} temporary), {verdict}; compiled in "
        f"{setting.step.compile_seconds:.0f} s."
    )


def _numbers(setting: Setting) -> dict:
    return {
        "accumulate": setting.accumulate,
        "remat": setting.remat,
        "memory_bytes": setting.step.memory_bytes,
        "temporary_bytes": setting.step.temporary_bytes,
        "compile_seconds": round(setting.step.compile_seconds, 1),
        "fits": setting.fits,
    }


def _time(
    share: Mapping, mesh: Mesh, setting: Setting, ratios: list[float]
) -> dict[float, dict[str, float]]:
    """Times of the programs of the first and the last ratio, by ratio."""
    optim = {**share["optim"], "accumulate": setting.accumulate, "remat": setting.remat}
    share = {**share, "optim": optim}
    timed = {}
    for ratio in dict.fromkeys([ratios[0], ratios[-1]]):
        first = ratio == ratios[0]
        step: CompiledStep = setting.step if first else compile_step(share, mesh, ratio)
        timed[ratio] = time_steps(share, mesh, step, steps=_STEPS.value)
    return timed


def _run_numbers(
    config: Mapping, timed: Mapping[float, Mapping], flops: Mapping[float, float]
) -> dict:
    """Pairs a second by ratio, and hours of the whole run; between two ratios by their FLOPs."""
    optim, steps = config["optim"], config["data"]["samples_per_epoch"] // config["batch_size"]
    ratios = keep_ratios(config["ce"], optim["epochs"])
    first, last = ratios[0], ratios[-1]
    first_ms, last_ms = timed[first]["queued_ms"], timed[last]["queued_ms"]
    slope = 0.0
    if len(timed) > 1:
        slope = (first_ms - last_ms) / (flops[first] - flops[last])
    by_ratio = {ratio: last_ms + slope * (flops[ratio] - flops[last]) for ratio in ratios}
    milliseconds = sum(
        steps * by_ratio[quantised_keep_ratio(config["ce"], epoch)]
        for epoch in range(1, optim["epochs"] + 1)
    )
    rates = {
        f"{ratio:.3f}": round(1e3 * config["batch_size"] / one["queued_ms"], 1)
        for ratio, one in timed.items()
    }
    return {
        "steps_per_epoch": steps,
        "step_ms": {f"{ratio:.3f}": one["queued_ms"] for ratio, one in timed.items()},
        "pairs_per_second": rates,
        "hours": round(milliseconds / 3.6e6, 2),
    }


def _run_lines(
    config: Mapping,
    mesh: Mesh,
    timed: Mapping[float, Mapping],
    flops: Mapping[float, float],
    plan: Mapping,
) -> list[str]:
    lines = []
    peak = peak_flops(mesh.devices.flat[0])
    for ratio, one in timed.items():
        rate = plan["pairs_per_second"][f"{ratio:.3f}"]
        used = flops[ratio] / mesh.size / (1e-3 * one["queued_ms"])
        share = f" ({used / peak:.0%} of the data sheet's)" if peak else ""
        lines.append(
            f"Keep ratio {ratio:.3f}: {one['queued_ms']:,.1f} ms a step, {rate:,.1f} pairs/s, "
            f"{used / 1e12:.2f} TFLOP/s a device{share}."
        )
    epochs, steps, search = config["optim"]["epochs"], plan["steps_per_epoch"], config["search"]
    fastest = max(plan["pairs_per_second"].values())
    crop_bytes = 3 * (config["template"]["size"] ** 2 + search["number"] * search["size"] ** 2)
    return [
        *lines,
        f"The run: {epochs} epochs of {steps} steps, {plan['hours']:,.2f} hours, to which "
        "validation comes.",
        f"Data: the pipeline must supply {fastest:,.0f} pairs/s, all hosts together: "
        f"{(1 + search['number']) * fastest:,.0f} frames/s to decode, "
        f"{crop_bytes * fastest / 2**20:,.0f} MiB/s of crops.",
        "What a core supplies: benchmarks/input_pipeline.py.",
    ]


if __name__ == "__main__":
    errors.run(main)
