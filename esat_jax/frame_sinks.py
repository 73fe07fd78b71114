"""Files that a run of the tracker writes: a video, a folder of images, rows of text.

Each is written under a name with `.partial` and gets its own name when it is whole, so that what
a stopped run leaves behind cannot be taken for a result. Only then is an earlier one replaced.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def partial_path(path: Path) -> Path:
    """The name while it is written: annotated.mp4 -> annotated.partial.mp4."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


class VideoSink:
    """An mp4 file. The first frame sets its size; others are fitted into it on black."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.partial = path, partial_path(path)
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)  # width, height

    def write(self, number: int, frame: np.ndarray) -> None:
        """Adds uint8 RGB [height, width, 3]. Raises: OSError if no video can be written here."""
        if self._writer is None:
            self._size = frame.shape[1], frame.shape[0]
            codec = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.partial), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise OSError(f"{self.partial}: this build of OpenCV cannot write the video.")
        self._writer.write(cv2.cvtColor(_fit(frame, *self._size), cv2.COLOR_RGB2BGR))

    def close(self, *, whole: bool) -> Path:
        """Ends the file, gives it its own name if it is whole, and returns its path."""
        if self._writer is not None:
            self._writer.release()
        return self.partial.replace(self.path) if whole else self.partial


class FolderSink:
    """A folder of images <number>.jpg, which replaces an earlier such folder when it is whole.

    Raises: OSError if something else has its name.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.partial = path, partial_path(path)
        self._replaced = path.with_name(f"{path.name}.replaced")
        for folder in (path, self.partial, self._replaced):
            _check_images(folder)
        for folder in (self.partial, self._replaced):  # left by a run that was stopped
            shutil.rmtree(folder, ignore_errors=True)
        self.partial.mkdir()

    def write(self, number: int, frame: np.ndarray) -> None:
        """Adds uint8 RGB [height, width, 3]. Raises: OSError if it cannot be written."""
        path = self.partial / f"{number:08d}.jpg"
        _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        path.write_bytes(data.tobytes())

    def close(self, *, whole: bool) -> Path:
        """Gives the folder its own name if it is whole, and returns its path."""
        if not whole:
            return self.partial
        if self.path.exists():  # a folder that is not empty cannot be replaced in one step
            self.path.rename(self._replaced)
        self.partial.rename(self.path)
        shutil.rmtree(self._replaced, ignore_errors=True)
        return self.path


def write_rows(path: Path, rows: Iterable[str], *, whole: bool) -> Path:
    """Writes a text file of rows under its own name if `whole`, else its partial one; returns it.

    A file that is whole replaces an older one at once, or not at all.
    """
    partial = partial_path(path)
    partial.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return partial.replace(path) if whole else partial


def _check_images(folder: Path) -> None:
    """Raises OSError if what is here, if anything, is not a folder that FolderSink wrote."""
    if not folder.exists():
        return
    inside = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    strange = [name for name in inside if not re.fullmatch(r"\d{8,}\.jpg", name)]
    if strange:
        raise OSError(
            f"{folder} would be replaced, but {strange[0]} is none of its frames: move it away, or "
            "choose another --output."
        )


def _fit(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    if frame.shape[:2] == (height, width):
        return frame
    scale = min(width / frame.shape[1], height / frame.shape[0])
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = small[:height, :width]
    fitted = np.zeros((height, width, 3), np.uint8)
    fitted[: small.shape[0], : small.shape[1]] = small
    return fitted
