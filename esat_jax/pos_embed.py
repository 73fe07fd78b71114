"""Position embeddings: resizing learned grids, and MAE's fixed sine-cosine table."""

import math

import numpy as np

_A = -0.75  # of the cubic kernel, PyTorch's; JAX's own cubic resize has -0.5 and antialiases


def resize_matrix(source: int, target: int) -> np.ndarray:
    """Bicubic weights [target, source] float64 along one axis: half-pixel, edges clamped.

    No antialias when it shrinks. Source: Keys 1981 with a = -0.75, as in
    `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`.
    """
    at = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.floor(at).astype(int) - 1  # leftmost of four taps
    matrix = np.zeros((target, source))
    for tap in range(4):
        index = first + tap
        weight = _cubic(np.abs(at - index))
        np.add.at(matrix, (np.arange(target), np.clip(index, 0, source - 1)), weight)
    return matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The kernel at distances of 0 to 2 source cells."""
    d = distance
    near = (_A + 2) * d**3 - (_A + 3) * d**2 + 1
    far = _A * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, far)


def resize_positions(embedding: np.ndarray, grid: int) -> np.ndarray:
    """Resizes a square grid of positions, row-major [1, g * g, D] -> [1, grid * grid, D] float32.

    The same grid is returned unchanged. Raises: ValueError if g * g is not a square number.
    """
    _, count, width = embedding.shape
    source = math.isqrt(count)
    if source**2 != count:
        raise ValueError(f"{count} position embeddings do not form a square grid")
    if source == grid:
        return embedding
    matrix = resize_matrix(source, grid)
    cells = embedding.astype(np.float64).reshape(source, source, width)
    resized = np.einsum("yr,xc,rcd->yxd", matrix, matrix, cells, optimize=True)
    return resized.reshape(1, grid * grid, width).astype(np.float32)


def sincos_position_embedding(width: int, grid: int, cls_token: bool = False) -> np.ndarray:
    """MAE's table [1, grid * grid, width] float32; a row of zeros in front if `cls_token`.

    The first half of the channels encodes the column, the second the row; of each half the first
    half is sine, the second cosine. Frequencies are 10000^(-j / (width / 4)).
    Source: facebookresearch/mae, the positions that ViT-B and HiViT-B start from.
    Raises: ValueError if width is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"the width must be a multiple of 4, got {width}")
    frequency = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    row, column = np.divmod(np.arange(grid * grid), grid)
    angles = [np.outer(position, frequency) for position in (column, row)]
    table = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)
    if cls_token:
        table = np.concatenate([np.zeros((1, width)), table])
    return table[None].astype(np.float32)
