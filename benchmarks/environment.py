"""What a measurement ran on."""

import platform
import subprocess

import jax
import jaxlib


def environment() -> dict[str, str | int]:
    """Device, versions and commit, to be added to a JSON line."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "python": platform.python_version(),
        "commit": commit or "unknown",
    }
