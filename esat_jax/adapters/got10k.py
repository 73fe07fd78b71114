"""The tracker in the toolkit of GOT-10k: `ExperimentGOT10k("data").run(Got10kTracker(path))`.

`pip install got10k`: version 0.1.3 runs with the NumPy of constraints.txt on Python 3.11 and 3.12.
"""

from pathlib import Path

import numpy as np
from got10k.trackers import Tracker as ToolkitTracker
from PIL import Image

from esat_jax.adapters.any_tracker import load_tracker


class Got10kTracker(ToolkitTracker):
    """Follows one target; the toolkit measures the time of each call, without reading the image."""

    def __init__(self, path: str | Path, name: str = "ESAT") -> None:
        """Args: path: weights file, or folder of an ONNX export; name: of the result folder.

        Raises: ValueError if there is no tracker.
        """
        super().__init__(name, is_deterministic=True)  # one run of a sequence is enough
        self._tracker = load_tracker(path)

    def init(self, image: Image.Image, box: np.ndarray) -> None:
        """Takes the target in `box` (x, y, width, height; px) of an RGB image."""
        self._tracker.initialize(np.asarray(image), box)

    def update(self, image: Image.Image) -> np.ndarray:
        """The target's box in the next image, float64 [4], x, y, width, height; px."""
        return self._tracker.update(np.asarray(image)).box_xywh
