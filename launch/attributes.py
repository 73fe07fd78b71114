"""What makes a sequence hard, as the files of its data set say it."""

import numpy as np

from data_pipeline.annotations import parse_flags
from data_pipeline.sequences import Sequence
from data_pipeline.stores import Store
from esat_jax.evaluation.benchmarks import Benchmark

_META_KEYS = ("root_class", "motion_adverb")  # of GOT-10k: the few words that many sequences share


def read_attributes(
    sequence: Sequence, benchmark: Benchmark, flags: np.ndarray | None, annos: Store | None
) -> tuple[str, ...] | None:
    """The attributes that a sequence has; None if nothing says which.

    Args:
      flags: [columns], of the sequence's attribute file if `read_scoring_facts` has found one.
      annos: the folder that --toolkit names.
    Raises: ValueError for a file with another number of flags than the benchmark has attributes.
    """
    if benchmark.tag == "got10k":
        return _got10k_words(sequence)
    if benchmark.tag == "otb" and annos is not None:
        flags = _otb_flags(sequence, benchmark, annos)
    if flags is None:
        return None
    columns = benchmark.attributes
    if len(flags) != len(columns):
        raise ValueError(
            f"{sequence.name}: expected {len(columns)} attributes of {sequence.dataset}, "
            f"{', '.join(columns)}, got {len(flags)}."
        )
    return tuple(column for column, flag in zip(columns, flags, strict=True) if flag)


def _got10k_words(sequence: Sequence) -> tuple[str, ...] | None:
    """Words of meta_info.ini, such as `root_class: animal` and `motion_adverb: slowly`."""
    store, path = sequence.store, f"{sequence.frames.folder}/meta_info.ini"
    if not store.exists(path):
        return None
    lines = store.read_bytes(path).decode("utf-8", "replace").splitlines()
    pairs = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    words = tuple(f"{key}: {pairs[key]}" for key in _META_KEYS if pairs.get(key))
    return words or None


def _otb_flags(sequence: Sequence, benchmark: Benchmark, annos: Store) -> np.ndarray | None:
    """Flags of att/NAME.txt in OTB's toolkit, whose names begin with a small letter or not."""
    try:
        files = {file.lower(): file for file in annos.list("att")}
    except FileNotFoundError:
        raise ValueError(
            f"{annos.where('att')}: expected the folder `anno` of OTB's toolkit, with att/NAME.txt."
        ) from None
    names = [f"{alias}.txt".lower() for alias in benchmark.aliases(sequence.name)]
    found = next((files[name] for name in names if name in files), None)
    if found is None:
        return None
    return parse_flags(annos.read_bytes(f"att/{found}"), annos.where(f"att/{found}"))
