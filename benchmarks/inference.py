r"""Latency and throughput of the network alone: crops on the device in, boxes on the device out.

python -m benchmarks.inference --config=configs/esat_vit_b384.py --batch_sizes=1,32 \
    --compute_dtypes=bfloat16 --implementations=xla,fused
prints one JSON line a row. Weights are random: the time does not depend on them.
"""

import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from benchmarks.environment import environment
from esat_jax.models.esat import inference_variables, make_model

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "32"], "Pairs of crops in one call.")
_DTYPES = flags.DEFINE_list("compute_dtypes", ["bfloat16"], "float32, bfloat16.")
_IMPLEMENTATIONS = flags.DEFINE_list("implementations", ["xla"], "Of attention: xla, fused.")
_REPEATS = flags.DEFINE_integer("repeats", 100, "Timed calls after 10 of warm-up.", lower_bound=20)
flags.mark_flag_as_required("config")


def measure(config: ConfigDict, batch: int, repeats: int) -> dict:
    """Compiles the network for one batch size and times it; times in milliseconds."""
    config = config.to_dict()
    model, rng = make_model(config), np.random.default_rng(0)
    sizes = config["template"]["size"], config["search"]["size"]
    crops = [jnp.array(rng.integers(0, 256, (batch, s, s, 3), np.uint8)) for s in sizes]
    variables = jax.jit(model.init)(jax.random.key(0), *(crop[:1] for crop in crops))
    variables = inference_variables(variables, config)

    @jax.jit
    def forward(variables: dict, template: jax.Array, search: jax.Array) -> tuple:
        out = model.apply(variables, template, search)
        return out.box_cxcywh, out.score_map.max(axis=(1, 2))

    start = time.perf_counter()
    compiled = forward.lower(variables, *crops).compile()
    compile_seconds = time.perf_counter() - start
    for _ in range(10):
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
        "batch": batch,
        "compile_seconds": round(compile_seconds, 2),
        "latency_ms_p50": round(statistics.median(single), 3),
        "latency_ms_p95": round(float(np.percentile(single, 95)), 3),
        "queued_ms": round(mean_queued, 3),  # calls sent without waiting for the one before
        "frames_per_second": round(1e3 * batch / statistics.median(single), 1),
        "frames_per_second_queued": round(1e3 * batch / mean_queued, 1),
        "weights_mib": round(memory.argument_size_in_bytes / 2**20, 1),
        "temporary_mib": round(memory.temp_size_in_bytes / 2**20, 1),
    }


def main(argv: list[str]) -> None:
    """Measures every combination of the flags."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    config = _CONFIG.value
    for dtype in _DTYPES.value:
        for implementation in _IMPLEMENTATIONS.value:
            for batch in map(int, _BATCH_SIZES.value):
                config.compute_dtype = dtype
                config.fda.implementation = implementation
                row = {
                    "benchmark": "inference",
                    "backbone": config.backbone.name,
                    "search_size": config.search.size,
                    "fda": config.fda.enabled,
                    "ce_layers": list(config.ce.layers),
                    "compute_dtype": dtype,
                    "implementation": implementation,
                    **measure(config, batch, _REPEATS.value),
                }
                print(json.dumps(row | environment()), flush=True)


if __name__ == "__main__":
    app.run(main)
