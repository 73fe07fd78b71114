r"""Latency and throughput of the network alone: crops on the device in, boxes on the device out.

python -m benchmarks.inference --config=configs/esat_vit_b384.py --batch_sizes=1,32 \
    --compute_dtypes=bfloat16 --implementations=xla,fused
prints one JSON line a row. Weights are random: the time does not depend on them.
"""

import json

from absl import app, flags
from ml_collections import config_flags

from benchmarks.environment import environment
from esat_jax.latency import inference_latency

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1", "32"], "Pairs of crops in one call.")
_DTYPES = flags.DEFINE_list("compute_dtypes", ["bfloat16"], "float32, bfloat16.")
_IMPLEMENTATIONS = flags.DEFINE_list("implementations", ["xla"], "Of attention: xla, fused.")
_REPEATS = flags.DEFINE_integer("repeats", 100, "Timed calls after 10 of warm-up.", lower_bound=20)
flags.mark_flag_as_required("config")


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
                    "batch": batch,
                    **inference_latency(config.to_dict(), batch, _REPEATS.value),
                }
                print(json.dumps(row | environment()), flush=True)


if __name__ == "__main__":
    app.run(main)
