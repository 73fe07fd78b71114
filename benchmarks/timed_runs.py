"""Runs a tracker over sequences, one frame after the other, and keeps its boxes and times.

Reading a frame, decoding it and finding the target are timed together: what a user waits for.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

from data_pipeline.sequences import Sequence
from esat_jax.adapters.any_tracker import AnyTracker
from esat_jax.evaluation.manifest import Maker, ResultFolder, file_sha256
from esat_jax.follower import Track


@dataclasses.dataclass(frozen=True)
class TimedMaker(Maker):
    """What boxes and times follow from; `config` is flat: settings, and what it ran on."""

    def facts(self) -> dict[str, object]:
        """All that makes a difference, flat."""
        return {"weights sha256": self.weights_sha256, **self.config}


def files_sha256(files: Iterable[str | Path]) -> str:
    """One checksum of several files, in this order."""
    return hashlib.sha256("".join(file_sha256(file) or "" for file in files).encode()).hexdigest()


def run_sequences(
    make_tracker: Callable[[], AnyTracker],
    sequences: Collection[Sequence],
    folder: ResultFolder,
    made_with: dict[str, object],
    name: str,
) -> None:
    """Tracks the sequences that are not finished, and writes boxes, scores and times.

    Results of other weights or settings are removed: the folder is this benchmark's own.
    Args: made_with: for the reader of the manifest; name: of the tracker, for what is printed.
    Raises: ValueError or OSError naming the sequence that could not be tracked.
    """
    folder.claim([sequence.name for sequence in sequences], made_with, replace=True)
    todo = [sequence for sequence in sequences if not folder.is_finished(sequence)]
    done = len(sequences) - len(todo)
    print(f"{name}: {done} of {len(sequences)} sequences are finished already.", flush=True)
    if not todo:
        return
    tracker = make_tracker()
    for sequence in todo:
        folder.discard(sequence.name)
        try:
            track = follow(tracker, sequence)
        except ValueError as error:
            raise ValueError(f"{name} on {sequence.name}: {error}") from error
        folder.write(track)
        speed = (len(sequence) - 1) / max(track.seconds[1:].sum(), 1e-9)
        print(f"{name}: {sequence.name}, {speed:.1f} frames/s", flush=True)


def follow(tracker: AnyTracker, sequence: Sequence) -> Track:
    """Tracks the first box of a sequence through its other frames."""
    boxes_xywh = np.full((len(sequence), 4), np.nan)
    scores, seconds = (np.full(len(sequence), np.nan) for _ in range(2))
    lost = np.zeros(len(sequence), bool)
    boxes_xywh[0] = sequence.boxes_xywh[0]
    for i in range(len(sequence)):
        start = time.perf_counter()
        frame = sequence.read_frame(i)
        if i == 0:
            tracker.initialize(frame, boxes_xywh[0])
        else:
            boxes_xywh[i], scores[i], lost[i] = tracker.update(frame)
        seconds[i] = time.perf_counter() - start
    return Track(sequence, boxes_xywh, scores, lost, seconds, None)
