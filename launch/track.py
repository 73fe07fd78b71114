r"""Tracks one target through a video, a folder of images or a camera's pictures.

python -m launch.track --weights=ostrack_256.safetensors --source=clip.mp4 \
    --box=270,120,64,80 --output=runs/clip

Writes to --output: boxes.txt, a row `x,y,w,h` (px from the upper left corner) per frame, the first
one the given box; scores.txt, a row `frame,score,lost,note` per frame, note being given, tracked or
damaged; and what --annotated says. A damaged frame keeps the box of the frame before it. Ctrl-C
ends a camera's run; any other run it stops, as an error does, and what was done stays under names
with `.partial`. Results of an earlier run are replaced when the new ones are whole, not before.

A video's frames are numbered by its own times, so those after damage keep their numbers. Damaged
AVI files do not tell where frames are missing, nor do files whose frame rate varies: there the
report says how many are missing, and the numbers after them can be that much too small.
"""

import contextlib
import dataclasses
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags
from tqdm import tqdm

from data_pipeline.crop import check_box_xywh
from esat_jax.adapters.any_tracker import AnyTracker, load_tracker
from esat_jax.drawing import LOST_RGB, OTHER_RGB, TRACKED_RGB, draw_box
from esat_jax.frame_sinks import FolderSink, VideoSink, write_rows
from esat_jax.frame_sources import Frame, FrameSource, next_frames, open_source
from esat_jax.initial_variables import initial_variables
from esat_jax.tracker import Prediction, Tracker, frame_size
from esat_jax.weights import load_initial_paths, random_part
from launch import errors

_WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "File of the tracker's weights and config, or folder of launch.export --target=onnx.",
)
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Instead of --weights: the tracker of this config file with random weights."
)
_SOURCE = flags.DEFINE_string("source", None, "Video file, folder of images or camera number.")
_BOX = flags.DEFINE_string("box", None, "Target in the first frame, x,y,w,h px; else: the mouse.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder that receives the results; a run that is whole replaces earlier ones."
)
_ANNOTATED = flags.DEFINE_enum(
    "annotated",
    "video",
    ["video", "frames", "none"],
    "Also draw the boxes on the frames: into annotated.mp4, or as images into annotated/.",
)
_START_FRAME = flags.DEFINE_integer("start_frame", 0, "Frames to leave out.", lower_bound=0)
_MAX_FRAMES = flags.DEFINE_integer("max_frames", None, "Frames to track at most.", lower_bound=1)
flags.mark_flags_as_required(["source", "output"])

NOTHING = "the boxes mean nothing"
RANDOM = f"weights are random: {NOTHING}"
COLORS_RGB = {"given": OTHER_RGB, "tracked": TRACKED_RGB, "damaged": OTHER_RGB}


class Recorder:
    """Collects the rows of a run, draws its frames, and writes both."""

    def __init__(self, output: Path, annotated: str, fps: float, note: str = "") -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.output, self.note = output, note
        self.rows: list[tuple[str, str]] = []
        self.lost, self.damaged = 0, []
        self.seconds = 0.0  # in Tracker.update
        self._pictures = {
            "video": lambda: VideoSink(output / "annotated.mp4", fps),
            "frames": lambda: FolderSink(output / "annotated"),
            "none": lambda: None,
        }[annotated]()
        self._image: np.ndarray | None = None

    def add(self, frame: Frame, prediction: Prediction, note: str) -> None:
        """Takes in one frame; `note` is given, tracked or damaged."""
        row_xywh = ",".join(f"{number:.3f}" for number in prediction.box_xywh)
        score = f"{frame.number},{prediction.score:.4f},{prediction.lost:d},{note}"
        self.rows.append((row_xywh, score))
        self.lost += note == "tracked" and prediction.lost
        self.damaged += [frame.name] if note == "damaged" else []
        if self._pictures is not None:
            self._image = self._image if frame.image is None else frame.image
            label = f"{prediction.score:.2f}" if note == "tracked" else note
            color = LOST_RGB if note == "tracked" and prediction.lost else COLORS_RGB[note]
            label = f"LOST {label}" if color == LOST_RGB else label
            picture = draw_box(self._image, prediction.box_xywh, label, color, self.note)
            self._pictures.write(frame.number, picture)

    def close(self, *, whole: bool) -> list[Path]:
        """Writes the rows and ends the pictures; returns the paths, partial ones if not `whole`."""
        if not self.rows:
            return []
        paths = [
            write_rows(self.output / name, rows, whole=whole)
            for name, rows in zip(
                ("boxes.txt", "scores.txt"), zip(*self.rows, strict=True), strict=True
            )
        ]
        return paths + ([self._pictures.close(whole=whole)] if self._pictures else [])


def track(
    tracker: AnyTracker,
    source: FrameSource,
    first: Frame,
    box_xywh: np.ndarray,
    recorder: Recorder,
    max_frames: int | None = None,
) -> None:
    """Tracks the box [4] px of frame `first`, given to the tracker, through the rest of the source.

    A frame that cannot be used is recorded as damaged, with the box before it.
    Raises: ValueError naming the frame that the tracker failed at.
    """
    last = Prediction(np.asarray(box_xywh, np.float64), float("nan"), False)
    recorder.add(first, last, "given")
    total = min((n for n in (max_frames, source.count) if n), default=None)
    count = None if max_frames is None else max_frames - 1
    with contextlib.closing(next_frames(source, count)) as rest:
        for frame in tqdm(rest, total=total, initial=1, unit="frame", disable=None):
            last = _track_frame(tracker, frame, last, recorder)


