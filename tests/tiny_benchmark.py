"""Runs a benchmark of the training step on a tiny network and two devices of the CPU."""

import subprocess
import sys

from tool_run import ROOT
from training_runs import environment

CONFIG = [
    "--config=configs/esat_vit_b256.py:smoke,ostrack,no_ce",
    "--config.backbone.depth=1",
    "--config.head.channels=16",
]


def run(program_cache, how, what, *arguments):
    """Args: how, what: "-m" and a module, or "-c" and Python."""
    return subprocess.run(
        [sys.executable, how, what, *CONFIG, *arguments],
        cwd=ROOT,
        env=environment(program_cache, devices=2),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
