r"""Writes what there is to see of one tracked video, without its truth, as one HTML file.

python -m launch.video_report --source=clip.mp4 --results=runs/clip

--results is the folder that launch.track wrote, and receives report.html: frames with the tracker's
box, its score over time, and where it says that it is lost. The file opens offline. Videos whose
true boxes are known: launch.score and launch.report.
"""

import csv
from pathlib import Path

import numpy as np
from absl import app, flags

from esat_jax.atomic import complete_file
from esat_jax.frame_sources import open_source
from esat_jax.report.video_page import TrackedVideo, video_page
from launch import errors

_SOURCE = flags.DEFINE_string("source", None, "The video or folder that was tracked.")
_RESULTS = flags.DEFINE_string("results", None, "Folder with boxes.txt and scores.txt.")
_FRAMES = flags.DEFINE_integer("frames", 7, "Frames to show.", lower_bound=1)
_CREDIT = flags.DEFINE_string("credit", "", "Whose pictures they are, a sentence for the page.")
flags.mark_flags_as_required(["source", "results"])


def main(argv: list[str]) -> None:
    """Writes the file and says how large it is."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected {argv[1:]}; everything is given as --flag=value")
    results = Path(_RESULTS.value)
    video, numbers = read_tracked(results, Path(_SOURCE.value).name)
    images = find_images(_SOURCE.value, numbers, video.shown_frames(_FRAMES.value))
    text = video_page(video, images, _CREDIT.value)
    with complete_file(results / "report.html") as part:
        part.write_text(text, encoding="utf-8")
    print(f"{results / 'report.html'}: {len(text.encode()) / 1e6:.1f} MB")


def read_tracked(folder: Path, name: str) -> tuple[TrackedVideo, list[int]]:
    """What launch.track left in a folder, and the number of every row's frame in the source.

    Raises: ValueError or OSError if it is not that.
    """
    boxes_xywh = np.loadtxt(folder / "boxes.txt", delimiter=",", ndmin=2)
    path = folder / "scores.txt"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    try:
        numbers, scores, lost = zip(
            *((int(number), float(score), flag == "1") for number, score, flag, _ in rows),
            strict=True,
        )
    except ValueError:
        raise ValueError(f"{path}: expected rows frame,score,lost,note of launch.track.") from None
    if boxes_xywh.shape != (len(rows), 4):
        raise ValueError(f"{folder}: boxes.txt and scores.txt are not of the same run.")
    return TrackedVideo(name, boxes_xywh, np.array(scores), np.array(lost)), list(numbers)


def find_images(source: str, numbers: list[int], places: list[int]) -> dict[int, np.ndarray]:
    """The frames of some rows by their place, uint8 RGB; those that are damaged are left out."""
    wanted = {numbers[place]: place for place in places}
    images = {}
    for frame in open_source(source).frames:
        if frame.number in wanted and frame.image is not None:
            images[wanted[frame.number]] = frame.image
        if frame.number >= max(wanted):
            break
    if not images:
        raise ValueError(f"{source}: it has none of the frames that were tracked.")
    return images


if __name__ == "__main__":
    errors.run(main)
