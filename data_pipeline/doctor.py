"""Looks for what is wrong with a data set on disk, and says what to do about it."""

import dataclasses
import functools
import os

import numpy as np

from data_pipeline.annotations import has_area
from data_pipeline.datasets import REGISTRY, find_dataset
from data_pipeline.index_cache import build_index
from data_pipeline.records import is_image
from data_pipeline.sequences import Dataset, FrameError, Sequence
from data_pipeline.stores import Store

FRAME_CHECKS = ("none", "exists", "decode")
MIN_FRAMES, MIN_VISIBLE = 20, 5  # shorter videos are never drawn in training. OSTrack

_REVISED = "its first release has too many boxes: fetch revised_annotations.zip of TNL2K's toolkit."
KNOWN = {  # what is known of files as published
    "monkey-17": "known: its annotations end at frame 2260, and everybody evaluates these.",
    "test_015_Sord_video_Q01_done": "known: 00000492.png is damaged in early downloads; take the "
    "one that the README of TNL2K's toolkit links, or a copy of the frame before it.",
    "GOT-10k_Train_007947": "known: published so.",
    **dict.fromkeys(
        (
            *("Assassin_video_5-Done", "BF5_FireGUN_video_01_done", "Baseball_game_002-Done"),
            *("Boat_video1-Done", "Cat_BBC_video_03-Done", "Fight_video_02-Done"),
            *("Fight_video_04-Done", "Joker_video_X02_done", "catNight_video_B04_done"),
            *("maliao_4-Done", "monitor_bikeyellow", "videoPlayer_video_01_done"),
        ),
        f"known: {_REVISED}",
    ),
}
_MORE_FRAMES_THAN_BOXES = {"monkey-17"}
_SHARED_FOLDERS = {"otb", "uav123"}  # several sequences, or more frames than are used
_SHOWN_NAMES = 10
_FETCH = "Fetch the sequence again."


@dataclasses.dataclass(frozen=True)
class Finding:
    """One sentence on one sequence, or on the whole data set if `sequence` is "".

    A `fault` should be repaired; anything else is good to know. `kind` is what to count it under.
    """

    fault: bool
    kind: str
    sequence: str
    text: str


def examine_dataset(name: str, root: str) -> tuple[Dataset, list[Finding]]:
    """Reads all annotations anew and compares the number of sequences with what is published.

    Args: name, root: as for `make_dataset`.
    Raises: ValueError if the data set is not there, or in another layout.
    """
    _sizes.cache_clear()
    known, store = find_dataset(name, root)
    index = build_index(name.partition(":")[0], known.reader, store)
    findings = [
        Finding(True, cause, source, text + _known(source))
        for source, cause, text in index.header["faults"]
    ]
    missing = known.reader.missing(store)
    there = len(index) + len(findings)
    if missing or (known.total is not None and there != known.total):
        names = ", ".join(missing[:_SHOWN_NAMES]) + (", ..." * (len(missing) > _SHOWN_NAMES))
        findings.append(
            Finding(
                True,
                "count",
                "",
                f"{there} sequences are there, {known.total or 'more'} belong to the data set"
                + (f"; missing are {names}" if missing else "")
                + ". Fetch the missing archives, and unpack them or leave them packed in "
                + f"{store.where('')}.",
            )
        )
    return Dataset(name, store, index, np.arange(len(index))), findings


def examine_sequence(sequence: Sequence, frames: str) -> list[Finding]:
    """Looks at the boxes of a sequence and, as `frames` of FRAME_CHECKS says, at its images.

    "exists" finds missing, empty and superfluous files and looks into the first image; "decode"
    looks into all of them.
    """
    return examine_together([sequence], frames)


def examine_together(sequences: list[Sequence], frames: str) -> list[Finding]:
    """As `examine_sequence`, of stills that show one photograph, which is looked at once."""
    findings = [finding for sequence in sequences for finding in _examine_boxes(sequence)]
    if frames != "none":
        first = sequences[0]
        findings += _examine_files(first)
        sizes, damaged = _decode(first, len(first) if frames == "decode" else 1)
        findings += damaged
        for sequence in sequences:
            findings += _examine_places(sequence, sizes)
    return [
        dataclasses.replace(finding, text=finding.text + _known(finding.sequence))
        for finding in findings
    ]


def group_stills(dataset: Dataset) -> list[list[int]]:
    """Places of sequences to `examine_together`: those on one photograph, or one video."""
    if not len(dataset) or dataset[0].is_video:
        return [[i] for i in range(len(dataset))]
    groups: dict[str, list[int]] = {}
    for i, still in enumerate(dataset):
        groups.setdefault(still.frames.path(0), []).append(i)
    return list(groups.values())


