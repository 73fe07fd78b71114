"""The numbers and pictures of a training run, for TensorBoard and as lines of JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary

from esat_jax.atomic import complete_file
from esat_jax.drawing import OTHER_RGB, TRACKED_RGB, draw_box, encode_png

LINES_NAME = "metrics.jsonl"


class MetricLog:
    """Writes `metrics.jsonl` and the folder `tensorboard` in a run's work folder.

    A run that goes on from a checkpoint forgets the rows written after it, so that no step stands
    there twice.
    """

    def __init__(
        self, workdir: str | Path, config: Mapping, step: int, *, active: bool = True
    ) -> None:
        """Args: step: optimiser steps done; active: false on hosts that shall not write."""
        self._writer, self._lines = None, None
        if not active:
            return
        path = Path(workdir) / LINES_NAME
        _forget_rows_after(path, step)
        self._lines = path.open("a")
        self._writer = SummaryWriter(str(path.parent / "tensorboard"), purge_step=step + 1)
        self._writer.add_text("config", _as_markdown(config), step)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Adds a row; names may have a group, "val/iou". What is not finite becomes null."""
        if self._writer is None:
            return
        numbers = {name: float(value) for name, value in numbers.items()}
        for name, value in numbers.items():
            self._writer.add_scalar(name if "/" in name else f"train/{name}", value, step)
        row = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        self._lines.write(json.dumps({"step": step, **row}) + "\n")
        self._lines.flush()

    def write_predictions(
        self, step: int, search: np.ndarray, box_cxcywh: np.ndarray, true_cxcywh: np.ndarray
    ) -> None:
        """Draws predicted (green) and true (yellow) boxes.

        Args: search: uint8 RGB [B, S, S, 3]; the boxes: [B, 4], fractions of the search crop.
        """
        if self._writer is None:
            return
        size = search.shape[1]
        for place, crop in enumerate(search):
            picture = draw_box(crop, _to_xywh(true_cxcywh[place], size), "", OTHER_RGB)
            scale = picture.shape[0] / size  # small crops are enlarged
            box_xywh = scale * _to_xywh(box_cxcywh[place], size)
            picture = draw_box(picture, box_xywh, "", TRACKED_RGB)
            # As a PNG made here: SummaryWriter.add_image needs Pillow for it.
            image = Summary.Image(
                height=picture.shape[0],
                width=picture.shape[1],
                colorspace=3,
                encoded_image_string=encode_png(picture),
            )
            value = Summary.Value(tag=f"val/pair_{place}", image=image)
            self._writer.file_writer.add_summary(Summary(value=[value]), step)

    def close(self) -> None:
        """Writes what is still in memory."""
        if self._writer is not None:
            self._writer.close()
            self._lines.close()


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
