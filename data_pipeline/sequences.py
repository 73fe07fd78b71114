"""What every data set is read into: sequences of frames with one box each."""

import dataclasses
import functools
import json
from typing import ClassVar

import numpy as np

from data_pipeline.crop import Frame
from data_pipeline.decoding import DecodedFrame, JpegFrame, decode_image
from data_pipeline.index import Index
from data_pipeline.stores import Store, open_store

__all__ = ["Dataset", "FrameError", "Frames", "Sequence", "Store", "decode_image", "open_store"]


class FrameError(ValueError):
    """A frame that cannot be had; `cause` is what to count it under, such as "missing"."""

    def __init__(self, message: str, cause: str = "unreadable") -> None:
        super().__init__(message)
        self.cause = cause


@dataclasses.dataclass(frozen=True)
class Frames:
    """Where the frames of a sequence are in its store: `names`, or numbers put into `pattern`.

    `Frames("airplane-1/img", "{:08d}.jpg", first=1)` has 00000001.jpg as frame 0.
    """

    folder: str
    pattern: str = ""
    first: int = 0
    names: tuple[str, ...] = ()

    def name(self, i: int) -> str:
        """File name of frame `i`, counted from 0."""
        return self.pattern.format(self.first + i) if self.pattern else self.names[i]

    def path(self, i: int) -> str:
        """Path in the store of frame `i`, counted from 0."""
        return f"{self.folder}/{self.name(i)}" if self.folder else self.name(i)


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """F frames of one target. Reading a frame opens its file; everything else is in memory.

    Attributes:
      dataset, name: what messages call it.
      boxes_xywh: float64 [F, 4] frame pixels as the annotation file has them; NaN = absent, or
        not annotated.
      visible: bool [F], the box is valid and the data set's flags say that the target can be seen.
      frames: where the frames are in `store`.
      is_video: False for a still: F is 1.
      archive, members: for frames in an archive, its path and their places in it, int64 [F, 4].
      advice: what messages say can be done about a faulty frame.
    """

    dataset: str
    name: str
    boxes_xywh: np.ndarray
    visible: np.ndarray
    frames: Frames
    store: Store
    is_video: bool = True
    archive: str | None = None
    members: np.ndarray | None = None
    advice: ClassVar[str] = "Fetch it again, or list the sequence in config.data.skip_sequences."

    def __len__(self) -> int:
        return len(self.boxes_xywh)

    def frame_path(self, i: int) -> str:
        """Full path of frame `i`, counted from 0; it may lead into an archive."""
        return self.store.where(self.frames.path(self._checked(i)))

    def read_frame_bytes(self, i: int) -> bytes:
        """The encoded image of frame `i`, counted from 0. Raises: FrameError."""
        path = self.frames.path(self._checked(i))
        try:
            if self.archive is None:
                data = self.store.read_bytes(path)
            else:
                data = self.store.read_member(self.archive, self.members[i], path)
        except FileNotFoundError:
            raise self._error(i, "missing", "the file is missing") from None
        except OSError as error:
            raise self._error(i, "unreadable", f"the file cannot be read ({error})") from None
        if not data:
            raise self._error(i, "empty", "the file is empty")
        return data

    def read_frame(self, i: int) -> np.ndarray:
        """Frame `i`, counted from 0, as uint8 RGB [height, width, 3].

        Raises: FrameError if the file is missing, cut short, or no image.
        """
        data = self.read_frame_bytes(i)
        try:
            return decode_image(data)
        except ValueError as error:
            raise self._error(i, "damaged", str(error)) from None

    def open_frame(self, i: int, *, reduced: bool = False, near: bool = False) -> Frame:
        """Frame `i`, counted from 0, for `CropGeometry.crop_frame`, which says what it needs of it.

        Args: reduced: as config.data.reduced_decoding; near: whether it will be the target and
          little around it, as of a template: packed frames are then opened faster.
        Raises: FrameError as read_frame does, also later, when pixels are asked for.
        """
        del near
        if reduced:
            data = self.read_frame_bytes(i)
            return JpegFrame(data, functools.partial(self._error, i, "damaged"))
        return DecodedFrame(self.read_frame(i))

    def _checked(self, i: int) -> int:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.dataset} {self.name} has {len(self)} frames, got index {i}.")
        return i

    def _error(self, i: int, cause: str, what: str) -> FrameError:
        return FrameError(
            f"{self.frame_path(i)}: {what}; it is frame {i} (from 0) of sequence {self.name} of "
            f"{self.dataset}. {self.advice}",
            cause,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Sequences of one data set; `dataset[i]` costs microseconds and reads no frame.

    Pickled for a worker process, it takes no annotations along: the worker maps the same index
    file into its memory. `kept` are the places in the index of the sequences that are in use.
    """

    name: str
    store: Store
    index: Index
    kept: np.ndarray

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i: int) -> Sequence:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} sequences, got index {i}.")
        entry = self.index.entry(int(self.kept[i]))
        facts = json.loads(entry.facts)
        frames = facts["frames"] | {"names": tuple(facts["frames"].get("names", ()))}
        return Sequence(
            self.name,
            facts["name"],
            entry.boxes_xywh,
            entry.visible,
            Frames(**frames),
            self.store,
            facts["is_video"],
            facts["archive"],
            entry.members,
        )

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Frames of each sequence, int64 [len(self)]."""
        return self.index.lengths()[self.kept]

    @functools.cached_property
    def num_visible(self) -> np.ndarray:
        """Visible frames of each sequence, int64 [len(self)]."""
        return self.index.num_visible()[self.kept]

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The sequences' names, in order."""
        return tuple(self.index.name(i) for i in self.kept)

    def find(self, name: str) -> Sequence:
        """The sequence of this name. Raises: ValueError if there is none."""
        places = np.flatnonzero(np.isin(self.kept, self.index.places([name])))
        if not len(places):
            raise ValueError(f"{self.name} has no sequence {name!r}.")
        return self[int(places[0])]
