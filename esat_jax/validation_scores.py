"""The IoU of every validation pair: the file from which runs are compared pair by pair."""

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from esat_jax.atomic import complete_file

SCORES_NAME = "validation.npz"
_SOURCE_BYTES = 256  # of a source that travels between hosts; what is longer is cut


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationScores:
    """One validation of a run.

    Attributes:
      step: optimiser steps done.
      sources: str [P], data set, sequence and frames of each pair, as a batch has them.
      iou: float32 [P], the mean over the search frames of the pair.
    """

    step: int
    sources: np.ndarray
    iou: np.ndarray

    def by_sequence(self) -> tuple[np.ndarray, np.ndarray]:
        """Names str [S], sorted, and the mean IoU of each sequence's pairs, float64 [S]."""
        sequences = [source.rpartition(": template ")[0] for source in self.sources.tolist()]
        names, places = np.unique(sequences, return_inverse=True)
        return names, np.bincount(places, self.iou) / np.bincount(places)


def save_validation(
    workdir: str | Path, step: int, batches: Sequence[tuple[np.ndarray, jax.Array]]
) -> None:
    """Replaces the work folder's `validation.npz`; whole or not at all, by the first host.

    Args: batches: (sources str [B] of this host, IoU [B] of all hosts) of each batch, in order.
    """
    sources, iou = zip(*batches, strict=True)
    sources, iou = _all_sources(sources), np.concatenate([np.asarray(part) for part in iou])
    if jax.process_index() == 0:
        with complete_file(Path(workdir) / SCORES_NAME) as part, part.open("wb") as file:
            sources = np.char.encode(sources, "utf-8")
            np.savez_compressed(file, step=step, sources=sources, iou=iou)


def load_validation(workdir: str | Path) -> ValidationScores:
    """Reads it. Raises: FileNotFoundError if there is none; ValueError if it is damaged."""
    path = Path(workdir) / SCORES_NAME
    try:
        with np.load(path) as file:
            sources, iou = np.char.decode(file["sources"], "utf-8"), file["iou"]
            step = int(file["step"])
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not read as a run's validation: {error}.") from None
    if sources.shape != iou.shape or not np.isfinite(iou).all():
        raise ValueError(f"{path}: {len(sources)} pairs have {np.isfinite(iou).sum()} IoUs.")
    return ValidationScores(step, sources, iou)


def _all_sources(batches: Sequence[np.ndarray]) -> np.ndarray:
    """The sources of each host's batches, [B] str each, in the order of the global batches."""
    if jax.process_count() == 1:
        return np.concatenate(batches)
    rows = [np.char.encode(batch, "utf-8").astype(f"S{_SOURCE_BYTES}") for batch in batches]
    local = np.stack(rows)[..., None].view(np.uint8)  # [batches, B, bytes]
    whole = multihost_utils.process_allgather(local)  # [hosts, batches, B, bytes]
    whole = np.ascontiguousarray(whole.swapaxes(0, 1)).view(f"S{_SOURCE_BYTES}")
    return np.char.decode(whole.ravel(), "utf-8", "replace")
