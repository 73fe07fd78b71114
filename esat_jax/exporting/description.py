"""The description beside exported graphs, which tells programs how to run them."""

import hashlib
import json
from pathlib import Path

DESCRIPTION = "export.json"
FORMAT = "esat-jax export, {}"  # "onnx" or "stablehlo"


def read_description(folder: str | Path, target: str) -> dict:
    """The export.json of a folder, checked against the files beside it.

    Raises: ValueError if it is not one of `export_tracker`, is of another target, or its files are
      not whole.
    """
    path = Path(folder) / DESCRIPTION
    try:
        description = json.loads(path.read_text())
        graphs, format = description["graphs"], description["format"]
        files = {Path(folder) / graph["file"]: graph["sha256"] for graph in graphs.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{folder}: there is no whole export here; python -m launch.export writes one."
        ) from None
    if format != FORMAT.format(target):
        raise ValueError(f"{folder}: this is an {format}; {target} was expected.")
    for file, sha256 in files.items():
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise ValueError(f"{file}: missing or damaged; export it again.")
    return description
