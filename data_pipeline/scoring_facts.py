"""What scoring a sequence needs besides its boxes: flags, the frame's size, attributes."""

import ast
import dataclasses
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

from data_pipeline.annotations import check_length, has_area, parse_flags
from data_pipeline.sequences import FrameError, Sequence
from data_pipeline.stores import Store


@dataclasses.dataclass(frozen=True, eq=False)
class ScoringFacts:
    """Facts of a sequence of F frames; None where nothing is known.

    Attributes:
      absent: bool [F], flags of frames without the target.
      cover: int64 [F], eighths of the target that are seen.
      frame_size: (width, height) px.
      attributes: int64 [columns], 1 for every attribute the sequence has.
    """

    absent: np.ndarray | None = None
    cover: np.ndarray | None = None
    frame_size: tuple[int, int] | None = None
    attributes: np.ndarray | None = None


def read_scoring_facts(sequence: Sequence, toolkit: Store | None = None) -> ScoringFacts:
    """Reads them from the data set's files.

    LaSOT is absent where it is fully occluded or out of view; GOT-10k has flags and cover; TNL2K's
    flags come with its toolkit alone, and without it a frame is absent whose box has no area.
    Args:
      toolkit: the folder `annos` of the LaSOT or TNL2K toolkit, for the flags and attributes in
        it: absent/NAME.txt, att/NAME.txt or att/NAME_attribute.txt.
    Raises: ValueError for a file that is damaged, or missing in the toolkit.
    """
    reader = _READERS.get(sequence.dataset.partition(":")[0].partition("_")[0], _no_files)
    facts = reader(sequence)
    if facts.frame_size is None:
        facts = dataclasses.replace(facts, frame_size=_first_frame_size(sequence))
    return facts if toolkit is None else _with_toolkit(facts, sequence, toolkit)


def _lasot(sequence: Sequence) -> ScoringFacts:
    folder = PurePosixPath(sequence.frames.folder).parent
    occluded, out = (
        _flags(sequence, sequence.store, f"{folder}/{name}.txt")
        for name in ("full_occlusion", "out_of_view")
    )
    return ScoringFacts((occluded != 0) | (out != 0))


def _got10k(sequence: Sequence) -> ScoringFacts:
    folder, store = sequence.frames.folder, sequence.store
    absence, cover = (
        _flags(sequence, store, f"{folder}/{name}.label") for name in ("absence", "cover")
    )
    return ScoringFacts(absence != 0, cover, _stated_size(store, f"{folder}/meta_info.ini"))


def _tnl2k(sequence: Sequence) -> ScoringFacts:
    return ScoringFacts(~has_area(sequence.boxes_xywh))


def _uav123(sequence: Sequence) -> ScoringFacts:
    path = f"anno/UAV123/att/{sequence.name.removeprefix('uav_')}.txt"
    if not sequence.store.exists(path):
        return ScoringFacts()
    data, where = sequence.store.read_bytes(path), sequence.store.where(path)
    return ScoringFacts(attributes=parse_flags(data, where))


def _no_files(sequence: Sequence) -> ScoringFacts:
    del sequence
    return ScoringFacts()


_READERS: dict[str, Callable[[Sequence], ScoringFacts]] = {
    **{"lasot": _lasot, "got10k": _got10k, "tnl2k": _tnl2k, "uav123": _uav123},
}


def _flags(sequence: Sequence, store: Store, path: str) -> np.ndarray:
    try:
        flags = parse_flags(store.read_bytes(path), store.where(path))
    except FileNotFoundError as error:
        raise ValueError(f"{store.where(path)}: the file is missing, scoring needs it.") from error
    return check_length(flags, sequence.boxes_xywh, store.where(path))


def _stated_size(store: Store, path: str) -> tuple[int, int] | None:
    """The resolution in GOT-10k's meta_info.ini, `resolution: (1920, 1080)`, if it is there."""
    if not store.exists(path):
        return None
    for line in store.read_bytes(path).decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "resolution":
            try:
                width, height = ast.literal_eval(value.strip())
                return int(width), int(height)
            except (ValueError, SyntaxError, TypeError):
                raise ValueError(
                    f"{store.where(path)}: expected 'resolution: (width, height)', got {line!r}."
                ) from None
    return None


def _first_frame_size(sequence: Sequence) -> tuple[int, int] | None:
    """None if the frames are not at hand: annotations are enough for most rules."""
    try:
        frame = sequence.open_frame(0, reduced=True)
        return frame.width, frame.height
    except FrameError:
        return None


def _with_toolkit(facts: ScoringFacts, sequence: Sequence, toolkit: Store) -> ScoringFacts:
    absent = _flags(sequence, toolkit, f"absent/{sequence.name}.txt") != 0
    names = (f"att/{sequence.name}.txt", f"att/{sequence.name}_attribute.txt")
    path = next((path for path in names if toolkit.exists(path)), None)
    attributes = facts.attributes
    if path is not None:
        attributes = parse_flags(toolkit.read_bytes(path), toolkit.where(path))
    return dataclasses.replace(facts, absent=absent, attributes=attributes)
