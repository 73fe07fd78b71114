"""Compares exported graphs, read back from their files, with the network that they came from."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np
from jax import export

from esat_jax.exporting.description import read_description
from esat_jax.models.esat import inference_variables
from esat_jax.tracker import make_search_step, needs_template_box

Values = Mapping[str, np.ndarray]
_BLOTCH_PX = 8  # of made-up crops


def largest_differences(
    folder: str | Path, config: Mapping, variables: Mapping, *, target: str, pairs: int = 4
) -> tuple[float, float]:
    """Largest differences of boxes (px of the search crop) and scores on made-up crops.

    The network computes in float32, whatever the type of the graphs is.
    Raises: ValueError if the folder holds no whole export; ModuleNotFoundError without onnxruntime.
    """
    config = {**config, "compute_dtype": "float32"}
    variables = inference_variables(variables, config)
    step, size = jax.jit(make_search_step(config)), config["search"]["size"]
    run = {name: _LOADERS[target](path) for name, path in graph_files(folder, target).items()}
    rng, largest = np.random.default_rng(0), np.zeros(2)
    for _ in range(pairs):
        crops = {name: _crop(rng, config[name]["size"]) for name in ("template", "search")}
        box_cxcywh = np.array([[0.5, 0.5, *rng.uniform(0.3, 0.6, 2)]], np.float32)
        values = {**crops, "template_box_cxcywh": box_cxcywh}
        found = run["search"]({**values, **run["template"](values)})
        given = (*crops.values(), box_cxcywh if needs_template_box(config) else None)
        true_cxcywh, true_score = jax.device_get(step(variables, *given))
        box_px = np.abs(found["box_cxcywh"] - true_cxcywh).max() * size
        largest = np.maximum(largest, [box_px, np.abs(found["score"] - true_score).max()])
    return float(largest[0]), float(largest[1])


def graph_files(folder: str | Path, target: str) -> dict[str, tuple[Path, list[str], list[str]]]:
    """File, names of inputs and names of outputs of each graph in a folder."""
    graphs = read_description(folder, target)["graphs"]
    return {
        name: (Path(folder) / graph["file"], [x["name"] for x in graph["inputs"]], graph["outputs"])
        for name, graph in graphs.items()
    }


def _crop(rng: np.random.Generator, size: int) -> np.ndarray:
    """Coloured squares, uint8 [1, size, size, 3]."""
    count = -(-size // _BLOTCH_PX)
    squares = rng.integers(0, 256, (count, count, 3), np.uint8)
    return squares.repeat(_BLOTCH_PX, axis=0).repeat(_BLOTCH_PX, axis=1)[None, :size, :size]


Graph = tuple[Path, list[str], list[str]]


def _load_onnx(graph: Graph) -> Callable[[Values], Values]:
    import onnxruntime

    path, inputs, outputs = graph
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(values: Values) -> Values:
        found = session.run(outputs, {name: values[name] for name in inputs})
        return dict(zip(outputs, found, strict=True))

    return run


def _load_stablehlo(graph: Graph) -> Callable[[Values], Values]:
    path, inputs, outputs = graph
    function = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)

    def run(values: Values) -> Values:
        found = function(*(values[name] for name in inputs))
        return dict(zip(outputs, jax.device_get(found), strict=True))

    return run


_LOADERS = {"onnx": _load_onnx, "stablehlo": _load_stablehlo}
