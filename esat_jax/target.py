"""Where one target is: the crops around it, and the network's boxes back in its frames."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_pipeline.crop import CropGeometry, check_box_xywh, clip_box_xywh

MARGIN_PX = 10  # of a box, stays inside the frame; and the smallest side of a box. OSTrack.


class Prediction(NamedTuple):
    """Where the target is in one frame.

    Attributes:
      box_xywh: float64 [4], frame pixels; inside the frame, at least 10 px wide and high.
      score: the network's raw score of this box, in [0, 1].
      lost: the score is below config.tracker.lost_threshold.
    """

    box_xywh: np.ndarray
    score: float
    lost: bool


class Target:
    """A target on its way through frames, without their pixels and without the network.

    Frames may change their size. A call that raises leaves the state as it was.

    Attributes:
      box_xywh: float64 [4], its last box, frame pixels.
      template_geometry: of the template crop, in the first frame.
    """

    def __init__(self, config: Mapping, box_xywh: np.ndarray, height: int, width: int) -> None:
        """The target in `box_xywh` of a first frame of `height` x `width` px.

        Args: config: plain nested dict with the keys of configs/base.py.
        Raises: ValueError for a frame that is too small, or a box that is not four finite numbers
          with a positive area, in part inside the frame, or too large to search around.
        """
        check_frame_size(height, width)
        self._config = config
        self._frame_size = height, width
        self.box_xywh = check_box_xywh(box_xywh, height, width).copy()
        # What the next frame will need: a box that cannot be searched around is refused here.
        self.search_geometry(height, width).inside(height, width)
        template = config["template"]
        self.template_geometry = CropGeometry.from_box(
            self.box_xywh, template["factor"], template["size"]
        )

    def template_box_cxcywh(self) -> np.ndarray:
        """The given box in the template crop, float32 [4]; valid until the first `move`."""
        return self.template_geometry.frame_to_crop(self.box_xywh).astype(np.float32)

    def search_geometry(self, height: int, width: int) -> CropGeometry:
        """The crop that the network has to see of the next frame, of this size.

        Raises: ValueError for a frame that is too small.
        """
        check_frame_size(height, width)
        box_xywh = self.box_xywh
        if (height, width) != self._frame_size:
            box_xywh = clip_box_xywh(box_xywh, height, width, MARGIN_PX)
        search = self._config["search"]
        return CropGeometry.from_box(box_xywh, search["factor"], search["size"])

    def move(
        self,
        geometry: CropGeometry,
        box_cxcywh: np.ndarray,
        score: float,
        height: int,
        width: int,
    ) -> Prediction:
        """Takes what the network found in the crop of `search_geometry(height, width)`.

        Args: box_cxcywh: float64 [4], fractions of the crop; score: of that box.
        Raises: ValueError for numbers that are not finite.
        """
        if not (np.isfinite(box_cxcywh).all() and np.isfinite(score)):
            raise ValueError(
                f"the network's box {box_cxcywh} with score {score} has numbers that are not "
                "finite: the weights are damaged, or their training diverged."
            )
        box_xywh = clip_box_xywh(geometry.crop_to_frame(box_cxcywh), height, width, MARGIN_PX)
        self.box_xywh, self._frame_size = box_xywh, (height, width)
        lost = score < self._config["tracker"]["lost_threshold"]
        return Prediction(box_xywh.copy(), float(score), bool(lost))


def check_frame_size(height: int, width: int) -> None:
    """Raises ValueError unless a frame is larger than 10 px each way."""
    if min(height, width) <= MARGIN_PX:
        raise ValueError(
            f"a frame must be larger than {MARGIN_PX} px each way, got {width} x {height}."
        )
