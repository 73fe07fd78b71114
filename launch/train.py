r"""Trains a tracker; the same command goes on where a run was stopped or killed.

python -m launch.train --config=configs/esat_vit_b384.py --config.data.root=/data --workdir=runs/a

The work folder receives: config.json; starts.jsonl, a line of versions, git commit and devices for
every start; metrics.jsonl and tensorboard/, losses and validation; validation.npz, the IoU of every
validation pair; checkpoints/; and at the end weights.safetensors, which launch.track reads. On
several hosts add --distributed.

SIGTERM and Ctrl-C save and end the run, with status 143 and 130. A number that is not finite ends
it with status 1 and a folder failed_step_N, which --replay=FOLDER computes once more.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from jax.experimental import multihost_utils
from ml_collections import config_flags

from data_pipeline.pipeline import make_train_batches, make_val_batches
from esat_jax import failed_step
from esat_jax.atomic import check_writable, complete_file
from esat_jax.config_differences import check_same_config
from esat_jax.sharding import make_mesh, put_batch, replicated
from esat_jax.step_programs import guarded
from esat_jax.torch_weights import load_state_dict, read_checkpoint
from esat_jax.train_state import state_shapes
from esat_jax.train_step import make_train_step
from esat_jax.trainer import Trainer
from esat_jax.weights import save_weights
from launch import errors, hosts
from launch.run_record import append_start, devices_in_words
from launch.training_faults import disk_in_words, memory_in_words, quiet_libraries

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, then :variant,variant.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; the same one to go on.")
_REPLAY = flags.DEFINE_string("replay", None, "Folder failed_step_N: compute that step once more.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes, started by launch/slurm.sh for example."
)

CACHE = Path("~/.cache/esat-jax/programs")  # unless JAX_COMPILATION_CACHE_DIR is set
WEIGHTS_NAME = "weights.safetensors"


class StopSignals:
    """Notes SIGTERM and Ctrl-C, so that the loop can save before it ends."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """While this lasts, the first signal asks for a stop and a second Ctrl-C ends at once."""
        if jax.process_count() > 1:  # JAX's own handler of SIGTERM must stay
            yield
            return
        before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def asked(self, step: int) -> bool:
        """Whether to stop before this step; with several hosts all of them say the same."""
        if jax.process_count() > 1:
            # JAX notes SIGTERM by itself and agrees on a step with the other hosts.
            return multihost_utils.reached_preemption_sync_point(step)
        return self.received is not None

    def _note(self, number: int, frame: object) -> None:
        del frame
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)


def train(config: Mapping, workdir: Path) -> int:
    """Trains and writes the weights; returns the exit status."""
    share = {"shard_index": jax.process_index(), "shard_count": jax.process_count()}
    first = jax.process_index() == 0
    _claim(workdir, config)
    stop = StopSignals()
    with (
        make_train_batches(config, **share) as train_batches,
        make_val_batches(config, **share) as val_batches,
        stop.noted(),
    ):
        trainer = Trainer(
            config,
            workdir,
            train_batches,
            val_batches,
            initial_variables=lambda: pretrained_variables(config),
            stop_asked=stop.asked,
        )
        if first:
            append_start(workdir, trainer.step)
            print(*devices_in_words(config, trainer.mesh, trainer.steps_per_epoch), sep="\n")
            print(f"Step {trainer.step} of {trainer.num_steps}; the run is in {workdir}.")
        if not trainer.run():
            return _stopped(stop.received or signal.SIGTERM, trainer.step)
        variables = trainer.final_variables()
        if first:
            save_weights(workdir / WEIGHTS_NAME, variables, config)
            print(f"Finished. Written: {workdir / WEIGHTS_NAME}")
    return 0


def pretrained_variables(config: Mapping) -> dict | None:
    """Variables with the backbone of config.pretrained; None if that is "".

    Raises: ValueError if the file does not fit the configured backbone.
    """
    if not config["pretrained"]:
        return None
    state, format = read_checkpoint(config["pretrained"])
    try:
        variables, report = load_state_dict(state, config, format=format, resize_positions=True)
    except ValueError as error:
        raise ValueError(f"{config['pretrained']}: {error}.") from None
    print(*report.lines(), sep="\n")
    return variables


def replay(folder: Path) -> int:
    """Computes a failed step once more and prints its numbers; 1 if it fails again, else 0."""
    report = failed_step.load_report(folder)
    config, mesh = report["config"], make_mesh()
    batch = failed_step.load_batch(folder)
    state = failed_step.load_state(folder, state_shapes(config, mesh))
    # The very program of training: it is compiled already, and in the cache.
    step = guarded(make_train_step(config, mesh, report["steps_per_epoch"]), state)
    healthy = jax.device_put(np.array(True), replicated(mesh))
    _, healthy, numbers = step(state, healthy, put_batch(batch, mesh), report["keep_ratio"])
    numbers = {name: float(value) for name, value in jax.device_get(numbers).items()}
    print(f"step {report['step']}, then and now:")
    for name, value in numbers.items():
        print(f"  {name:14} {float(report['numbers'][name]):14.6g} {value:14.6g}")
    for sample in failed_step.faulty_samples(batch):
        print(f"  not finite in the batch: {sample}")
    if healthy:
        print("All numbers are finite this time.")
        return 0
    print(f"Again not finite: {', '.join(failed_step.not_finite(numbers))}.")
    return 1


def _claim(workdir: Path, config: Mapping) -> None:
    """Writes config.json.

    Raises: OtherConfigError if the folder is a run of another one; OSError if it is not writable.
    """
    path = workdir / "config.json"
    check_writable(workdir)
    if path.exists():
        check_same_config(json.loads(path.read_text()), config, f"{workdir} holds a run")
    if jax.process_index() == 0:
        with complete_file(path) as part:
            part.write_text(json.dumps(config, indent=1) + "\n")


def _stopped(received: signal.Signals, step: int) -> int:
    print(
        f"stopped by {received.name} after step {step}, which is saved: the same command goes on.",
        file=sys.stderr,
    )
    return 128 + received


def _use_program_cache() -> None:
    """Compiled programs outlive the process, so that a run that goes on starts at once."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))


def main(argv: list[str]) -> int:
    """Trains or replays, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    quiet_libraries()
    _use_program_cache()
    if _REPLAY.value:
        return replay(Path(_REPLAY.value))
    if _CONFIG.value is None or not _WORKDIR.value:
        raise ValueError("give --config=FILE and --workdir=FOLDER, or --replay=FOLDER.")
    if _DISTRIBUTED.value:
        hosts.join()
    config, workdir = _CONFIG.value.to_dict(), Path(_WORKDIR.value).expanduser()
    with hosts.ending_together(), memory_in_words(config), disk_in_words(workdir):
        return train(config, workdir)


if __name__ == "__main__":
    errors.run(main)
