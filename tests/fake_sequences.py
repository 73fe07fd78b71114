"""Sequences that live in memory, with the interface of data_pipeline.sequences."""

import dataclasses
import os
import sys

import numpy as np

import detweights
from data_pipeline.decoding import DecodedFrame
from data_pipeline.sequences import FrameError


@dataclasses.dataclass(frozen=True, eq=False)
class FakeSequence:
    """Frames are textures that depend on the names and the number; `fault` says what reading does.

    A fault is (frames, kind): "damaged" raises a FrameError, "broken" a TypeError, "unplugged" an
    OSError, "dies" ends the process, "backend" raises if a JAX backend has started.
    """

    dataset: str
    name: str
    boxes_xywh: np.ndarray
    visible: np.ndarray
    is_video: bool = True
    size: tuple[int, int] = (48, 64)
    fault: tuple[range, str] | None = None

    def __len__(self):
        return len(self.boxes_xywh)

    def frame_path(self, i):
        return f"disk/{self.name}/{i}.jpg"

    def open_frame(self, i, *, reduced=False, near=False):
        return DecodedFrame(self.read_frame(i))

    def read_frame(self, i):
        if self.fault and i in self.fault[0]:
            self._fail(i, self.fault[1])
        return detweights.smooth_image(f"{self.name!a}/{i}", *self.size, cells=(16, 8))

    def _fail(self, i, kind):
        if kind == "damaged":
            raise FrameError(f"{self.frame_path(i)}: the image file is cut short", "damaged")
        if kind == "broken":
            raise TypeError("unsupported operand")
        if kind == "unplugged":
            raise OSError(5, "Input/output error")
        if kind == "dies":
            os._exit(7)
        bridge = sys.modules.get("jax._src.xla_bridge")
        if bridge is not None and bridge._backends:
            raise RuntimeError(f"a JAX backend has started: {list(bridge._backends)}")


@dataclasses.dataclass(frozen=True, eq=False)
class FakeDataset:
    name: str
    sequences: tuple[FakeSequence, ...]

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, i):
        return self.sequences[i]

    @property
    def names(self):
        return tuple(sequence.name for sequence in self.sequences)

    @property
    def lengths(self):
        return np.array([len(sequence) for sequence in self.sequences])

    @property
    def num_visible(self):
        return np.array([sequence.visible.sum() for sequence in self.sequences])


def video(name, num_frames=40, visible=None, dataset="videos", **fields):
    """A target of 12 x 9 px that moves by a pixel every second frame."""
    time = np.arange(num_frames)
    boxes_xywh = np.stack([10 + time // 2 % 30, 14 + time // 3 % 20, 12 + 0 * time, 9 + 0 * time])
    visible = np.ones(num_frames, bool) if visible is None else np.asarray(visible, bool)
    return FakeSequence(dataset, name, boxes_xywh.T.astype(np.float64), visible, **fields)


def still(name, box_xywh=(20, 15, 14, 18), dataset="stills", **fields):
    """One frame; `visible` is False, as a still's flag must not matter."""
    box = np.array([box_xywh], np.float64)
    return FakeSequence(dataset, name, box, np.zeros(1, bool), is_video=False, **fields)


def videos(count=3, **fields):
    return FakeDataset("videos", tuple(video(f"v{n}", **fields) for n in range(count)))


def stills(count=4, **fields):
    return FakeDataset("stills", tuple(still(f"s{n}", **fields) for n in range(count)))
