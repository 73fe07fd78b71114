"""Runs a command of the project from another folder, as a user would."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_tool(folder, tool, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"launch.{tool}", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
