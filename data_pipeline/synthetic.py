"""Synthetic sequences, made on demand, with the interface of those that are read from files.

Sequence `i` of a seed is always the same.
"""

import dataclasses
import functools

import cv2
import numpy as np

from data_pipeline.decoding import DecodedFrame
from data_pipeline.scene import Scene, SceneRule, Truth, make_scene
from data_pipeline.sprites import Material

_JPEG_QUALITY = 92


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticSequence:
    """A scene with the interface of `sequences.Sequence`.

    Its boxes and flags are those of `truth`.
    """

    dataset: str
    name: str
    scene: Scene
    truth: Truth
    is_video: bool = True

    @property
    def boxes_xywh(self) -> np.ndarray:
        """float64 [F, 4] px; NaN if the target has left the frame."""
        return self.truth.boxes_xywh

    @property
    def visible(self) -> np.ndarray:
        """bool [F], at least LEAST_SEEN of the target is in sight."""
        return self.truth.visible

    def __len__(self) -> int:
        return len(self.boxes_xywh)

    def frame_path(self, i: int) -> str:
        """A name for messages."""
        return f"{self.dataset}/{self.name}/{i}"

    def read_frame(self, i: int) -> np.ndarray:
        """Draws frame `i`, counted from 0, uint8 RGB [height, width, 3]."""
        if not 0 <= i < len(self):
            raise IndexError(f"{self.dataset} {self.name} has {len(self)} frames, got index {i}.")
        return self.scene.draw(i)

    def read_frame_bytes(self, i: int) -> bytes:
        """The frame as a JPEG, which changes it slightly."""
        bgr = cv2.cvtColor(self.read_frame(i), cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()

    def open_frame(self, i: int, *, reduced: bool = False, near: bool = False) -> DecodedFrame:
        """The frame for `CropGeometry.crop_frame`; it is there, so nothing can be reduced."""
        del reduced, near
        return DecodedFrame(self.read_frame(i))


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticDataset:
    """`count` sequences with the interface of `sequences.Dataset`; each is made when asked for."""

    name: str = "synthetic"
    material: Material = Material()  # noqa: RUF009 - frozen
    rule: SceneRule = SceneRule()  # noqa: RUF009 - frozen
    seed: int = 0
    count: int = 100_000

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> SyntheticSequence:
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name} has {len(self)} sequences, got index {i}.")
        rng = np.random.Generator(np.random.Philox(key=np.array([self.seed, i], np.uint64)))
        scene, truth = make_scene(rng, self.material, self.rule)
        return SyntheticSequence(self.name, sequence_name(i), scene, truth)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Frames of each sequence, int64 [len(self)]."""
        return np.full(len(self), self.rule.num_frames)

    @functools.cached_property
    def num_visible(self) -> np.ndarray:
        """At least so many frames of each sequence are visible, int64 [len(self)]."""
        return self.lengths // 2

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The sequences' names, in order."""
        return tuple(map(sequence_name, range(len(self))))

    def find(self, name: str) -> SyntheticSequence:
        """The sequence of this name. Raises: ValueError if there is none."""
        if name not in self.names:
            raise ValueError(f"{self.name} has no sequence {name!r}.")
        return self[self.names.index(name)]


def sequence_name(i: int) -> str:
    """Name of sequence `i`, counted from 0."""
    return f"synthetic-{i + 1:06d}"
