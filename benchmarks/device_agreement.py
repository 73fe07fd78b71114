r"""Whether training on many devices is training on one: the same steps, parameters compared.

python -m benchmarks.device_agreement --config=configs/esat_vit_b384.py --batch_size=16 --devices=8
takes the same steps on one device and on each of --devices, in float32 with matrix products of the
highest precision, on a new batch of synthetic videos each step; --batch_size is that of all devices
together. It prints one JSON line a number of devices and ends with status 1 if any array of
parameters differs by more than --tolerance: norm of the difference over the norm. Without GPUs:
JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8.

Parameters start from random numbers in the range of trained ones. With --start=initial they start
as in training without a pretrained file: biases at zero. Then those that hardly change what the
network computes, of attention's keys, are little but rounding, scaled up by AdamW, and differ more.

Steps amplify rounding: the box losses look at one cell, the highest, and AdamW makes a gradient of
any size a step of one size. How much is in "rounding_difference": how far one device alone gets
from itself when each parameter starts off by its last bit. Where that comes near the tolerance,
agreement cannot be expected, since splitting a step rounds more than one bit; smaller steps tell
more (--config.optim.lr_drop_epoch=0: those after the drop).
"single_step_difference" is free of that: every step is taken on all devices from the state that the
one device had before its own, and the largest difference after any of them counts.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from absl import app, flags
from flax import traverse_util
from jax.sharding import Mesh
from ml_collections import config_flags

from benchmarks.environment import environment
from benchmarks.flag_values import device_counts
from data_pipeline.pipeline import make_train_batches
from esat_jax.initial_variables import initial_variables
from esat_jax.latency import random_variables
from esat_jax.sharding import make_mesh, put_batch
from esat_jax.train_state import TrainState, create_state, state_places, state_shapes
from esat_jax.train_step import make_train_step
from launch import errors
from launch.training_faults import quiet_libraries

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_DEVICES = flags.DEFINE_list("devices", ["2"], "Numbers of devices to compare with one.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Pairs a step in all.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 20, "Optimiser steps.", lower_bound=1)
_KEEP_RATIO = flags.DEFINE_float("keep_ratio", 1.0, "Of candidate elimination.", 0.0, 1.0)
_START = flags.DEFINE_enum("start", "random", ["random", "initial"], "Parameters before the steps.")
_TOLERANCE = flags.DEFINE_float("tolerance", 1e-4, "Largest relative difference.", lower_bound=0)
flags.mark_flag_as_required("config")

Arrays = dict[str, np.ndarray]


def main(argv: list[str]) -> int:
    """Trains, compares and prints; 1 if parameters differ."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; settings are given as --config.key=value")
    counts, config = device_counts(_DEVICES.value), _CONFIG.value.to_dict()
    if wrong := [n for n in counts if n == 1 or _BATCH_SIZE.value % n]:
        raise ValueError(
            f"--devices={wrong[0]}: give 2 or more, among which --batch_size={_BATCH_SIZE.value} "
            "divides; one device always takes part."
        )
    quiet_libraries()
    jax.config.update("jax_default_matmul_precision", "highest")
    config |= {"batch_size": _BATCH_SIZE.value, "compute_dtype": "float32"}
    config["data"] |= {"datasets": ("synthetic",), "ratios": (), "num_workers": 0}
    with make_train_batches(config) as made:
        batches, steps_per_epoch = [next(made) for _ in range(_STEPS.value)], made.steps_per_epoch
    if _START.value == "initial":
        variables = initial_variables(config, config["seed"])
    else:
        variables = random_variables(config, np.random.default_rng(config["seed"]))
    initial = traverse_util.flatten_dict(variables["params"], sep="/")

    alone, agree = make_training(config, batches[0], 1, steps_per_epoch), True
    one, losses = alone.train(variables, batches)
    off = {**variables, "params": jax.tree.map(last_bit_off, variables["params"])}
    rounding = relative_differences(one, alone.train(off, batches)[0])
    for devices in counts:
        together = make_training(config, batches[0], devices, steps_per_epoch)
        many, other_losses = together.train(variables, batches)
        single = single_steps(alone, together, variables, batches)
        differences = relative_differences(one, many)
        worst = worst_array(differences)
        agrees = differences[worst] <= _TOLERANCE.value  # false for NaN
        agree = agree and agrees
        row = {
            "benchmark": "device_agreement",
            "steps": _STEPS.value,
            "batch_size": _BATCH_SIZE.value,
            "start": _START.value,
            "keep_ratio": _KEEP_RATIO.value,
            "agrees": agrees,
            "tolerance": _TOLERANCE.value,
            "largest_difference": differences[worst],
            "worst_array": worst,
            "rounding_difference": rounding[worst_array(rounding)],
            "single_step_difference": single[worst_array(single)],
            "single_step_worst_array": worst_array(single),
            "arrays": len(one),
            "arrays_above": sum(not d <= _TOLERANCE.value for d in differences.values()),
            # The difference is to be seen beside how far the steps moved the array.
            "worst_array_moved": relative_differences(one, initial)[worst],
            "one_device": {"losses": losses},
            "many_devices": {"losses": other_losses},
        }
        print(json.dumps(row | environment() | {"devices": devices}), flush=True)
    if not agree:
        print("error: parameters differ by more than the tolerance.", file=sys.stderr)
    return 0 if agree else 1


