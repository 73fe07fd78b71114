"""The paper's Fig. 1 and Fig. 5 for one search frame, from `NetworkViews`."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from esat_jax.drawing import encode_jpeg, encode_png, heat_colors, resize_image
from esat_jax.report.film_strips import Boxes, draw_frame
from esat_jax.report.markup import Html, data_uri, element
from esat_jax.report.network_views import NetworkViews

MATRIX_PX = 360  # most pixels a side of a matrix of similarities
CROP_PX = 288  # a side of a search crop


@dataclasses.dataclass(frozen=True, eq=False)
class FigureFrame:
    """A frame that ESAT searched.

    Attributes:
      title: which one it is.
      template, search: the crops, uint8 RGB, square.
      frame: all of it, uint8 RGB; boxes: on it, each `xywh` [4].
      views: see there.
    """

    title: str
    template: np.ndarray
    search: np.ndarray
    frame: np.ndarray
    boxes: Sequence[Boxes]
    views: NetworkViews


def correlation_figure(one: FigureFrame, *, positions: bool = True) -> Html:
    """Fig. 1: similarities of all tokens with all, template first, light where they are alike.

    Args: positions: also those of the position embeddings, which are the same for all frames.
    """
    views = one.views
    matrices = (
        ("position embeddings", views.position_similarity if positions else None),
        ("learned absolute positions", views.absolute_similarity),
        ("learned positive-negative positions", views.sign_similarity),
        ("tokens before the first block", views.input_similarity),
        ("features after the last block", views.output_similarity),
    )
    panels = [
        _matrix_panel(title, matrix, views.num_template)
        for title, matrix in matrices
        if matrix is not None
    ]
    return element("div", *panels, class_="panels")


def tracking_figure(one: FigureFrame) -> Html:
    """Fig. 5: search and template, what elimination leaves, attention, features, scores, boxes."""
    views = one.views
    search = resize_image(one.search, CROP_PX, CROP_PX)
    template = resize_image(one.template, CROP_PX // 3, CROP_PX // 3)
    inset = search.copy()
    inset[: CROP_PX // 3, : CROP_PX // 3] = template
    inset[CROP_PX // 3, : CROP_PX // 3 + 1] = inset[: CROP_PX // 3 + 1, CROP_PX // 3] = 255
    shape = views.score_map.shape
    kept = views.kept.reshape(shape)
    eliminated = search.copy()
    eliminated[_cells(~kept, CROP_PX)] = 235
    attention = _stretched(np.where(kept, views.attention, np.nan))
    features = np.nan_to_num(views.features)
    left, total = int(views.kept.sum()), views.kept.size
    panels = [
        _picture("search crop, template", inset),
        _picture(f"after elimination: {left} of {total}", eliminated),
        _picture("attention of the target", _blended(search, heat_colors(attention))),
        _picture("features, 3 main components", _enlarged(_as_bytes(features))),
        _picture("score map", _blended(search, heat_colors(_stretched(views.score_map)))),
        element(
            "figure",
            draw_frame(one.frame, one.boxes, (CROP_PX, CROP_PX)),
            element("figcaption", "truth and boxes"),
        ),
    ]
    return element("div", *panels, class_="panels six")


def _matrix_panel(title: str, matrix: np.ndarray, num_template: int) -> Html:
    low, high = float(matrix.min()), float(matrix.max())
    # Cells of a token with itself would otherwise set the scale of all the others.
    others = matrix[~np.eye(len(matrix), dtype=bool)]
    dark, light = np.percentile(others, [1, 99]) if len(others) else (low, high)
    image = heat_colors((matrix - dark) / max(light - dark, 1e-12))
    side = min(MATRIX_PX, max(len(matrix), 1))
    image = resize_image(image, side, side)
    split = 100 * num_template / len(matrix)
    lines = [
        element("line", class_="split", vector_effect="non-scaling-stroke", **ends)
        for ends in (
            {"x1": split, "x2": split, "y1": 0, "y2": 100},
            {"x1": 0, "x2": 100, "y1": split, "y2": split},
        )
    ]
    svg = element(
        "svg",
        element(
            "image", href=data_uri("image/jpeg", encode_jpeg(image, 88)), width=100, height=100
        ),
        *lines,
        viewBox="0 0 100 100",
        role="img",
        aria_label=f"similarities of {title}, template tokens first",
        class_="matrix",
    )
    scale = f"dark {dark:.2f}, light {light:.2f}"
    return element("figure", svg, element("figcaption", title, element("br"), scale))


def _picture(title: str, image: np.ndarray) -> Html:
    small = min(image.shape[:2]) < CROP_PX
    kind, content = ("png", encode_png(image)) if small else ("jpeg", encode_jpeg(image))
    src = data_uri(f"image/{kind}", content)
    return element("figure", element("img", src=src, alt=title), element("figcaption", title))


def _stretched(values: np.ndarray) -> np.ndarray:
    """To [0, 1] between the lowest and the highest number; NaN is 0."""
    low, high = np.nanmin(values), np.nanmax(values)
    return np.nan_to_num((values - low) / max(high - low, 1e-12))


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.round(255 * values).astype(np.uint8)


def _enlarged(colors: np.ndarray) -> np.ndarray:
    """Colours of cells, every cell a square."""
    times = -(-CROP_PX // len(colors))
    large = colors.repeat(times, axis=0).repeat(times, axis=1)
    return resize_image(large, CROP_PX, CROP_PX)


def _blended(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    return np.round(0.45 * image + 0.55 * _enlarged(colors)).astype(np.uint8)


def _cells(flags: np.ndarray, size: int) -> np.ndarray:
    """Flags of cells [S, S] -> of pixels, bool [size, size]."""
    places = np.arange(size) * len(flags) // size
    return flags[np.ix_(places, places)]
