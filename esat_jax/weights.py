"""The project's own weights file: safetensors, with the configuration inside."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from esat_jax.atomic import complete_file
from esat_jax.compressed_weights import COMPRESSIONS, compressed, expanded

_FORMAT = "esat-jax"


def save_weights(
    path: str | Path,
    variables: Mapping,
    config: Mapping,
    initial_paths: Collection[str] = (),
    *,
    compression: str = "",
) -> None:
    """Writes variables and the configuration that builds their model, atomically.

    The same weights make the same file, to the byte: results name weights by their file's sha256.

    Args:
      variables: collections of arrays ("params", "batch_stats" and perhaps "torch"), on any
        device; stored under names such as "params/backbone/norm/scale".
      config: plain nested dict, `ConfigDict.to_dict()`.
      initial_paths: "params/box_head/...", arrays that were never trained, where the others were;
        see `load_initial_paths`.
      compression: "int8" or "float16", see `compressed_weights`; "" keeps every array as it is.
    Raises: ValueError for a configuration that JSON cannot hold, and for numbers that cannot be
      compressed; OSError if there is no room.
    """
    metadata = {"format": _FORMAT, "config": _as_json(config)}
    arrays = {
        name: np.asarray(value, order="C")
        for name, value in traverse_util.flatten_dict(dict(variables), sep="/").items()
    }
    if compression:
        arrays = compressed(arrays, compression)
        metadata["compression"] = compression
        initial_paths = [name for name in initial_paths if name in arrays]
    if initial_paths:
        metadata["initial_paths"] = json.dumps(sorted(initial_paths))
    _write(path, arrays, metadata)


def copy_weights(source: str | Path, path: str | Path, config: Mapping) -> None:
    """Writes the arrays of a weights file, compressed or not, as they are, with another `config`.

    Raises: ValueError if the source is no such file or JSON cannot hold the configuration;
      FileNotFoundError if there is none; OSError if there is no room.
    """
    load_weights(source)  # says what is wrong with it
    arrays, metadata = read_safetensors(source)
    _write(path, arrays, metadata | {"config": _as_json(config)})


def load_weights(path: str | Path) -> tuple[dict, dict]:
    """Reads what `save_weights` wrote.

    Returns: (variables, config): nested plain dicts; numpy arrays in the one, of a compressed file
      all float32; tuples instead of lists in the other, as the configs have them.
    Raises: ValueError for any other file, FileNotFoundError if there is none.
    """
    if not is_safetensors(path):
        raise ValueError(
            f"{path}: not read as a safetensors file, so it holds no esat-jax weights; convert "
            "PyTorch weights with launch.convert_weights."
        )
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path}: this safetensors file was not written by esat-jax; convert PyTorch weights "
            "with launch.convert_weights."
        )
    if "compression" in metadata:
        arrays = _expanded(path, arrays, metadata["compression"])
    try:
        config = dict(_tuples(json.loads(metadata["config"])))
        variables = traverse_util.unflatten_dict(arrays, sep="/")
    except (KeyError, ValueError, TypeError, IndexError):
        raise ValueError(
            f"{path}: its names or configuration are damaged; save it again."
        ) from None
    return variables, config


def load_initial_paths(path: str | Path) -> list[str]:
    """Paths of the arrays in a file of `save_weights` that still have their initial values.

    Raises: ValueError for any other file.
    """
    try:
        with safe_open(Path(path), framework="np") as file:
            paths = json.loads((file.metadata() or {}).get("initial_paths", "[]"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: its list of initial values is not read: {error}.") from None
    if not isinstance(paths, list) or not all("/" in str(name) for name in paths):
        raise ValueError(f"{path}: its list of initial values is damaged; save it again.")
    return paths


def random_part(initial_paths: Collection[str]) -> str:
    """What tracks with initial values, in words: "the box head", or "" if nothing does.

    The position head is no part of tracking.
    """
    modules = {path.split("/")[1] for path in initial_paths} - {"position_head"}
    if "box_head" in modules:
        return "the box head"
    return "a part of the backbone" if modules else ""


def is_safetensors(path: str | Path) -> bool:
    """Whether the file begins as a safetensors file does: a JSON header behind its length.

    Raises: FileNotFoundError if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def read_safetensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads all arrays and the metadata of a safetensors file.

    Raises: ValueError for a file that is none or is damaged, FileNotFoundError if there is none.
    """
    try:
        with safe_open(Path(path), framework="np") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, AttributeError, ValueError) as error:  # AttributeError: 8-bit floats
        raise ValueError(f"{path}: not read as a safetensors file: {error}.") from None


def _as_json(config: Mapping) -> str:
    try:
        return json.dumps(dict(config))
    except TypeError as error:
        raise ValueError(f"the configuration cannot be written as JSON: {error}") from None


def _write(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping) -> None:
    with complete_file(path) as part:
        try:
            save_file(dict(arrays), part, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}") from None
        _sort_metadata(part)


def _expanded(
    path: str | Path, arrays: Mapping[str, np.ndarray], compression: str
) -> dict[str, np.ndarray]:
    if compression not in COMPRESSIONS:
        raise ValueError(
            f"{path}: its compression is {compression!r}, and this version reads "
            f"{' and '.join(COMPRESSIONS)}; use a newer one."
        )
    try:
        return expanded(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: this compressed file is damaged: {error}.") from None


def _sort_metadata(path: Path) -> None:
    """Sorts the keys in the header's metadata, which safetensors writes in any order."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"{path}: its header grew from {length} to {len(text)} bytes.")
        file.seek(8)
        file.write(text.ljust(length))


def _tuples(value: object) -> object:
    """JSON's lists as tuples, at every depth."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
