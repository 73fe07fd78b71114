r"""Counts the parameters and multiply-adds of a tracker by part, and times it on this computer.

python -m launch.profile_model --config=configs/esat_vit_b384.py:t2_baseline \
    --json=ostrack_384.json

"full" counts everything; "thop" counts as the profiler whose numbers papers print, which leaves out
attention's own products, norms and positions. --latency=false only counts.
"""

import dataclasses

import jax
from absl import app, flags
from ml_collections import config_flags

from esat_jax.latency import inference_latency
from esat_jax.model_cost import (
    FORCE_OPERATIONS,
    PRODUCTS,
    TRAINING_ONLY,
    Cost,
    ModelCost,
    model_cost,
)
from launch import errors
from launch.json_file import output_path, write_json

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_JSON = flags.DEFINE_string("json", None, "File that receives the numbers.")
_LATENCY = flags.DEFINE_bool("latency", True, "Also compile and time the network.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 1, "Pairs of crops in a timed call.", lower_bound=1
)
_REPEATS = flags.DEFINE_integer("repeats", 30, "Timed calls after 10 of warm-up.", lower_bound=20)
flags.mark_flag_as_required("config")


def report(cost: ModelCost) -> dict:
    """The numbers as nested dicts for JSON."""
    numbers = dataclasses.asdict(cost)
    for phase, total in (("inference", cost.inference), ("training", cost.training)):
        products = cost.parts[PRODUCTS].macs
        numbers[phase] = dataclasses.asdict(total) | {
            "thop_macs_and_attention_products": total.thop_macs + products
        }
    return numbers | {"force_operations_per_pair": FORCE_OPERATIONS}


def table(cost: ModelCost) -> list[str]:
    """Parts, totals of inference and training, and what the columns do not say."""

    def row(name: str, numbers: Cost) -> str:
        parameters, thop_parameters, macs, thop_macs = dataclasses.astuple(numbers)
        return f"{name:27}{parameters:>12,}{thop_parameters:>13,}{macs:>17,}{thop_macs:>17,}"

    rule = "-" * 86
    lines = [f"{'':27}{'parameters':>12}{'':13}{'MACs':>17}"]
    lines += [f"{'part':27}{'full':>12}{'thop':>13}{'full':>17}{'thop':>17}", rule]
    lines += [row(part, c) for part, c in cost.parts.items() if part not in TRAINING_ONLY]
    lines += [rule, row("inference", cost.inference), rule]
    lines += [row(part, c) for part, c in cost.parts.items() if part in TRAINING_ONLY]
    return [*lines, row("training, forward", cost.training), rule, *_notes(cost)]


def _notes(cost: ModelCost) -> list[str]:
    total, products = cost.inference, cost.parts[PRODUCTS].macs
    notes = [
        f"As thop: {total.thop_parameters / 1e6:.3f} M parameters, {total.thop_macs / 1e9:.3f} G "
        f"MACs; {(total.thop_macs + products) / 1e9:.2f} G with QK^T and AV."
    ]
    if cost.kept:
        blocks, tokens = (", ".join(map(str, part)) for part in (cost.kept, cost.kept.values()))
        notes.append(f"Search tokens after blocks {blocks}: {tokens} of {cost.num_search}.")
    if cost.force_pairs:
        notes.append(
            f"Forces also do {FORCE_OPERATIONS} operations, one an exponential, on each of "
            f"{cost.force_pairs:,} pairs of query and key."
        )
    if cost.unused_in_torch:
        unused = sum(cost.unused_in_torch.values())
        names = ", ".join(f"{name} {size:,}" for name, size in cost.unused_in_torch.items())
        notes += [
            f"PyTorch's file holds {cost.training.parameters + unused:,} parameters; "
            f"its forward pass never reads {unused:,} of them:",
            f"{names}.",
        ]
    return notes


def main(argv: list[str]) -> None:
    """Counts, times, and writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    path = output_path(_JSON.value)
    config = _CONFIG.value.to_dict()
    cost = model_cost(config)
    sizes = f"template {config['template']['size']} px, search {config['search']['size']} px"
    print(f"{config['backbone']['name']}, one pair of crops: {sizes}.\n")
    print(*table(cost), sep="\n", flush=True)
    numbers = {"config": config} | report(cost)
    if _LATENCY.value:
        numbers["latency"] = _latency(config)
    write_json(path, numbers)


def _latency(config: dict) -> dict:
    device = jax.devices()[0]
    ran_on = {
        "device": device.device_kind,
        "jax": jax.__version__,
        "compute_dtype": config["compute_dtype"],
        "attention": config["fda"]["implementation"],
        "batch_size": _BATCH_SIZE.value,
        "repeats": _REPEATS.value,
    }
    print("\nCompiling and timing; --latency=false leaves this out.", flush=True)
    times = inference_latency(config, _BATCH_SIZE.value, _REPEATS.value)
    print(
        f"{ran_on['device']}, {ran_on['compute_dtype']}, batch "
        f"{_BATCH_SIZE.value}: p50 {times['latency_ms_p50']:g} ms, p95 "
        f"{times['latency_ms_p95']:g} ms of {_REPEATS.value} calls, after "
        f"{times['compile_seconds']:g} s to compile.\n"
        f"{times['frames_per_second']:,} frames/s waiting for each call, "
        f"{times['frames_per_second_queued']:,} queued; on the device {times['weights_mib']:g} MiB "
        f"of weights and crops, {times['temporary_mib']:g} MiB of temporaries."
    )
    return ran_on | times


if __name__ == "__main__":
    errors.run(main)
