"""What a training run writes and says about where it runs."""

import importlib.metadata
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from jax.sharding import Mesh

from esat_jax.metric_log import STARTS_NAME

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "opencv-python")
ROOT = Path(__file__).parent.parent


def append_start(workdir: Path, step: int) -> None:
    """Adds a line to starts.jsonl: when, from which step, with which code, versions, devices."""
    record = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "step": step,
        "git": git_commit(),
        "python": platform.python_version(),
        "versions": _versions(),
        "devices": sorted(device.device_kind for device in jax.devices()),
        "hosts": jax.process_count(),
        "command": sys.argv,
    }
    with (workdir / STARTS_NAME).open("a") as file:
        file.write(json.dumps(record) + "\n")


def git_commit() -> str | None:
    """The commit of this code, with "+changes" if files differ from it; None without git."""
    commands = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changes else commit


def devices_in_words(config: Mapping, mesh: Mesh, steps_per_epoch: int) -> list[str]:
    """Lines that say how the global batch and the learning rates of the config come about here."""
    batch, optim, num_search = config["batch_size"], config["optim"], config["search"]["number"]
    kind = mesh.devices.flat[0].device_kind
    accumulate = optim["accumulate"]
    each = batch / mesh.size / accumulate
    rates = ", ".join(f"{name} {rate:g}" for name, rate in optim["lr"].items())
    drop = f"times {optim['lr_drop_factor']:g} after epoch {optim['lr_drop_epoch']}"
    schedule = drop if optim["schedule"] == "step" else "down a cosine to 0"
    if optim["warmup_steps"]:
        schedule = f"rising over {optim['warmup_steps']} steps, then {schedule}"
    return [
        f"Devices: {mesh.size} x {kind} on {jax.process_count()} host(s).",
        f"Batch: {batch} pairs (global) = {mesh.size} device(s) x {accumulate} micro-batch(es) x "
        f"{each:g} pairs, each with {num_search} search frame(s).",
        f"Learning rates: {rates}; {schedule}. They belong to the global batch: devices and "
        "accumulation do not change them.",
        f"Epochs: {optim['epochs']} of {steps_per_epoch} steps.",
    ]


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # the headless OpenCV has another name
    return found
