"""Tracks with exported ONNX graphs: NumPy, OpenCV and onnxruntime, without JAX."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from data_pipeline.crop import check_frame
from esat_jax.exporting.description import read_description
from esat_jax.target import Prediction, Target


class OnnxTracker:
    """Follows the box given in the first frame, as `esat_jax.tracker.Tracker` does.

    Attributes:
      config: of the exported tracker.
      random_part: of its network, in words; "" if none is.
      compile_seconds: what reading the files and the first run took.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 0,
    ) -> None:
        """Args: folder: of `launch.export --target=onnx`; providers: onnxruntime's, best first.

        threads: of one operator, all cores if 0.
        Raises: ValueError or OSError for a folder that holds no whole export.
        """
        start = time.perf_counter()
        description = read_description(folder, "onnx")
        self.config = description["config"]
        self.random_part = description.get("random_part", "")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._sessions = {
            name: onnxruntime.InferenceSession(
                str(Path(folder) / graph["file"]), options, providers=list(providers)
            )
            for name, graph in description["graphs"].items()
        }
        self._target: Target | None = None
        self._template: dict[str, np.ndarray] = {}
        blank = [np.zeros((self.config[k]["size"],) * 2 + (3,), np.uint8) for k in _CROPS]
        self._locate(self._embed(blank[0], np.full(4, 0.5, np.float32)), blank[1])
        self.compile_seconds = time.perf_counter() - start

    def initialize(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        """Takes the target in `box_xywh` (x, y, width, height; frame px) of this frame.

        Raises: ValueError for a frame that is not uint8 RGB, or a box that cannot be tracked.
        """
        check_frame(frame)
        target = Target(self.config, box_xywh, *frame.shape[:2])
        crop = target.template_geometry.crop_image(frame)
        self._template = self._embed(crop, target.template_box_cxcywh())
        self._target = target

    def update(self, frame: np.ndarray) -> Prediction:
        """Finds the target in the next frame, around where it was.

        Raises: ValueError before `initialize`, and for a frame that is not uint8 RGB.
        """
        if self._target is None:
            raise ValueError("OnnxTracker.update needs a target: call initialize first.")
        check_frame(frame)
        geometry = self._target.search_geometry(*frame.shape[:2])
        box_cxcywh, score = self._locate(self._template, geometry.crop_image(frame))
        return self._target.move(geometry, box_cxcywh, score, *frame.shape[:2])

    def _embed(self, crop: np.ndarray, box_cxcywh: np.ndarray) -> dict[str, np.ndarray]:
        """What later frames need of the first."""
        box = {"template_box_cxcywh": box_cxcywh[None]}
        return {**box, **self._run("template", {"template": crop[None], **box})}

    def _locate(self, template: dict, search: np.ndarray) -> tuple[np.ndarray, float]:
        found = self._run("search", {**template, "search": search[None]})
        return found["box_cxcywh"][0].astype(np.float64), float(found["score"][0])

    def _run(self, graph: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's outputs by name; of `values` those that it reads."""
        session = self._sessions[graph]
        results = session.run(None, {x.name: values[x.name] for x in session.get_inputs()})
        return dict(zip((x.name for x in session.get_outputs()), results, strict=True))


_CROPS = ("template", "search")
