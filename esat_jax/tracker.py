"""Tracks one target through frames: `Tracker.initialize(frame, box)`, then `.update(frame)`."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from data_pipeline.crop import check_frame
from esat_jax.model_weights import load_model_weights
from esat_jax.models.box_head import decode_boxes, hann_window
from esat_jax.models.esat import ESAT, inference_variables, make_model
from esat_jax.target import Prediction, Target, check_frame_size

__all__ = ["Prediction", "Tracker", "frame_size", "make_search_step", "needs_template_box"]


def make_search_step(config: Mapping, model: ESAT | None = None) -> Callable:
    """One step of the network for a batch of crops, a pure function to jit, batch or export.

    Args: model: the network, if it is to be another than `make_model(config)`.
    Returns: `step(variables, template, search, template_box_cxcywh)` for uint8 crops [B, s, s, 3]
      and [B, S, S, 3] -> box_cxcywh [B, 4] (fractions of the search crop) and score [B]. The box is
      read from the raw maps where the score times the Hann window is highest; the score is that
      cell's raw one. `template_box_cxcywh` [B, 4] is None unless `needs_template_box(config)`.
    Source: OSTrack.
    """
    model = make_model(config) if model is None else model
    window = hann_window(config["search"]["size"] // config["backbone"]["patch_size"])

    def step(
        variables: Mapping,
        template: jax.Array,
        search: jax.Array,
        template_box_cxcywh: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        maps = model.apply(
            variables, template, search, template_box_cxcywh=template_box_cxcywh, train=False
        )
        response = maps.score_map * window[None]
        box_cxcywh, index = decode_boxes(response, maps.size_map, maps.offset_map)
        scores = maps.score_map.reshape(len(index), -1)
        return box_cxcywh, scores[np.arange(len(index)), index]

    return step


def needs_template_box(config: Mapping) -> bool:
    """Whether the network reads the target's box in the template, so `step` has to be given it."""
    return config["ce"]["template_range"] == "GT_BOX" or bool(
        config["backbone"].get("target_mark")  # files from before it was have no such key
    )


class Tracker:
    """Follows the box given in the first frame.

    Frames are uint8 RGB [height, width, 3] of any size, even a changing one. The network is
    compiled and run once on construction, in `compile_seconds`, so no frame waits for it. A call
    that raises leaves the state as it was.
    """

    def __init__(self, config: Mapping, variables: Mapping) -> None:
        """`config` (keys: configs/base.py) is a ConfigDict or a plain dict; `variables` fit it."""
        self.config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        self._step = jax.jit(make_search_step(self.config))
        self._variables = inference_variables(variables, self.config)
        self._template: tuple | None = None
        self._target: Target | None = None
        start = time.perf_counter()
        blank = [np.zeros((self.config[k]["size"],) * 2 + (3,), np.uint8) for k in _CROPS]
        self._locate(self._put_template(blank[0], np.full(4, 0.5, np.float32)), blank[1])
        self.compile_seconds = time.perf_counter() - start

    @classmethod
    def from_weights(cls, path: str | Path) -> "Tracker":
        """The tracker that a file of `esat_jax.weights.save_weights` holds.

        Raises: ValueError or OSError if it is not such a file, or does not fit its own config.
        """
        variables, config = load_model_weights(path)
        return cls(config, variables)

    def initialize(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        """Takes the target in `box_xywh` (x, y, width, height; frame px) of this frame.

        Raises: ValueError for a frame that is not uint8 RGB, or a box that is not four finite
          numbers with a positive area, in part inside the frame, or too large to search around.
        """
        target = Target(self.config, box_xywh, *frame_size(frame))
        crop = target.template_geometry.crop_image(frame)
        self._template = self._put_template(crop, target.template_box_cxcywh())
        self._target = target

    def update(self, frame: np.ndarray) -> Prediction:
        """Finds the target in the next frame, around where it was.

        Raises: ValueError before `initialize`, for a frame that is not uint8 RGB, and for weights
          that give a box without finite numbers.
        """
        if self._target is None:
            raise ValueError("Tracker.update needs a target: call initialize(frame, box) first.")
        size = frame_size(frame)
        geometry = self._target.search_geometry(*size)
        box_cxcywh, score = self._locate(self._template, geometry.crop_image(frame))
        return self._target.move(geometry, box_cxcywh, score, *size)

    def _put_template(self, crop: np.ndarray, box_cxcywh: np.ndarray) -> tuple:
        """The template's arguments of the step, on the device: they serve every frame."""
        needed = needs_template_box(self.config)
        return jax.device_put((crop[None], box_cxcywh[None] if needed else None))

    def _locate(self, template: tuple, search: np.ndarray) -> tuple[np.ndarray, float]:
        step = self._step(self._variables, template[0], search[None], template[1])
        box_cxcywh, score = jax.device_get(step)
        return box_cxcywh[0].astype(np.float64), float(score[0])


_CROPS = ("template", "search")


def frame_size(frame: np.ndarray) -> tuple[int, int]:
    """Height and width, px, of a frame that can be tracked in.

    Raises: ValueError unless it is uint8 RGB [height, width, 3], larger than 10 px each way.
    """
    check_frame(frame)
    height, width = frame.shape[:2]
    check_frame_size(height, width)
    return height, width
