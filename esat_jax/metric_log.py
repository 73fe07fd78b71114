"""The numbers and pictures of a training run, for TensorBoard and as lines of JSON."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import text as text_summary

from esat_jax.atomic import complete_file
from esat_jax.drawing import OTHER_RGB, TRACKED_RGB, draw_box, encode_png

LINES_NAME = "metrics.jsonl"
STARTS_NAME = "starts.jsonl"  # a line for every time that the run was started, with its step


class MetricLog:
    """Writes `metrics.jsonl` and the folder `tensorboard` in a run's work folder.

    A run that goes on from a checkpoint forgets the rows written after it, so that no step stands
    there twice. What cannot be written raises OSError: tensorboardX's SummaryWriter, whose thread
    then ends, would wait for ever.
    """

    def __init__(
        self, workdir: str | Path, config: Mapping, step: int, *, active: bool = True
    ) -> None:
        """Args: step: optimiser steps done; active: false on hosts that shall not write."""
        self._events, self._lines = None, None
        if not active:
            return
        path = Path(workdir) / LINES_NAME
        _forget_rows_after(path, step)
        self._lines = path.open("a")
        (path.parent / "tensorboard").mkdir(exist_ok=True)
        self._events = EventsWriter(str(path.parent / "tensorboard" / "events"), f".{os.getpid()}")
        begin = SessionLog(status=SessionLog.START)  # TensorBoard hides what is from here on
        self._events.write_event(Event(step=step + 1, session_log=begin, wall_time=time.time()))
        self._add(step, text_summary("config", _as_markdown(config)))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Adds a row; names may have a group, "val/iou". What is not finite becomes null."""
        if self._lines is None:
            return
        numbers = {name: float(value) for name, value in numbers.items()}
        tags = {name if "/" in name else f"train/{name}": value for name, value in numbers.items()}
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in tags.items()]
        self._add(step, Summary(value=values))
        row = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        self._lines.write(json.dumps({"step": step, **row}) + "\n")
        self._lines.flush()

    def write_predictions(
        self, step: int, search: np.ndarray, box_cxcywh: np.ndarray, true_cxcywh: np.ndarray
    ) -> None:
        """Draws predicted (green) and true (yellow) boxes.

        Args: search: uint8 RGB [B, S, S, 3]; the boxes: [B, 4], fractions of the search crop.
        """
        if self._lines is None:
            return
        size = search.shape[1]
        for place, crop in enumerate(search):
            picture = draw_box(crop, _to_xywh(true_cxcywh[place], size), "", OTHER_RGB)
            scale = picture.shape[0] / size  # small crops are enlarged
            box_xywh = scale * _to_xywh(box_cxcywh[place], size)
            picture = draw_box(picture, box_xywh, "", TRACKED_RGB)
            # As a PNG made here: tensorboardX needs Pillow for it.
            image = Summary.Image(
                height=picture.shape[0],
                width=picture.shape[1],
                colorspace=3,
                encoded_image_string=encode_png(picture),
            )
            value = Summary.Value(tag=f"val/pair_{place}", image=image)
            self._add(step, Summary(value=[value]))

    def close(self) -> None:
        """Closes the files; every row is in them already."""
        if self._lines is not None:
            self._lines.close()
            self._events.close()

    def _add(self, step: int, summary: Summary) -> None:
        self._events.write_event(Event(step=step, summary=summary, wall_time=time.time()))
        self._events.flush()


def read_rows(workdir: str | Path) -> list[dict]:
    """The rows of `metrics.jsonl`; a last one that was cut is left out."""
    rows = []
    for line in (Path(workdir) / LINES_NAME).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _forget_rows_after(path: Path, step: int) -> None:
    rows = [row for row in read_rows(path.parent) if row["step"] <= step] if path.exists() else []
    with complete_file(path) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _to_xywh(box_cxcywh: np.ndarray, size: int) -> np.ndarray:
    cx, cy, w, h = np.nan_to_num(np.asarray(box_cxcywh, np.float64)) * size
    return np.array([cx - w / 2, cy - h / 2, w, h])


def _as_markdown(config: Mapping) -> str:
    """JSON that TensorBoard shows as it is: indented by four spaces."""
    return "\n".join(f"    {line}" for line in json.dumps(dict(config), indent=1).splitlines())
