"""Training targets of one template/search pair. Numpy only."""

import functools
import math

import numpy as np

TEMPLATE_LABELS = ("box", "center")


def score_target(box_cxcywh: np.ndarray, grid: int) -> np.ndarray:
    """The score map to learn: 1 at the target's cell, a small Gaussian around it.

    Args:
      box_cxcywh: [4] target in fractions of the search crop, not clamped to it.
      grid: cells per side, S.
    Returns: [S, S] float32; empty if the centre's cell lies so far outside that nothing reaches in.
    Source: CornerNet's target as OSTrack computes it: centre rounded half to even, radius by the
      original formula (which divides by 2 where 2a was meant) and truncated.
    """
    cx, cy, w, h = (float(value) * grid for value in box_cxcywh)
    column, row = round(cx), round(cy)
    radius = max(0, int(gaussian_radius(w, h)))
    near = [slice(max(at - radius, 0), max(at + radius + 1, 0)) for at in (row, column)]
    rows, columns = np.arange(grid)[near[0]] - row, np.arange(grid)[near[1]] - column
    sigma = (2 * radius + 1) / 6
    target = np.zeros((grid, grid), np.float32)
    target[*near] = np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * sigma**2))
    return target


def gaussian_radius(width: float, height: float, min_overlap: float = 0.7) -> float:
    """CornerNet's radius, in cells, of a box of `width` x `height` cells."""
    side, area = width + height, width * height
    first = side**2 - 4 * area * (1 - min_overlap) / (1 + min_overlap)
    second = 4 * side**2 - 16 * (1 - min_overlap) * area
    third = 4 * min_overlap**2 * side**2 + 16 * min_overlap * (1 - min_overlap) * area
    return min(
        (side + math.sqrt(first)) / 2,
        (2 * side + math.sqrt(second)) / 2,
        (-2 * min_overlap * side + math.sqrt(third)) / 2,
    )


def position_labels(
    box_cxcywh: np.ndarray,
    template_box_cxcywh: np.ndarray,
    *,
    template_grid: int,
    search_grid: int,
    template_labels: str = "box",
) -> tuple[np.ndarray, np.ndarray]:
    """Absolute and positive-negative labels of every token, template first (paper Sec. 3.1).

    Args:
      box_cxcywh, template_box_cxcywh: [4] target in fractions of the search and template crop.
        Training has them as float32, like the network: that decides at a cell's very edge.
      template_grid, search_grid: tokens per side, T and S.
      template_labels: which search cells the template's tokens are labelled with. "box": the cell
        at the same place relative to the target, clipped to the grid; "center": the T x T cells in
        the middle of the search crop.
    Returns: abs_labels int32 [Z + X], a search token's own cell; pn_labels int32 [Z + X], 1 for
      template tokens and for search cells whose centre is in the box, else 0.
    Raises: ValueError for another `template_labels`, or "center" with a template larger than the
      search grid.
    """
    if template_labels == "center":
        if template_grid > search_grid:
            raise ValueError(
                f"template_labels 'center' needs a search grid of at least {template_grid} cells, "
                f"got {search_grid}"
            )
        first = (search_grid - template_grid) // 2
        columns = rows = first + np.arange(template_grid)
    elif template_labels == "box":
        at = _token_centres(template_grid)
        relative = (at - template_box_cxcywh[:2, None]) / template_box_cxcywh[2:, None]  # [2, T]
        place = box_cxcywh[:2, None] + relative * box_cxcywh[2:, None]
        cells = np.floor(place * search_grid)
        columns, rows = np.minimum(np.maximum(cells, 0), search_grid - 1).astype(np.int32)
    else:
        raise ValueError(f"template_labels is one of {TEMPLATE_LABELS}, got {template_labels!r}")
    num_template, num_search = template_grid**2, search_grid**2
    abs_labels = np.arange(-num_template, num_search, dtype=np.int32)
    abs_labels[:num_template] = (rows[:, None] * search_grid + columns).ravel()
    centres = _token_centres(search_grid)
    cx, cy, w, h = box_cxcywh
    in_columns, in_rows = np.abs(centres - cx) <= w / 2, np.abs(centres - cy) <= h / 2
    pn_labels = np.ones(num_template + num_search, np.int32)
    pn_labels[num_template:] = (in_rows[:, None] & in_columns).ravel()
    return abs_labels, pn_labels


@functools.lru_cache
def _token_centres(grid: int) -> np.ndarray:
    """Centres of a side's tokens in fractions of the crop, float64 [grid]; not to be written to."""
    centres = (np.arange(grid) + 0.5) / grid
    centres.setflags(write=False)
    return centres
