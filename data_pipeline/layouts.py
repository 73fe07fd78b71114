"""Writes sequences in the layout of a published data set, so that every reader has data to read."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data_pipeline.decoding import read_jpeg_header
from data_pipeline.got10k import NUM_TRAIN
from data_pipeline.lasot import Lasot
from data_pipeline.otb import FIRST_FRAME, LEFT_OUT, PATTERN, Otb
from data_pipeline.scene import LEAST_SEEN, Truth
from data_pipeline.synthetic import SyntheticSequence
from data_pipeline.workers import run_jobs


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the files of a data set are; `{name}`, `{kind}` and `{number}` are filled in.

    Attributes:
      folder: below the root of all data sets.
      names: of the first sequences, given their number.
      image, first: path of a frame, and the number of the first one.
      boxes: path of the boxes; separator between their numbers.
      absent: what stands for a number of a box that is not there.
      flags: path -> values of every frame; one_line: with commas instead of a line a frame.
      extra: path -> content of further files a sequence has; `{width}`, `{height}`: of its frames.
      once: path -> content of further files the data set has, given the names.
      first_box_only: as test sets are published.
    """

    folder: str
    names: Callable[[int], list[str]]
    image: str
    boxes: str
    first: int = 1
    separator: str = ","
    absent: str = "0"
    flags: dict[str, Callable[[Truth], np.ndarray]] = dataclasses.field(default_factory=dict)
    one_line: bool = False
    extra: dict[str, str] = dataclasses.field(default_factory=dict)
    once: dict[str, Callable[[list[str]], list[str]]] = dataclasses.field(default_factory=dict)
    first_box_only: bool = False


def full_occlusion(truth: Truth) -> np.ndarray:
    """Frames in which the target is inside the frame and hidden."""
    return ~truth.visible & ~out_of_view(truth)


def out_of_view(truth: Truth) -> np.ndarray:
    """Frames that the target has left."""
    return truth.inside < LEAST_SEEN


def absence(truth: Truth) -> np.ndarray:
    """Frames in which the target is not seen."""
    return ~truth.visible


def cover(truth: Truth) -> np.ndarray:
    """Eighths of the target that are seen, 0 only if it is absent."""
    return np.where(truth.visible, np.clip(np.round(8 * truth.seen), 1, 8), 0)


def cut_by_image(truth: Truth) -> np.ndarray:
    """Frames whose border cuts the target."""
    return truth.visible & (truth.inside < 1)


def _lasot(split: str, folder: str) -> Layout:
    return Layout(
        folder,
        lambda count: Lasot(split).names()[:count],
        image="{kind}/{name}/img/{number:08d}.jpg",
        boxes="{kind}/{name}/groundtruth.txt",
        flags={
            "{kind}/{name}/full_occlusion.txt": full_occlusion,
            "{kind}/{name}/out_of_view.txt": out_of_view,
        },
        one_line=True,
        extra={"{kind}/{name}/nlp.txt": "the synthetic target"},
    )


def _got10k(split: str) -> Layout:
    stem = f"GOT-10k_{split.capitalize()}_"
    flags = {"absence": absence, "cover": cover, "cut_by_image": cut_by_image}
    test = split == "test"
    return Layout(
        "got10k",
        lambda count: [f"{stem}{number:06d}" for number in range(1, count + 1)],
        image=split + "/{name}/{number:08d}.jpg",
        boxes=split + "/{name}/groundtruth.txt",
        flags={} if test else {f"{split}/{{name}}/{k}.label": v for k, v in flags.items()},
        # The toolkit scores with the resolution.
        extra={
            split + "/{name}/meta_info.ini": "[METAINFO]\nobject_class: synthetic\n"
            "resolution: ({width}, {height})"
        },
        # vottrain and votval are line numbers of the whole list.
        once={
            f"{split}/list.txt": lambda names: (
                [f"{stem}{number:06d}" for number in range(1, NUM_TRAIN + 1)]
                if split == "train"
                else names
            )
        },
        first_box_only=test,
    )


def _trackingnet(chunk: str) -> Layout:
    return Layout(
        "trackingnet",
        lambda count: [f"synthetic{number:05d}_0" for number in range(count)],
        image=chunk + "/frames/{name}/{number}.jpg",
        first=0,
        boxes=chunk + "/anno/{name}.txt",
        first_box_only=chunk == "TEST",
    )


def _tnl2k(split: str) -> Layout:
    return Layout(
        "tnl2k",
        _numbered,
        image=split + "/{name}/imgs/{number:05d}.jpg",
        boxes=split + "/{name}/groundtruth.txt",
        extra={split + "/{name}/language.txt": "the synthetic target"},
    )


def _numbered(count: int) -> list[str]:
    return [f"synthetic{number:04d}" for number in range(1, count + 1)]


def _regular_otb(count: int) -> list[str]:
    odd = {*FIRST_FRAME, *LEFT_OUT, *PATTERN}
    return [name for name in Otb().names() if name not in odd and "_" not in name][:count]


LAYOUTS = {
    "lasot_train": _lasot("train", "lasot"),
    "lasot_test": _lasot("test", "lasot"),
    "lasot_ext": _lasot("ext", "lasot_ext"),
    "got10k_train": _got10k("train"),
    "got10k_val": _got10k("val"),
    "got10k_test": _got10k("test"),
    "trackingnet_train": _trackingnet("TRAIN_0"),
    "trackingnet_test": _trackingnet("TEST"),
    "tnl2k_train": _tnl2k("train"),
    "tnl2k_test": _tnl2k("test"),
    "otb": Layout(
        "otb", _regular_otb, "{name}/img/{number:04d}.jpg", "{name}/groundtruth_rect.txt"
    ),
    "uav123": Layout(
        "uav123",
        _numbered,
        "data_seq/UAV123/{name}/{number:06d}.jpg",
        "anno/UAV123/{name}.txt",
        absent="NaN",
    ),
    "nfs": Layout(
        *("nfs", _numbered, "sequences/{name}/{number:05d}.jpg", "anno/nfs_{name}.txt"),
        separator="\t",
    ),
    "folders": Layout(
        *("sequences", _numbered, "{name}/img/{number:05d}.jpg", "{name}/groundtruth.txt"),
        absent="nan",
    ),
}
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
