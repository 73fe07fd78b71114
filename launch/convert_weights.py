r"""Converts weights between PyTorch trackers and esat-jax, and says what became of every array.

PyTorch to esat-jax (OSTrack, AQATrack, MAE, DINOv2, ESAT; .pth, .pth.tar or .safetensors):

python -m launch.convert_weights --config=configs/esat_vit_b384.py:ostrack \
    --input=OSTrack_ep0300.pth.tar --output=ostrack.safetensors

esat-jax to PyTorch; the configuration is in the file:

python -m launch.convert_weights --export=ostrack --input=esat.safetensors --output=esat.pth.tar

Nothing in a PyTorch file is run, and PyTorch is not needed. Values do not change, but other floats
become float32. Names that are missing or left over are errors unless a pattern allows them, as in
--allow_missing='position_head.*'. Status 0: written; 1: not, with one sentence.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags
from safetensors.numpy import save_file

from esat_jax.atomic import complete_file
from esat_jax.model_weights import load_model_weights
from esat_jax.torch_archive import write_torch_file
from esat_jax.torch_names import FORMATS, entries
from esat_jax.torch_weights import (
    export_state_dict,
    left_out_of_export,
    load_state_dict,
    read_checkpoint,
)
from esat_jax.weights import load_initial_paths, random_part, save_weights
from launch import errors

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file of the model to make.")
_INPUT = flags.DEFINE_string("input", None, "File to read.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write.")
_EXPORT = flags.DEFINE_enum("export", None, list(FORMATS), "Write PyTorch weights of this format.")
_ALLOW_MISSING = flags.DEFINE_list(
    "allow_missing", [], "Patterns of PyTorch names that may be absent; initial values take over."
)
_ALLOW_SURPLUS = flags.DEFINE_list("allow_surplus", [], "Patterns of PyTorch names to ignore.")
_RESIZE = flags.DEFINE_bool(
    "resize_positions", False, "Resize position embeddings of other crop sizes (bicubic)."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
flags.mark_flags_as_required(["input", "output"])

TORCH_SUFFIXES = (".pth", ".pt", ".tar")
NET_TYPES = {"ostrack": "OSTrack", "aqatrack": "AQATrack", "esat": "ESAT"}
PLAIN_VARIANTS = {"ostrack": "ostrack", "aqatrack": "t5_baseline"}  # in configs/variants.py
INCOMPLETE = {
    "aqatrack": "AQATrack's temporal decoder is not included: load with strict=False",
    "mae_hivit": "the final norm and the decoder of MAE are not included",
}


def convert_to_esat(input: Path, output: Path, config: ConfigDict | None) -> None:
    """Reads PyTorch weights and writes esat-jax weights."""
    if config is None:
        raise ValueError("give --config=FILE, the model to make, or --export=FORMAT.")
    if output.suffix != ".safetensors":
        raise ValueError(f"{output}: esat-jax weights are written to a .safetensors file.")
    state, format = read_checkpoint(input)
    try:
        variables, report = load_state_dict(
            state,
            config,
            format=format,
            allow_missing=_ALLOW_MISSING.value,
            allow_surplus=_ALLOW_SURPLUS.value,
            resize_positions=_RESIZE.value,
        )
    except ValueError as error:
        raise ValueError(f"{input}: {error}.") from None
    save_weights(output, variables, config.to_dict(), report.missing)
    print(*report.lines(), sep="\n")
    if part := random_part(report.missing):
        _warn(f"{part} is random: this is a start for training, not a tracker yet")
    if config.fda.enabled and format in PLAIN_VARIANTS:
        _warn(
            "this model attends with forces (config.fda), but the values were trained with plain "
            "attention, so it will track differently; for the original tracker choose "
            f"--config=FILE:{PLAIN_VARIANTS[format]}"
        )


def convert_to_torch(input: Path, output: Path, config: ConfigDict | None, format: str) -> None:
    """Reads esat-jax weights and writes PyTorch weights."""
    if output.suffix not in (".safetensors", *TORCH_SUFFIXES):
        raise ValueError(f"{output}: PyTorch weights are written to a .pth, .tar or .safetensors.")
    variables, stored = load_model_weights(input)
    if config is not None and ConfigDict(stored).backbone != config.backbone:
        raise ValueError(f"{input}: its own configuration has another backbone; omit --config.")
    try:
        state = export_state_dict(variables, stored, format)
    except ValueError as error:
        raise ValueError(f"{input}: {error}.") from None
    if output.suffix == ".safetensors":
        with complete_file(output) as part:
            save_file(state, part, metadata={"format": "pt"})
    else:
        write_torch_file(output, _wrapped(state, format))
    print(f"written: {len(state)} arrays of the format {format} ({FORMATS[format].title})")
    for note in _export_notes(variables, stored, format):
        print(note)
    if part := random_part(load_initial_paths(input)):
        _warn(f"{part} is random: it was not trained yet")


def _wrapped(state: dict[str, np.ndarray], format: str) -> Mapping:
    """The state dict where the original looks for it."""
    if format in NET_TYPES:
        return {"epoch": 0, "net_type": NET_TYPES[format], "net": state}
    return {"model": state} if format == "mae" else state


def _export_notes(variables: Mapping, config: Mapping, format: str) -> list[str]:
    """What the reader of the exported file must know."""
    notes = []
    if left_out := left_out_of_export(variables, config, format):
        modules = sorted({"/".join(path.split("/")[1:3]) for path in left_out})
        notes.append(f"left out, the format has no place: {len(left_out)} of {', '.join(modules)}")
    kept = variables.get("torch", {})
    unused = [entry.path.removeprefix("torch/") for entry in entries(format, config)
              if entry.path.startswith("torch/") and not entry.optional]  # fmt: skip
    if made := [name for name in unused if name not in kept]:
        notes.append(f"made anew, unused by the tracker: {len(made)}, such as {made[0]}")
    learns_positions = config["loss"]["abs"] or config["loss"]["pn"]
    if format == "esat" and learns_positions and "position_head" not in variables["params"]:
        notes.append(
            "note: these weights have no position head, which only training uses: load with "
            "strict=False"
        )
    if format in INCOMPLETE:
        notes.append(f"note: {INCOMPLETE[format]}")
    if config["fda"]["enabled"] and format != "esat":
        notes.append(
            "note: this model attends with forces (config.fda); the original computes plain "
            "attention, so its outputs with these weights will differ"
        )
    return notes


def _warn(text: str) -> None:
    print(f"WARNING: {text}.", file=sys.stderr)


def main(argv: list[str]) -> None:
    """Converts in the direction that the flags say."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    input, output = Path(_INPUT.value), Path(_OUTPUT.value)
    if output.exists() and not _OVERWRITE.value:
        raise ValueError(f"{output} exists: choose another --output, or add --overwrite.")
    if not output.parent.is_dir():
        raise ValueError(f"{output.parent}: there is no such folder for the output.")
    if _EXPORT.value:
        convert_to_torch(input, output, _CONFIG.value, _EXPORT.value)
    else:
        convert_to_esat(input, output, _CONFIG.value)
    print(f"Written: {output}")


if __name__ == "__main__":
    errors.run(main)