def _track_frame(
    tracker: AnyTracker, frame: Frame, last: Prediction, recorder: Recorder
) -> Prediction:
    """Records one frame; returns what was found in the last one that could be used."""
    fault = _fault(frame.image)
    if fault:
        tqdm.write(
            f"{frame.name} is damaged ({fault}): the box before it is kept.", file=sys.stderr
        )
        frame = dataclasses.replace(frame, image=None)
        recorder.add(frame, last._replace(score=float("nan"), lost=True), "damaged")
        return last
    start = time.perf_counter()
    try:
        found = tracker.update(frame.image)
    except ValueError as error:
        raise ValueError(f"{frame.name}: {error}") from error
    recorder.seconds += time.perf_counter() - start
    recorder.add(frame, found, "tracked")
    return found


def make_tracker(weights: str | None, config: ConfigDict | None) -> tuple[AnyTracker, str]:
    """The tracker, and a note to show with its boxes: a warning where its weights are random."""
    if bool(weights) == bool(config):
        raise ValueError("give either --weights=FILE, or --config=FILE for random weights.")
    if weights:
        tracker = load_tracker(weights)
        exported = Path(weights).is_dir()
        part = tracker.random_part if exported else random_part(load_initial_paths(weights))
        return tracker, f"{part} is random: {NOTHING}" if part else ""
    variables = initial_variables(config.to_dict(), config.seed)
    return Tracker(config, variables), RANDOM


def _fault(image: np.ndarray | None) -> str:
    """Why a frame cannot be tracked in; empty if it can."""
    if image is None:
        return "it cannot be decoded"
    try:
        frame_size(image)
    except ValueError as error:
        return str(error).rstrip(".")
    return ""


def _first_frame(source: FrameSource) -> Frame:
    first = next(source.frames, None)
    fault = _fault(first and first.image)
    if first is None or fault:
        name = "the first frame" if first is None else first.name
        raise ValueError(f"{name} is damaged ({fault}): begin at a later one with --start_frame.")
    return first


def _first_box_xywh(text: str | None, image: np.ndarray) -> np.ndarray:
    """The box that --box gives or the user draws on the image, checked against the image."""
    if text is None:
        return _draw_with_mouse(image)
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise ValueError(f"--box is x,y,width,height in px, as in 270,120,64,80; got {text!r}.")
    return check_box_xywh(numbers, *image.shape[:2])


def _draw_with_mouse(image: np.ndarray) -> np.ndarray:
    # Without a display OpenCV's window system ends the program instead of raising.
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not display:
        raise ValueError("there is no display to draw the box on: give it, --box=x,y,width,height.")
    title = "Draw the target, then press Enter"
    try:
        box_xywh = cv2.selectROI(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        cv2.destroyAllWindows()
    except cv2.error:
        raise ValueError(
            "this build of OpenCV opens no windows: give the box, --box=x,y,width,height."
        ) from None
    if not (box_xywh[2] and box_xywh[3]):
        raise ValueError("no box was drawn, so there is nothing to track.")
    return np.array(box_xywh, np.float64)


def _report(
    recorder: Recorder, source: FrameSource, tracker: AnyTracker, paths: list[Path], *, whole: bool
) -> None:
    frames, damaged = len(recorder.rows), recorder.damaged
    print(f"{frames} frames: {recorder.lost} lost, {len(damaged)} damaged.", end=" ")
    tracked = frames - len(damaged) - 1
    if tracked:
        print(f"{1000 * recorder.seconds / tracked:.1f} ms a frame to track,", end=" ")
    print(f"after {tracker.compile_seconds:.1f} s to compile.")
    if damaged:
        print(f"Damaged: {', '.join(damaged[:10])}{', ...' * (len(damaged) > 10)}.")
    if whole and source.count and _MAX_FRAMES.value is None and frames < source.count:
        print(
            f"The source announces {source.count} frames, so {source.count - frames} more are "
            "missing: at its end, or at damaged places that it does not tell. In that case the "
            "numbers of later frames are too small."
        )
    print("Written:", *paths) if whole else _tell_kept(paths)


def _tell_kept(paths: list[Path]) -> None:
    if paths:
        print("Stopped; this part was kept:", *paths)


def _warn(note: str) -> None:
    if note:
        print(f"WARNING: {note}.", file=sys.stderr)


def main(argv: list[str]) -> int:
    """Tracks, and returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    source = open_source(_SOURCE.value, _START_FRAME.value)
    # A camera's first picture is taken when the tracker is ready; wrong files are reported at once.
    made = make_tracker(_WEIGHTS.value, _CONFIG.value) if source.live else None
    first = _first_frame(source)
    box_xywh = _first_box_xywh(_BOX.value, first.image)
    tracker, note = made or make_tracker(_WEIGHTS.value, _CONFIG.value)
    _warn(note)
    tracker.initialize(first.image, box_xywh)
    recorder = Recorder(Path(_OUTPUT.value), _ANNOTATED.value, source.fps, note)
    whole = False
    try:
        track(tracker, source, first, box_xywh, recorder, _MAX_FRAMES.value)
        whole = True
    except KeyboardInterrupt:
        whole = source.live
    except Exception:
        _tell_kept(recorder.close(whole=False))
        raise
    paths = recorder.close(whole=whole)
    _report(recorder, source, tracker, paths, whole=whole)
    _warn(note)
    return 0 if whole else 130


if __name__ == "__main__":
    # The decoder's own words about damaged frames name no frame; ours do.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    errors.run(main)
