r"""Makes a small file of a tracker's weights, to share or to ship.

python -m launch.compress_weights --weights=esat.safetensors --output=esat_int8.safetensors

Kernels become 8-bit integers with one float32 scale for each output, a quarter of the bytes
(--kernels=float16: 16-bit floats, half of them); the position head, which only training uses, is
left out. All tools read the file as any other. Prints what the arrays became and how far they
moved. Status 0: written; 1: not, with one sentence.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from absl import app, flags
from flax import traverse_util

from esat_jax.compressed_weights import COMPRESSIONS
from esat_jax.model_weights import load_model_weights
from esat_jax.weights import load_initial_paths, random_part, read_safetensors, save_weights
from launch import errors

_WEIGHTS = flags.DEFINE_string("weights", None, "File of the tracker's weights and config.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write, .safetensors.")
_KERNELS = flags.DEFINE_enum("kernels", "int8", COMPRESSIONS, "What the kernels become.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it exists.")
flags.mark_flags_as_required(["weights", "output"])


def table(
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    stored: Mapping[str, np.ndarray],
) -> Iterator[str]:
    """What became of the arrays, a line for each kind.

    Args: before, after: float arrays by path; stored: what the file holds of them.
    """
    kinds: dict[str, list[str]] = {}
    for path in after:
        kinds.setdefault(f"{_role(path, after[path])}, {stored[path].dtype}", []).append(path)
    yield "kind                   arrays      numbers       MB  largest change"
    for kind, paths in sorted(kinds.items()):
        numbers = sum(after[path].size for path in paths)
        parts = [stored[name] for path in paths for name in (path, f"scales/{path}")
                 if name in stored]  # fmt: skip
        megabytes = sum(part.nbytes for part in parts) / 1e6
        change = max(_relative_change(before[path], after[path]) for path in paths)
        yield f"{kind:20} {len(paths):8,} {numbers:12,} {megabytes:8.2f}  {change:14.2g}"
    if left_out := before.keys() - after.keys():
        yield f"left out, not for tracking: {len(left_out)} arrays"
    yield "largest change: |after - before| / |before| of an array, L2"


def _role(path: str, value: np.ndarray) -> str:
    if path.endswith("/kernel"):
        return "kernels"
    return "embeddings" if value.ndim > 1 else "vectors"


def _relative_change(before: np.ndarray, after: np.ndarray) -> float:
    before = np.asarray(before, np.float64)
    return float(np.linalg.norm(after - before) / (np.linalg.norm(before) or 1.0))


def _flat(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    variables, config = load_model_weights(path)
    return traverse_util.flatten_dict(variables, sep="/"), config


def main(argv: list[str]) -> None:
    """Compresses, reads what was written, and compares."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    weights, output = Path(_WEIGHTS.value), Path(_OUTPUT.value)
    if output.suffix != ".safetensors":
        raise ValueError(f"{output}: esat-jax weights are written to a .safetensors file.")
    if output.exists() and not _OVERWRITE.value:
        raise ValueError(f"{output} exists: choose another --output, or add --overwrite.")
    if not output.parent.is_dir():
        raise ValueError(f"{output.parent}: there is no such folder for the output.")
    before, config = _flat(weights)
    size, initial = weights.stat().st_size, load_initial_paths(weights)
    try:
        variables = traverse_util.unflatten_dict(before, sep="/")
        save_weights(output, variables, config, initial, compression=_KERNELS.value)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}.") from None
    after, _ = _flat(output)
    print(*table(before, after, read_safetensors(output)[0]), sep="\n")
    print(f"{size / 1e6:.1f} MB -> {output.stat().st_size / 1e6:.1f} MB")
    if part := random_part(initial):
        print(f"WARNING: {part} is random: it was not trained yet.", file=sys.stderr)
    print(f"Written: {output}")


if __name__ == "__main__":
    errors.run(main)
