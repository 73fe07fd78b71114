"""Frames of a video file, a folder of images or a camera, one at a time, as uint8 RGB.

A video's frames are numbered by the times that the file gives them, as long as these are those of
a constant frame rate; so in a damaged mp4 the frames after the damage keep their numbers. Where
the times do not tell, each read that fails counts as one damaged frame. A damaged AVI tells
neither: its times only count what was found, so that frames can be missing without a trace but the
file's announced count, and the numbers after them are too small.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np

from esat_jax.read_ahead import read_ahead

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
FALLBACK_FPS = 30.0  # for folders, and for files and cameras that do not say
MAX_DAMAGED_FRAMES = 1000  # of a video in a row; it ends where so many reads fail
MAX_MISSING_PICTURES = 30  # of a camera in a row; about a second, then it is gone


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame; `image` is uint8 RGB [height, width, 3], or None if it could not be decoded."""

    number: int  # from 0, damaged frames included
    name: str  # for messages: "frame 12 of clip.mp4", "00012.jpg"
    image: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class FrameSource:
    """An open source.

    Attributes:
      frames: yields every frame once, in order; reads no further than it is asked to.
      count: number of frames to come, None if unknown. A video's header may announce too many.
      fps: frames per second to show them at.
      live: a camera, which only ends when it is stopped.
    """

    frames: Iterator[Frame]
    count: int | None
    fps: float
    live: bool = False


def open_source(source: str, start_frame: int = 0) -> FrameSource:
    """Opens a video file, a folder of images or, for a number such as "0", a camera.

    Args: start_frame: frames to leave out at the beginning; the others keep their numbers.
    Raises: ValueError if there is nothing to read.
    """
    path = Path(source)
    if path.is_dir():
        opened = _open_folder(path, start_frame)
    elif path.is_file():
        opened = _open_video(cv2.VideoCapture(str(path)), path.name, start_frame)
    elif source.isdecimal():
        opened = _open_camera(cv2.VideoCapture(int(source)), f"camera {source}", start_frame)
    else:
        raise ValueError(f"{source}: no such video file or folder of images, nor a camera number.")
    if start_frame < 0 or (opened.count is not None and start_frame >= opened.count):
        last = "" if opened.count is None else f" to {opened.count - 1}"
        raise ValueError(f"{source}: its frames count from 0{last}, got start_frame {start_frame}.")
    left = None if opened.count is None else opened.count - start_frame
    return dataclasses.replace(opened, count=left)


def next_frames(source: FrameSource, count: int | None = None) -> Generator[Frame, None, None]:
    """Yields the next frames, `count` at most; a thread reads each while the one before is used.

    Not those of a camera, whose newest picture counts. To be closed, see `read_ahead`.
    """
    frames = itertools.islice(source.frames, count)
    yield from frames if source.live else read_ahead(frames)


def read_image(path: Path) -> np.ndarray | None:
    """Decodes an image file -> uint8 RGB [height, width, 3], or None if it is damaged.

    From memory, because cv2.imread fills up a JPEG that ends too early instead of refusing it.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return _to_rgb(cv2.imdecode(data, cv2.IMREAD_COLOR)) if data.size else None


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sorts 2.jpg before 10.jpg: digits count as numbers."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _open_folder(folder: Path, start_frame: int) -> FrameSource:
    paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    paths.sort(key=natural_key)
    if not paths:
        raise ValueError(f"{folder}: no images here; they end in {', '.join(IMAGE_SUFFIXES)}.")

    def frames() -> Iterator[Frame]:
        for number, path in enumerate(paths[start_frame:], start=start_frame):
            yield Frame(number, path.name, read_image(path))

    return FrameSource(frames(), len(paths), FALLBACK_FPS)


def _open_video(capture: cv2.VideoCapture, name: str, start_frame: int) -> FrameSource:
    if not capture.isOpened():
        raise ValueError(
            f"{name} cannot be read as a video: it is damaged, or of a kind that this build of "
            "OpenCV does not decode."
        )
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    count = announced if announced > 0 else None
    clock = _Clock(_fps(capture), count)

    def frames() -> Iterator[Frame]:
        # A read fails at a damaged frame and at the end alike: the end is where no later one works.
        expected, failed = 0, 0
        while failed < MAX_DAMAGED_FRAMES:
            image = _read(capture)
            if image is None:
                failed += 1
                continue
            number = clock.number(capture.get(cv2.CAP_PROP_POS_MSEC), expected, failed)
            for index in range(max(expected, start_frame), number + 1):
                this = image if index == number else None
                yield Frame(index, f"frame {index} of {name}", this)
            expected, failed = max(expected, number + 1), 0
        capture.release()

    return FrameSource(frames(), count, _fps(capture))


class _Clock:
    """Numbers a video's pictures by their times, as long as a constant frame rate explains these.

    Where it does not (the rate varies, or the times are missing), frames lost can only be told by
    the reads that failed. A decoder reports these before earlier pictures that it still holds.
    """

    def __init__(self, fps: float, count: int | None) -> None:
        self._fps, self._count, self._constant = fps, count, True
        self._missing: set[int] = set()

    def number(self, milliseconds: float, expected: int, failed: int) -> int:
        """The number of a picture of this time, the last being `expected - 1`, after failed reads.

        It is below `expected` for one that comes late, when its place was given up already.
        """
        exact = milliseconds * self._fps / 1000
        number = round(exact) if math.isfinite(exact) else -1
        self._constant = (
            self._constant
            and abs(exact - number) <= 0.02 + self._fps / 2000  # some files round to 1 ms
            and (number >= expected or number in self._missing)
            and (self._count is None or number < self._count)
            and (expected > 0 or failed > 0 or number == 0)  # a clock that starts elsewhere
        )
        if not self._constant:
            number = expected + failed
        self._missing.update(range(expected, number))
        return number


def _open_camera(capture: cv2.VideoCapture, name: str, start_frame: int) -> FrameSource:
    if not capture.isOpened():
        raise ValueError(f"{name} cannot be opened: is it connected, and not in use elsewhere?")

    def frames() -> Iterator[Frame]:
        number, failed = 0, 0
        while failed < MAX_MISSING_PICTURES:
            image = _read(capture)
            failed = 0 if image is not None else failed + 1
            if number >= start_frame:
                yield Frame(number, f"frame {number} of {name}", image)
            number += 1
        capture.release()

    return FrameSource(frames(), None, _fps(capture), live=True)


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    return _to_rgb(capture.read()[1])


def _fps(capture: cv2.VideoCapture) -> float:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0 < fps <= 1000 else FALLBACK_FPS


def _to_rgb(image: np.ndarray | None) -> np.ndarray | None:
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
