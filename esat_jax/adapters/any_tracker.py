"""A tracker from whatever holds one."""

from pathlib import Path
from typing import Protocol

import numpy as np

from esat_jax.exporting.description import read_description
from esat_jax.target import Prediction


class AnyTracker(Protocol):
    """`esat_jax.tracker.Tracker` or `esat_jax.exporting.onnx_tracker.OnnxTracker`."""

    compile_seconds: float

    def initialize(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        """Takes the target in this box (px) of a uint8 RGB frame."""

    def update(self, frame: np.ndarray) -> Prediction:
        """Finds the target in the next frame."""


def load_tracker(path: str | Path) -> AnyTracker:
    """The tracker of a weights file, or of a folder of `launch.export --target=onnx`.

    It is compiled and has run once when this returns.
    Raises: ValueError if there is neither.
    """
    try:
        if Path(path).is_dir():
            read_description(path, "onnx")  # says what is wrong with the folder, before onnxruntime
            from esat_jax.exporting.onnx_tracker import OnnxTracker

            return OnnxTracker(path)
        from esat_jax.tracker import Tracker

        return Tracker.from_weights(path)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: {error.name} is not installed: pip install -r requirements-export.txt."
        ) from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}." if error.strerror else str(error)) from error
