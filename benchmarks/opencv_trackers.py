"""OpenCV's trackers without networks, CSRT and KCF; they are in its contrib builds only."""

import cv2
import numpy as np

from esat_jax.target import Prediction

NAMES = {"csrt": "TrackerCSRT_create", "kcf": "TrackerKCF_create"}


class OpenCVTracker:
    """Follows the box given in the first frame, as `esat_jax.tracker.Tracker` does.

    OpenCV takes and gives whole pixels. In a frame where it says that it failed, or gives no area,
    the box before is kept and the target is lost. There is no score.
    """

    def __init__(self, name: str) -> None:
        """Args: name: a key of NAMES. Raises: ValueError if this OpenCV does not have it."""
        self._create = getattr(cv2, NAMES[name], None)
        if self._create is None:
            raise ValueError(f"this build of OpenCV has no {NAMES[name]}: it is in contrib builds.")

    def initialize(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        """Takes the target in this box (px) of a uint8 RGB frame."""
        self._box_xywh = np.asarray(box_xywh, np.float64)
        self._tracker = self._create()
        whole = [round(float(number)) for number in box_xywh]
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), whole)

    def update(self, frame: np.ndarray) -> Prediction:
        """Finds the target in the next frame."""
        found, box_xywh = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        found = found and min(box_xywh[2:]) > 0
        if found:
            self._box_xywh = np.array(box_xywh, np.float64)
        return Prediction(self._box_xywh, float("nan"), not found)