@dataclasses.dataclass(frozen=True)
class Training:
    """A compiled step."""

    config: Mapping
    mesh: Mesh
    program: Callable

    def start(self, variables: Mapping) -> TrainState:
        """The state before the first step."""
        return create_state(self.config, variables, mesh=self.mesh)

    def step(self, state: TrainState, batch: Mapping[str, np.ndarray]) -> tuple[TrainState, float]:
        """Returns: the next state, which takes the memory of `state`; the loss.

        Raises: ArithmeticError for a step that was not finite, which changes nothing.
        """
        state, metrics = self.program(state, put_batch(batch, self.mesh))
        if metrics["finite"] != 1:
            loss, norm = float(metrics["total"]), float(metrics["grad_norm"])
            raise ArithmeticError(
                f"a step on {self.mesh.size} device(s) was not finite: loss {loss}, norm of the "
                f"gradient {norm}."
            )
        return state, float(metrics["total"])

    def train(
        self, variables: Mapping, batches: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[Arrays, list[float]]:
        """A step on each batch. Returns: parameters by path; the first and the last loss."""
        state, losses = self.start(variables), []
        for batch in batches:
            state, loss = self.step(state, batch)
            losses.append(loss)
        return parameters(state), [losses[0], losses[-1]]


def make_training(
    config: Mapping, batch: Mapping[str, np.ndarray], devices: int, steps_per_epoch: int
) -> Training:
    """Compiles the step for batches such as `batch`.

    Args: config: plain nested dict with the keys of configs/base.py.
    """
    mesh = make_mesh(jax.devices()[:devices])
    step = make_train_step(config, mesh, steps_per_epoch)
    program = step.lower(state_shapes(config, mesh), put_batch(batch, mesh), _KEEP_RATIO.value)
    return Training(config, mesh, program.compile())


def single_steps(
    one: Training,
    many: Training,
    variables: Mapping,
    batches: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """For each array, the largest relative difference after a step from the same state."""
    state, largest = one.start(variables), []
    places = state_places(many.config, many.mesh)
    for batch in batches:
        before = jax.tree.map(np.array, state)  # copied: the step takes the memory of `state`
        state, _ = one.step(state, batch)
        other, _ = many.step(jax.device_put(before, places), batch)
        largest.append(relative_differences(parameters(state), parameters(other)))
    return {name: float(np.max([step[name] for step in largest])) for name in largest[0]}


def parameters(state: TrainState) -> Arrays:
    """Of a state, by path, on the host."""
    return traverse_util.flatten_dict(jax.device_get(state.params), sep="/")


def last_bit_off(array: np.ndarray) -> np.ndarray:
    """Each number times 1 + 2^-24 or 1 - 2^-24, rounded: a neighbour; 0 stays."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], np.shape(array))
    return np.float32(array * (1 + 2.0**-24 * signs))


def relative_differences(expected: Arrays, got: Arrays) -> dict[str, float]:
    """For each array, the norm of the difference over the expected norm; 0 / 0 is 0."""
    differences = {}
    for name, value in expected.items():
        difference, norm = (
            float(np.linalg.norm(np.asarray(array, np.float64)))
            for array in (got[name] - value, value)
        )
        # JSON has no infinity: an array that left zero is as far away as can be written.
        differences[name] = difference / norm if norm else sys.float_info.max * (difference > 0)
    return differences


def worst_array(differences: Mapping[str, float]) -> str:
    """The name with the largest difference; one that is not a number counts as larger than all."""
    return max(differences, key=lambda name: (np.isnan(differences[name]), differences[name]))


if __name__ == "__main__":
    errors.run(main)
