"""The files that tools write at their end, above all those of numbers, --json."""

import json
from collections.abc import Mapping
from pathlib import Path

from esat_jax.atomic import complete_file


def output_path(flag: str | None, name: str = "json") -> Path | None:
    """Where the flag --`name` says; asked before the work, which would be lost after it.

    Raises: ValueError if there is no such folder.
    """
    path = Path(flag) if flag else None
    if path and not path.parent.is_dir():
        raise ValueError(f"--{name}={path}: there is no folder {path.parent}; make it first.")
    return path


def write_json(path: Path | None, numbers: Mapping) -> None:
    """Writes the numbers and says so; nothing if `path` is None."""
    if path:
        with complete_file(path) as part:
            part.write_text(json.dumps(numbers, indent=2) + "\n")
        print(f"Written: {path}")