def _examine_boxes(sequence: Sequence) -> list[Finding]:
    boxes_xywh, name = sequence.boxes_xywh, sequence.name
    absent = np.isnan(boxes_xywh).any(axis=1)
    negative = (boxes_xywh[:, 2:] < 0).any(axis=1)
    empty = ~(absent | negative | has_area(boxes_xywh))
    tiny = has_area(boxes_xywh) & (boxes_xywh[:, 2:] < 2).any(axis=1)
    findings = []

    def add(fault: bool, kind: str, which: np.ndarray, text: str) -> None:
        if which.any():
            at = f"{which.sum()} of {len(which)} boxes, first that of frame {np.argmax(which)},"
            findings.append(Finding(fault, kind, name, f"{at} {text}"))

    add(True, "negative box", negative, "have a negative size. Correct groundtruth or skip it.")
    add(False, "absent box", absent, "are nan: the target is absent or its box is kept secret.")
    video = sequence.is_video
    then = "the target counts as absent there" if video else "training skips and counts them"
    add(False, "zero box", empty, f"have no area: {then}.")
    add(False, "tiny box", tiny, "are less than 2 px wide or high.")
    if not video:
        return findings
    if not has_area(boxes_xywh[0]):
        text = "the first frame has no box, so that no tracker can start there."
        fault = REGISTRY[sequence.dataset.partition(":")[0]].evaluated
        findings.append(Finding(fault, "no first box", name, text))
    visible = int(sequence.visible.sum())
    secret = len(sequence) > 1 and absent[1:].all()
    if (len(sequence) < MIN_FRAMES or visible < MIN_VISIBLE) and not secret:
        text = f"{len(sequence)} frames, {visible} of them visible: training never draws it."
        findings.append(Finding(False, "too short", name, text))
    return findings


def _examine_files(sequence: Sequence) -> list[Finding]:
    name, frames = sequence.name, sequence.frames
    try:
        sizes = _sizes(sequence.store, frames.folder)
    except OSError:
        text = f"{sequence.store.where(frames.folder)}: the folder of its frames is missing."
        return [Finding(True, "missing frame", name, f"{text} {_FETCH}")]
    wanted = [frames.name(i) for i in range(len(sequence))]
    missing = [i for i, file in enumerate(wanted) if file not in sizes]
    empty = [i for i, file in enumerate(wanted) if sizes.get(file) == 0]
    findings = []
    for kind, which in (("missing", missing), ("empty", empty)):
        if which:
            text = f"{len(which)} of {len(wanted)}, first {sequence.frame_path(which[0])}. {_FETCH}"
            findings.append(Finding(True, f"{kind} frame", name, f"{kind} frames: {text}"))
    if sequence.is_video and sequence.dataset.partition(":")[0] not in _SHARED_FOLDERS:
        extra = sorted(file for file in set(sizes) - set(wanted) if is_image(file))
        if extra:
            text = f"frames without a box, which are not used: {len(extra)}, first {extra[0]}. "
            text += "Fetch the annotations again; if they are as published, this does no harm."
            fault = name not in _MORE_FRAMES_THAN_BOXES
            findings.append(Finding(fault, "frame without box", name, text))
    return findings


def _decode(sequence: Sequence, count: int) -> tuple[np.ndarray, list[Finding]]:
    """Sizes of the first `count` frames, int64 [count, 2] width and height, 0 if damaged."""
    name = sequence.name
    errors: dict[str, list[FrameError]] = {}
    sizes = np.zeros((count, 2), np.int64)
    for i in range(count):
        try:
            sizes[i] = sequence.read_frame(i).shape[1::-1]
        except FrameError as error:
            errors.setdefault(error.cause, []).append(error)
    findings = [
        Finding(True, f"{cause} frame", name, f"{cause} frames: {len(those)}, first {those[0]}")
        for cause, those in errors.items()
        if cause not in ("missing", "empty")  # `_examine_files` told
    ]
    kinds = np.unique(sizes[sizes[:, 0] > 0], axis=0)
    if len(kinds) > 1:
        text = "frames have different sizes: " + ", ".join(f"{w} x {h}" for w, h in kinds) + " px."
        findings.append(Finding(False, "changing size", name, text))
    return sizes, findings


def _examine_places(sequence: Sequence, sizes: np.ndarray) -> list[Finding]:
    """Compares the first boxes with the sizes of their frames, as `_decode` returns them."""
    boxes_xywh = sequence.boxes_xywh[: len(sizes)]
    first, last = boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]
    comparable = has_area(boxes_xywh) & (sizes[:, 0] > 0)
    outside = comparable & ((first >= sizes) | (last <= 0)).any(axis=1)
    huge = comparable & ~outside & (boxes_xywh[:, 2:] > 2 * sizes).any(axis=1)
    findings = []
    for kind, which, what in (
        ("box outside", outside, "outside their frame"),
        ("huge box", huge, "more than twice as wide or high as their frame"),
    ):
        if which.any():
            text = f"boxes {what}: {which.sum()}, first that of frame {np.argmax(which)}. "
            text += "Correct them, or skip the sequence."
            findings.append(Finding(True, kind, sequence.name, text))
    return findings


@functools.lru_cache(maxsize=16)
def _sizes(store: Store, folder: str) -> dict[str, int]:
    return store.sizes(folder)


def _known(source: str) -> str:
    text = KNOWN.get(os.path.basename(source))
    return f" ({text})" if text else ""
