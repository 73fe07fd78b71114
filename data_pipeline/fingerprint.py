"""What is in a data set, as checksums that do not depend on where it lies."""

import hashlib
import re
from collections.abc import Iterable

import numpy as np

from data_pipeline.index import Index
from data_pipeline.sequences import Dataset, FrameError, Sequence

FRAMES_READ = 64  # of millions: enough to notice a data set that was encoded anew, and soon read
CHANGED = {  # what a message says of a checksum that differs
    "annotations_sha256": "its names, boxes or flags have changed",
    "frames_sha256": "its images have changed",
}
_ARCHIVE = re.compile(rb'"archive": (?:null|"(?:[^"\\]|\\.)*")')


def fingerprint(dataset: Dataset) -> dict[str, str]:
    """The checksums of CHANGED: of all annotations, and of FRAMES_READ files spread over the set.

    Of a data set without an index, which is made on demand, only the annotations at those files.
    """
    places = np.linspace(0, len(dataset) - 1, min(FRAMES_READ, len(dataset))).astype(int)
    samples = [dataset[int(i)] for i in places]
    if isinstance(dataset, Dataset):
        annotations = _of_index(dataset.index, dataset.kept)
    else:
        annotations = (
            part
            for sequence in samples
            for part in (sequence.name.encode(), sequence.boxes_xywh, sequence.visible)
        )
    parts = {"annotations_sha256": annotations, "frames_sha256": map(_middle_frame, samples)}
    return {key: _sha256(part) for key, part in parts.items()}


def _of_index(index: Index, kept: np.ndarray) -> tuple[bytes | np.ndarray, ...]:
    """Names, frames' names, lengths, boxes and flags of the sequences `kept`, in order."""
    if len(kept) == len(index):
        facts, frames = index.facts.tobytes(), slice(None)
    else:
        facts = b"".join(index.entry(int(i)).facts for i in kept)
        frames = np.repeat(np.isin(np.arange(len(index)), kept), index.lengths())
    facts = _ARCHIVE.sub(b"", facts)
    return facts, index.lengths()[kept], index.boxes_xywh[frames], index.visible[frames]


def _middle_frame(sequence: Sequence) -> bytes:
    try:
        return sequence.read_frame_bytes(len(sequence) // 2)
    except FrameError as error:
        return error.cause.encode()


def _sha256(parts: Iterable[bytes | np.ndarray]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part)
    return digest.hexdigest()
