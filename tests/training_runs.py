"""Runs of launch.train as processes: a tiny network, eight steps, a checkpoint after each."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

import kept_programs
from esat_jax.checkpoints import restore_state
from esat_jax.metric_log import read_rows
from esat_jax.sharding import make_mesh
from esat_jax.train_state import state_shapes
from esat_jax.weights import load_weights

ROOT = Path(__file__).parent.parent
CONFIG = "configs/esat_vit_b256.py:smoke"
STEPS, STEPS_PER_EPOCH = 8, 4
KEYS = {
    "backbone.depth": 1,
    "ce.layers": "(0,)",
    "ce.max_ratios": 1,
    "head.channels": 16,
    "spl.channels": "(8,)",
    "batch_size": 2,
    "optim.ema_decay": 0.9,
    "data.samples_per_epoch": 2 * STEPS_PER_EPOCH,
    "data.val_samples": 2,
    "checkpoint.every_steps": 1,
}
QUICK_COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def overrides(**keys):
    return [f"--config.{key}={value}" for key, value in (KEYS | keys).items()]


def environment(cache, devices=1):
    """Of a process that keeps its compiled programs in a folder."""
    return os.environ | {
        **kept_programs.variables(cache),
        "XLA_FLAGS": f"{QUICK_COMPILER} --xla_force_host_platform_device_count={devices}",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def spawn(command, cache, devices=1, **variables):
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(cache, devices) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(workdir, cache, before="", devices=1, **keys):
    """Args: before: Python to run first, to plant a fault; keys: of the config, as flags."""
    # tensorboardX imports PyTorch where it is installed, which takes a second.
    without_torch = "import sys; sys.modules['torch'] = None"
    tool = "from launch import errors, train; errors.run(train.main)"
    command = [sys.executable, "-c", f"{without_torch}\n{before}\n{tool}"]
    command += [f"--workdir={workdir}", f"--config={CONFIG}", *overrides(**keys)]
    return spawn(command, cache, devices)


def slurm_job():
    """What SLURM tells the processes of a job, each the only one of its computer; but its index."""
    while True:
        job = random.randrange(4096)
        with socket.socket() as one:  # JAX derives a port of the number; see jax/_src/clusters
            if one.connect_ex(("localhost", 61440 + job)):
                break
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_LOCALID": "0",
    }


def finish(process, timeout=300):
    """The exit status and what was written to stdout and stderr."""
    output, errors = process.communicate(timeout=timeout)
    return process.returncode, output, errors


def wait_for_rows(process, workdir, number):
    """Returns when the log has that many rows, or the process has ended."""
    while process.poll() is None:
        if (workdir / "metrics.jsonl").exists() and len(read_rows(workdir)) >= number:
            return
        time.sleep(0.01)


def unfinished_checkpoints(workdir):
    """Folders of checkpoints that are being written, or whose writing was interrupted."""
    return list((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp"))


def wait_for_a_write(process, workdir):
    """Returns while a checkpoint is being written, or when the process has ended."""
    while process.poll() is None and not unfinished_checkpoints(workdir):
        time.sleep(0.001)


def learnt(workdir):
    """The rows of the log without the speed."""
    return [
        {name: value for name, value in row.items() if not name.startswith("speed/")}
        for row in read_rows(workdir)
    ]


def weights(workdir):
    """Every parameter and statistic that the run ended with, by path."""
    variables = load_weights(workdir / "weights.safetensors")[0]
    return traverse_util.flatten_dict(variables, sep="/")


def final_state(workdir, step):
    """The training state of a checkpoint: parameters, moments, averages, step, seed."""
    config = json.loads((workdir / "config.json").read_text())
    like = state_shapes(config, make_mesh(jax.devices()[:1]))
    return restore_state(workdir / "checkpoints" / str(step) / "state", like)


def assert_same_run(workdir, other, step=STEPS):
    """To the bit: weights, the last checkpoint, and the log."""
    expected = weights(other)
    assert {path.split("/")[1] for path in expected} == {"backbone", "box_head", "position_head"}
    for path, value in weights(workdir).items():
        np.testing.assert_array_equal(value, expected.pop(path), err_msg=path)
    assert not expected
    jax.tree.map(
        np.testing.assert_array_equal, final_state(workdir, step), final_state(other, step)
    )
    assert learnt(workdir) == learnt(other)
