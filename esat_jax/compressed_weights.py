"""Weights for tracking in a quarter of the bytes: kernels as 8-bit integers with scales.

A kernel [..., outputs] becomes integers from -127 to 127, the nearest ones, and one float32 scale
for each output: kernel = integers * scale, where the largest of an output is 127 * scale. Other
arrays with several axes (position embeddings, class token) and the kernels of the first and last
layers become float16. Vectors (norms, biases, statistics) are few and stay float32.
"""

from collections.abc import Mapping

import numpy as np

COMPRESSIONS = ("int8", "float16")  # what becomes of the kernels

_LEFT_OUT = ("params/position_head/", "batch_stats/position_head/", "torch/")  # not for tracking
# 1 % of the numbers, which read pixels or write the box: as int8 they double the boxes' errors.
_FINE_KERNELS = ("/patch_embed/kernel", "/conv_5/kernel")
_SCALES = "scales/"
_LARGEST = 127


def compressed(arrays: Mapping[str, np.ndarray], kernels: str) -> dict[str, np.ndarray]:
    """What to store of a tracker's arrays.

    Args:
      arrays: floats of any width by path, "params/backbone/...".
      kernels: "int8" or "float16".
    Returns: arrays by the same paths, and "scales/<path>" [outputs] for every int8 kernel; without
      the position head and the collection "torch", which tracking does not read.
    Raises: ValueError for numbers that are not finite, or too large for float16, and for another
      `kernels`.
    """
    if kernels not in COMPRESSIONS:
        raise ValueError(f"kernels become {' or '.join(COMPRESSIONS)}; got {kernels!r}")
    small = {}
    for path, value in arrays.items():
        if path.startswith(_LEFT_OUT):
            continue
        value = np.asarray(value, np.float32)
        if not np.isfinite(value).all():
            raise ValueError(f"{path} has numbers that are not finite")
        if value.ndim < 2:
            small[path] = value
        elif kernels == "float16" or not path.endswith("/kernel") or path.endswith(_FINE_KERNELS):
            if np.abs(value).max() > np.finfo(np.float16).max:
                raise ValueError(f"{path} has numbers that are too large for float16")
            small[path] = value.astype(np.float16)
        else:
            small[path], small[_SCALES + path] = _integers(value)
    return small


def expanded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The float32 arrays, by path, that `compressed` stands for: everywhere the same, to the bit.

    Raises: ValueError for integers without their scales, scales without integers, or numbers that
      are not finite.
    """
    whole = {}
    for path, value in arrays.items():
        if path.startswith(_SCALES):
            if path.removeprefix(_SCALES) not in arrays:
                raise ValueError(f"{path} has no kernel")
        elif value.dtype == np.int8:
            whole[path] = value * _checked_scales(path, value, arrays.get(_SCALES + path))
        elif value.dtype in (np.float16, np.float32):
            if not np.isfinite(value).all():
                raise ValueError(f"{path} has numbers that are not finite")
            whole[path] = value.astype(np.float32)
        else:
            raise ValueError(f"{path} should be int8, float16 or float32, but is {value.dtype}")
    return whole


def _integers(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the kernel's shape, and the float32 scale of each output, 0 where all is 0."""
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    scales = largest / np.float32(_LARGEST)
    # A scale too small to divide by stands for numbers that are as good as 0.
    safe = np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(np.inf))
    integers = np.clip(np.rint(kernel / safe), -_LARGEST, _LARGEST)
    return integers.astype(np.int8), scales


def _checked_scales(path: str, kernel: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    if scales is None:
        raise ValueError(f"{path} has integers and no {_SCALES}{path}")
    if scales.dtype != np.float32 or scales.shape != kernel.shape[-1:]:
        raise ValueError(
            f"{_SCALES}{path} should be float32 {kernel.shape[-1:]}, but is {scales.dtype} "
            f"{scales.shape}"
        )
    if not np.isfinite(scales).all():
        raise ValueError(f"{_SCALES}{path} has numbers that are not finite")
    return scales
