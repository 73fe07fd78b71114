"""Writes sequences in the layout of a published data set, so that every reader has data to read."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_pipeline.decoding import read_jpeg_header
from data_pipeline.layouts import LAYOUTS, Layout
from data_pipeline.scene import Truth
from data_pipeline.synthetic import SyntheticSequence
from data_pipeline.workers import run_jobs

COCO_IMAGES, COCO_ANNOTATIONS = "images/train2017", "annotations/instances_train2017.json"
_ADVICE = "The same command writes all of it anew."


def write_sequences(
    sequences: Sequence[SyntheticSequence],
    count: int,
    root: Path,
    layout: str,
    *,
    num_workers: int = 0,
) -> Iterator[Path]:
    """Writes the first `count` sequences below the root of all data sets, as `layout`.

    Args: num_workers: processes that write, each a sequence at a time; 0 is this one. The files are
      the same to the byte.
    Yields: the paths of the frames of a sequence when it is written. A sequence's annotations
      follow its frames, and lists of sequences come last.
    Raises: ValueError for an unknown layout, or more sequences than it has names;
      ChildProcessError if a worker dies.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; there are {sorted(LAYOUTS)}.")
    form = LAYOUTS[layout]
    names = form.names(count)
    if len(names) < count:
        raise ValueError(f"{layout} has {len(names)} names for sequences, {count} are wanted.")
    jobs = [(sequences, i, root / form.folder, layout, name) for i, name in enumerate(names)]
    for paths in run_jobs(_write_sequence, jobs, num_workers, _ADVICE):
        yield from paths
    for path, lines in form.once.items():
        _write(root / form.folder / path, lines(names))


def write_coco(
    sequences: Sequence[SyntheticSequence], count: int, root: Path, *, num_workers: int = 0
) -> Iterator[Path]:
    """Writes the first frames of `count` sequences as COCO's images; yields their paths.

    `num_workers` and errors are those of `write_sequences`.
    """
    folder = root / "coco" / COCO_IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    boxes_xywh = {}
    jobs = [(sequences, number, folder) for number in range(1, count + 1)]
    for number, path, box_xywh in run_jobs(_write_image, jobs, num_workers, _ADVICE):
        boxes_xywh[number] = box_xywh
        yield path
    numbers = range(1, count + 1)
    images = [{"id": number, "file_name": f"{number:012d}.jpg"} for number in numbers]
    annotations = [
        {"id": number, "image_id": number, "bbox": boxes_xywh[number], "iscrowd": 0}
        for number in numbers
    ]
    content = json.dumps({"images": images, "annotations": annotations})
    _write(root / "coco" / COCO_ANNOTATIONS, [content])


def _write_sequence(
    sequences: Sequence[SyntheticSequence], i: int, root: Path, layout: str, name: str
) -> list[Path]:
    """Writes all of sequence `i` but what is in lists; returns the paths of its frames."""
    form, sequence = LAYOUTS[layout], sequences[i]
    parts, paths = {"name": name, "kind": name.rpartition("-")[0]}, []
    for frame in range(len(sequence)):
        path = root / form.image.format(**parts, number=form.first + frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = sequence.read_frame_bytes(frame)
        path.write_bytes(data)
        paths.append(path)
    header = read_jpeg_header(data)
    for pattern, value in form.flags.items():
        values = [str(int(flag)) for flag in value(sequence.truth)]
        _write(root / pattern.format(**parts), values, "," if form.one_line else "\n")
    for pattern, content in form.extra.items():
        content = content.format(width=header.width, height=header.height)
        _write(root / pattern.format(**parts), [content])
    _write(root / form.boxes.format(**parts), _box_lines(sequence.truth, form))
    return paths


def _write_image(
    sequences: Sequence[SyntheticSequence], number: int, folder: Path
) -> tuple[int, Path, list[float]]:
    sequence, path = sequences[number - 1], folder / f"{number:012d}.jpg"
    path.write_bytes(sequence.read_frame_bytes(0))
    return number, path, sequence.boxes_xywh[0].tolist()


def _box_lines(truth: Truth, form: Layout) -> list[str]:
    # Where no flag can say that the target is hidden, its box must not be there.
    unknown = np.isnan(truth.boxes_xywh[:, 0]) if form.flags else ~truth.visible
    lines = [
        form.separator.join([form.absent] * 4 if absent else [f"{side:.3f}" for side in box])
        for box, absent in zip(truth.boxes_xywh, unknown, strict=True)
    ]
    return lines[:1] if form.first_box_only else lines


def _write(path: Path, lines: list[str], separator: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(separator.join(lines) + "\n")
    part.replace(path)
