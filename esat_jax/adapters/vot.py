r"""The tracker in the VOT toolkit 0.9 (`pip install vot-toolkit`), by its protocol "python".

A workspace's trackers.ini:

    [esat]
    label = ESAT
    protocol = python
    command = esat_jax.adapters.vot:VotTracker
    convert = rectangle
    timeout = 300
    arg_path = /home/me/esat.safetensors

The toolkit starts the tracker in a process of its own and waits `timeout` seconds for it, 30 if
nothing is said: too short for a large network to be compiled. This project has to be installed
(`pip install -e .`) or on PYTHONPATH. Nothing of the toolkit is imported here.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from esat_jax.adapters.any_tracker import AnyTracker, load_tracker
from esat_jax.frame_sources import read_image

Found = tuple[tuple[float, ...], dict[str, float]]  # x, y, width, height px; properties


class VotTracker:
    """Follows the objects of a sequence, each by itself, in the order in which they appear.

    The network is compiled before the toolkit sends the first frame.
    """

    multiobject = True

    def __init__(self, path: str) -> None:
        """Args: path: weights file, or folder of an ONNX export.

        Raises: ValueError, which the toolkit shows, if there is no tracker.
        """
        self._tracker = load_tracker(path)
        self._following: list[AnyTracker] = []

    def init(self, frame: str | Mapping[str, str], new: Sequence) -> list[Found]:
        """Begins a sequence: its first image's path (or paths by channel), and objects in it.

        Args: new: (region, properties) of each object, or of one; regions x, y, width, height; px.
        Returns: regions and properties of all objects.
        """
        self._following = []
        return self._add(_read(frame), new)

    def update(self, frame: str | Mapping[str, str], new: Sequence = ()) -> list[Found]:
        """Finds the objects in the next image, and adds new ones that begin there."""
        image = _read(frame)
        found = []
        for tracker in self._following:
            prediction = tracker.update(image)
            box = tuple(prediction.box_xywh.tolist())
            found.append((box, {"confidence": prediction.score}))
        return found + self._add(image, new)

    def _add(self, image: np.ndarray, new: Sequence) -> list[Found]:
        objects = new if isinstance(new, list) else [new] if new else []
        for region, _ in objects:
            if not isinstance(region, tuple) or len(region) != 4:
                raise ValueError("regions are rectangles: add `convert = rectangle`.")
            tracker = copy.copy(self._tracker)  # shares the network, not the target
            tracker.initialize(image, np.array(region, np.float64))
            self._following.append(tracker)
        return [(tuple(region), {"confidence": 1.0}) for region, _ in objects]


def _read(frame: str | Mapping[str, str]) -> np.ndarray:
    path = Path(frame if isinstance(frame, str) else frame["color"])
    try:
        image = read_image(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}.") from error
    if image is None:
        raise ValueError(f"{path} is damaged: it cannot be decoded.")
    return image
