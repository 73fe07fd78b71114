r"""Attention alone: the XLA form, the fused kernel, and cuDNN without forces, on one GPU.

python -m benchmarks.attention --shapes=32x720,1x720,32x427
prints one JSON line a row; milliseconds, medians of rounds of 20 queued calls.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app, flags

from benchmarks.environment import environment
from esat_jax.ops.fda import attend

_SHAPES = flags.DEFINE_list("shapes", ["32x720", "1x720"], "Batch x tokens; 12 heads of 64.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed rounds of 20 calls.", lower_bound=1)

FORCES = {"alpha": 0.1, "beta": 0.1, "delta": 1 / 64}
NO_FORCES = {"alpha": 0.0, "beta": 0.0, "delta": 0.0}
FORMS = {
    "xla": functools.partial(attend, implementation="xla", **FORCES),
    "fused": functools.partial(attend, implementation="fused", **FORCES),
    "xla_no_forces": functools.partial(attend, implementation="xla", **NO_FORCES),
    "fused_no_forces": functools.partial(attend, implementation="fused", **NO_FORCES),
    "cudnn_no_forces": functools.partial(jax.nn.dot_product_attention, implementation="cudnn"),
}


def milliseconds(function: Callable, arguments: list[jax.Array], rounds: int) -> float:
    """Median time of one of 20 calls sent together, after warm-up."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        jax.block_until_ready([function(*arguments) for _ in range(20)])
        times.append(1e3 * (time.perf_counter() - start) / 20)
    return round(statistics.median(times[2:]), 4)


def main(argv: list[str]) -> None:
    """Measures every form at every shape, forward and with all three gradients."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}")
    for shape in _SHAPES.value:
        batch, tokens = map(int, shape.split("x"))
        qkv = [
            jax.random.normal(jax.random.key(i), (batch, tokens, 12, 64), jnp.bfloat16)
            for i in range(3)
        ]
        for name, form in FORMS.items():
            if name.startswith("cudnn") and tokens % 2:
                continue  # cuDNN refuses odd lengths

            def loss(*qkv: jax.Array, form: Callable = form) -> jax.Array:
                return form(*qkv).astype(jnp.float32).sum()

            row = {
                "benchmark": "attention",
                "form": name,
                "batch": batch,
                "tokens": tokens,
                "forward_ms": milliseconds(jax.jit(form), qkv, _ROUNDS.value),
                "forward_backward_ms": milliseconds(
                    jax.jit(jax.grad(loss, argnums=(0, 1, 2))), qkv, _ROUNDS.value
                ),
            }
            print(json.dumps(row | environment()), flush=True)


if __name__ == "__main__":
    app.run(main)
