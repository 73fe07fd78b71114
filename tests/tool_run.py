"""Runs a command of the project as a user would, in the project's folder or in another one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_tool(folder, tool, *arguments, variables=()):
    """The finished process; `variables` are added to the environment."""
    return subprocess.run(
        [sys.executable, "-m", f"launch.{tool}", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
