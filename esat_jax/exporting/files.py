"""Writes a tracker's graphs into a folder, with a description of how to run them."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax import export

from esat_jax import __version__
from esat_jax.atomic import complete_file
from esat_jax.exporting.description import DESCRIPTION, FORMAT
from esat_jax.exporting.graphs import TrackerGraph, make_graphs

# The types that programs which run a format compute in; onnxruntime has no bfloat16 on CPUs.
TARGETS = {
    "onnx": ("float32", "float16"),
    "stablehlo": ("float32", "bfloat16", "float16"),
}
PLATFORMS = ("cpu", "cuda", "tpu")  # of a StableHLO file


def export_tracker(
    folder: str | Path,
    config: Mapping,
    variables: Mapping,
    *,
    target: str,
    dtype: str,
    random_part: str = "",
) -> dict:
    """Writes template.* and search.*, and last export.json, which tells that all is whole.

    Args:
      config: plain nested dict with the keys of configs/base.py; variables: fit it.
      target: "onnx" or "stablehlo"; dtype: one of `TARGETS[target]`.
      random_part: of the network, in words, for who tracks with it.
    Returns: what export.json holds.
    Raises: ValueError for a type that the target does not have, ImportError without `onnx`.
    """
    if dtype not in TARGETS[target]:
        raise ValueError(f"{target} is written in {' or '.join(TARGETS[target])}, not in {dtype}.")
    constants, graphs = make_graphs(config, variables, dtype)
    written = [_WRITERS[target](graph, constants) for graph in graphs]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format": FORMAT.format(target),
        "dtype": dtype,
        "versions": {"esat_jax": __version__, "jax": jax.__version__},
        "config": dict(config),
        "random_part": random_part,
        "graphs": {},
    }
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for graph, data in zip(graphs, written, strict=True):
        path = folder / f"{graph.name}.{target}"
        with complete_file(path) as part:
            part.write_bytes(data)
        description["graphs"][graph.name] = {
            "file": path.name,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "inputs": [_described(name, value) for name, value in graph.inputs.items()],
            "outputs": list(graph.outputs),
        }
    with complete_file(folder / DESCRIPTION) as part:
        part.write_text(json.dumps(description, indent=1) + "\n")
    return description


def _stablehlo(graph: TrackerGraph, constants: Mapping[str, np.ndarray]) -> bytes:
    arrays = {name: jax.numpy.asarray(value) for name, value in constants.items()}
    function = jax.jit(functools.partial(graph.function, arrays))
    return bytes(export.export(function, platforms=PLATFORMS)(*graph.inputs.values()).serialize())


def _onnx(graph: TrackerGraph, constants: Mapping[str, np.ndarray]) -> bytes:
    from esat_jax.exporting.jaxpr_to_onnx import convert

    model = convert(graph.function, constants, graph.inputs, graph.outputs, name=graph.name)
    return model.SerializeToString()


def _described(name: str, value: jax.ShapeDtypeStruct) -> dict[str, str | Sequence[int]]:
    return {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}


_WRITERS = {"onnx": _onnx, "stablehlo": _stablehlo}
