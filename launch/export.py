r"""Writes a tracker's network as graphs that other programs run: ONNX or StableHLO.

python -m launch.export --weights=esat.safetensors --target=onnx --output=esat_onnx

The folder receives template.* (first frame: crop -> template tokens), search.* (later frames:
tokens and crop -> box and score, with normalisation, window and decoding inside) and export.json,
which describes both. Each file is then read back and compared with the network itself on made-up
crops. ONNX needs `pip install -r requirements-export.txt`; docs/export.md says how to run the
graphs.
"""

import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from esat_jax.exporting.compare import largest_differences
from esat_jax.exporting.description import DESCRIPTION
from esat_jax.exporting.files import TARGETS, export_tracker
from esat_jax.initial_variables import initial_variables
from esat_jax.model_weights import load_model_weights
from esat_jax.weights import load_initial_paths, random_part
from launch import errors

_WEIGHTS = flags.DEFINE_string("weights", None, "File of the tracker's weights and config.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Instead of --weights: the tracker of this config file with random weights."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder that receives the graphs.")
_TARGET = flags.DEFINE_enum("target", "onnx", list(TARGETS), "What to write.")
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "bfloat16", "float16"], "Type of the layers' numbers."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an export that --output holds.")
flags.mark_flag_as_required("output")

LIMIT_PX = 0.5  # of the search crop, between a float32 graph and the network


def main(argv: list[str]) -> None:
    """Exports and compares."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    if bool(_WEIGHTS.value) == bool(_CONFIG.value):
        raise ValueError("give either --weights=FILE, or --config=FILE for random weights.")
    output = Path(_OUTPUT.value)
    if (output / DESCRIPTION).exists() and not _OVERWRITE.value:
        raise ValueError(f"{output} holds an export: choose another --output or add --overwrite.")
    if _WEIGHTS.value:
        variables, config = load_model_weights(_WEIGHTS.value)
        part = random_part(load_initial_paths(_WEIGHTS.value))
    else:
        config = _CONFIG.value.to_dict()
        variables, part = initial_variables(config, config["seed"]), "every part"
    target, dtype = _TARGET.value, _DTYPE.value
    try:
        description = export_tracker(
            output, config, variables, target=target, dtype=dtype, random_part=part
        )
        box_px, score = largest_differences(output, config, variables, target=target)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is not installed: pip install -r requirements-export.txt."
        ) from None
    for graph in description["graphs"].values():
        reads = ", ".join(f"{x['name']} {x['dtype']}{x['shape']}" for x in graph["inputs"])
        size = graph["bytes"] / 1e6
        print(f"{graph['file']}: {size:.1f} MB, {reads} -> {', '.join(graph['outputs'])}")
    print(
        f"Compared with the network in float32 on made-up crops: boxes differ by {box_px:.2g} px "
        f"of the search crop, scores by {score:.2g}, at most."
    )
    if part:
        print(f"WARNING: {part} of the network is random: the boxes mean nothing.", file=sys.stderr)
    if dtype == "float32" and not box_px <= LIMIT_PX:
        raise ValueError(
            f"{output}: the graphs give other boxes than the network, so don't use them; "
            f"versions: {description['versions']}."
        )
    print(f"Written: {output}")


if __name__ == "__main__":
    errors.run(main)
