"""NanoTrack, a small Siamese tracker, run with ncnn from the two networks that its authors publish.

A backbone gives features of a template crop and of a search crop, a head correlates them to 16 x 16
cells, each with a score and the distances of a box's four sides. What follows is that of SiamRPN
and SiamBAN: a penalty on boxes that change their size or shape, a window that prefers the middle of
the crop, and smoothing of the size. Needs requirements-peers.txt.
"""

from pathlib import Path

import cv2
import numpy as np

from esat_jax.target import Prediction

FILES = tuple(
    f"nanotrack_{network}_sim-opt.{kind}"
    for network in ("backbone", "head")
    for kind in ("param", "bin")
)
TEMPLATE_PX, SEARCH_PX = 127, 255  # sides of the crops
CELLS, STRIDE_PX = 16, 16
CONTEXT = 0.5  # of the mean side, added to both sides of the box that the template shows
PENALTY, WINDOW_SHARE, RATE = 0.055, 0.455, 0.37  # as the authors' programs for ncnn set them


class Networks:
    """The backbone and the head, run by ncnn on the CPU."""

    def __init__(self, folder: str | Path, *, threads: int) -> None:
        """Args: folder: with FILES. Raises: ValueError for a file that is not there or damaged."""
        import ncnn

        self._to_mat = ncnn.Mat
        self._backbone, self._head = (ncnn.Net() for _ in range(2))
        for net, name in ((self._backbone, "backbone"), (self._head, "head")):
            net.opt.num_threads = threads
            stem = Path(folder, f"nanotrack_{name}_sim-opt")
            for load, kind in ((net.load_param, "param"), (net.load_model, "bin")):
                path = stem.with_suffix(f".{kind}")
                if not path.is_file() or load(str(path)) != 0:
                    raise ValueError(f"{path}: expected a file of NanoTrack's networks for ncnn.")

    def features(self, crop: np.ndarray) -> object:
        """Of a crop, uint8 RGB."""
        extractor = self._backbone.create_extractor()
        pixels = np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32)
        extractor.input("input", self._to_mat(pixels))  # which reads `pixels`, and keeps no copy
        return extractor.extract("output")[1]

    def compare(self, template: object, search: object) -> tuple[np.ndarray, np.ndarray]:
        """Scores [CELLS, CELLS] in [0, 1], and distances from each cell's place to the four sides
        of its box (left, top, right, bottom), crop px, [4, CELLS, CELLS].
        """
        extractor = self._head.create_extractor()
        extractor.input("input1", template)
        extractor.input("input2", search)
        logits = np.array(extractor.extract("output1")[1], np.float64)
        sides = np.array(extractor.extract("output2")[1], np.float64)
        return 1 / (1 + np.exp(logits[0] - logits[1])), sides


class NanoTrack:
    """Follows the box given in the first frame, as `esat_jax.tracker.Tracker` does."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        hann = np.hanning(CELLS)
        self._window = np.outer(hann, hann)
        along = STRIDE_PX * (np.arange(CELLS) - CELLS // 2)  # from the middle of the search crop
        self._cells = np.stack(np.meshgrid(along, along))  # x, y: [2, CELLS, CELLS]

    def initialize(self, frame: np.ndarray, box_xywh: np.ndarray) -> None:
        """Takes the target in this box (px) of a uint8 RGB frame."""
        box_xywh = np.asarray(box_xywh, np.float64)
        self._size = box_xywh[2:].copy()
        self._center = box_xywh[:2] + (self._size - 1) / 2
        self._color = frame.mean(axis=(0, 1))
        side = template_side(self._size)
        crop = square_crop(frame, self._center, side, TEMPLATE_PX, self._color)
        self._template = self._networks.features(crop)

    def update(self, frame: np.ndarray) -> Prediction:
        """Finds the target in the next frame."""
        side = template_side(self._size)
        scale = TEMPLATE_PX / side  # crop px per frame px
        side *= SEARCH_PX / TEMPLATE_PX
        crop = square_crop(frame, self._center, side, SEARCH_PX, self._color)
        scores, sides = self._networks.compare(self._template, self._networks.features(crop))
        low, high = self._cells - sides[:2], self._cells + sides[2:]
        sizes = high - low
        penalty = change_penalty(sizes, self._size * scale)
        response = (1 - WINDOW_SHARE) * penalty * scores + WINDOW_SHARE * self._window
        at = np.unravel_index(np.argmax(response), response.shape)
        rate = RATE * penalty[at] * scores[at]
        moved = (low[:, *at] + high[:, *at]) / 2 / scale
        height, width = frame.shape[:2]
        limits = np.array([width, height])
        self._center = np.clip(self._center + moved, 0, limits)
        self._size = np.clip((1 - rate) * self._size + rate * sizes[:, *at] / scale, 10, limits)
        box_xywh = np.concatenate([self._center - self._size / 2, self._size])
        return Prediction(box_xywh, float(scores[at]), False)


def template_side(size: np.ndarray) -> float:
    """Side, px, of the square of a frame that the template shows of a target of `size` (w, h)."""
    return float(np.sqrt(np.prod(size + CONTEXT * size.sum())))


def square_crop(
    frame: np.ndarray, center: np.ndarray, side: float, pixels: int, color: np.ndarray
) -> np.ndarray:
    """The square of `side` px around `center` (x, y), resized to uint8 [pixels, pixels, 3].

    What lies outside the frame has one `color`. The square begins and ends at whole pixels.
    """
    side = max(round(side), 1)
    x, y = np.floor(center - (side - 1) / 2 + 0.5).astype(int)
    height, width = frame.shape[:2]
    left, top = min(max(x, 0), width), min(max(y, 0), height)
    right, bottom = max(min(x + side, width), left), max(min(y + side, height), top)
    square = np.empty((side, side, 3), np.uint8)
    square[...] = color
    square[top - y : bottom - y, left - x : right - x] = frame[top:bottom, left:right]
    return cv2.resize(square, (pixels, pixels))


def change_penalty(sizes: np.ndarray, size: np.ndarray) -> np.ndarray:
    """1 for boxes as large and as wide as the target, less for others: [2, ...] -> [...].

    Args: sizes: width and height of boxes; size: of the target, in the same unit.
    """
    ratio = (size[0] / size[1]) / (sizes[0] / sizes[1])
    sides = np.sqrt(np.prod(sizes + CONTEXT * sizes.sum(axis=0), axis=0))
    growth = sides / template_side(size)
    changes = np.maximum(ratio, 1 / ratio) * np.maximum(growth, 1 / growth)
    return np.exp(-PENALTY * (changes - 1))
