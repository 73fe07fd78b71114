"""Training curves of one or several runs, as one SVG picture that needs nothing else.

Its colours are fixed and its style is plain, so that it is the same in browsers and in programs for
drawings and documents.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from esat_jax.report.markup import Html, element
from esat_jax.report.plots import Frame, binned, text_at

COLORS = ("#0072b2", "#c44a00", "#96418f", "#806300", "#1d7a80", "#5a5f66")
DASHES = ("", "7 3")  # of the first runs, and of those whose colours come again
MOST_RUNS = len(COLORS) * len(DASHES)
_FONT = "12px system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_COLUMNS, _WIDTH_PX, _HEIGHT_PX = 2, 460, 182  # of a panel with its numbers
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 62, 14, 28, 22  # around its plot
_LEGEND_ROW_PX, _LETTER_PX, _SWATCH_PX = 20, 7.2, 30
_MOST_DOTS = 30  # points that are drawn as dots, too
_MOST_TICKS, _MOST_LOG_TICKS = 5, 7  # of more of the latter powers of ten stay


@dataclasses.dataclass(frozen=True)
class RunLog:
    """What a run has logged.

    Attributes: rows: of `metrics.jsonl`, None is not finite; restarts: steps it went on from.
    """

    name: str
    rows: Sequence[Mapping[str, float | None]]
    restarts: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class _Panel:
    """A plot of the numbers called `key`; `loss`: logarithmic where they span a factor of ten."""

    title: str
    key: str
    loss: bool = False


_PANELS = (
    _Panel("IoU, training pairs", "iou"),
    _Panel("IoU, validation pairs", "val/iou"),
    _Panel("total loss, training", "total", loss=True),
    _Panel("total loss, validation (no position terms)", "val/total", loss=True),
    _Panel("focal term, training", "focal", loss=True),
    _Panel("giou term, training", "giou", loss=True),
    _Panel("abs term, training", "abs", loss=True),
    _Panel("pn term, training", "pn", loss=True),
    _Panel("l1 term, training", "l1", loss=True),
    _Panel("learning rate (optim.lr.default)", "lr_default"),
    _Panel("pairs a second", "speed/pairs_per_second"),
    _Panel("share of the time waiting for data", "speed/data_wait_share"),
)


def training_curves(runs: Sequence[RunLog]) -> Html:
    """The picture: a panel for everything that any of the runs has logged, over the steps.

    Raises: ValueError if they have logged nothing of it, or are more than MOST_RUNS.
    """
    if len(runs) > MOST_RUNS:
        raise ValueError(f"{len(runs)} runs: colours tell {MOST_RUNS} apart; plot fewer.")
    panels = [panel for panel in _PANELS if any(len(_points(run, panel.key)[0]) for run in runs)]
    if not panels:
        raise ValueError(f"no row of {', '.join(run.name for run in runs)} has a number to plot.")
    last = max(step for run in runs for step in (run.rows[-1]["step"], *run.restarts))
    width = _COLUMNS * _WIDTH_PX
    legend, top = _legend(runs, width)
    parts = [element("rect", width="100%", height="100%", fill="#ffffff"), *legend]
    for place, panel in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        corner = column * _WIDTH_PX, top + row * _HEIGHT_PX
        parts.append(_plot(panel, runs, corner, last))
    height = top + -(-len(panels) // _COLUMNS) * _HEIGHT_PX
    return element(
        "svg",
        element("style", Html(_style())),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"Training curves of {', '.join(run.name for run in runs)}, over steps",
    )


def nice_ticks(low: float, high: float, most: int = _MOST_TICKS) -> list[float]:
    """Round numbers at equal distances around [low, high], at most `most` + 1 steps apart."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    exponent = math.floor(math.log10((high - low) / most))
    sizes = (factor * 10.0**power for power in (exponent, exponent + 1) for factor in (1, 2, 5))
    step = next(size for size in sizes if (high - low) / size <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, as few as hold [low, high] between them; `low` > 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    start = max(i for i, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    stop = min(i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[start : stop + 1]


def _plot(panel: _Panel, runs: Sequence[RunLog], corner: tuple[float, float], last: int) -> Html:
    lines = [_points(run, panel.key) for run in runs]
    values = np.concatenate([ys for _, ys in lines])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    logarithmic = panel.loss and low > 0 and high > 10 * low
    x_ticks = [tick for tick in nice_ticks(0, last, most=6) if tick <= last]
    y_ticks = log_ticks(low, high) if logarithmic else nice_ticks(low, high)
    scale = np.log10 if logarithmic else np.asarray
    ends = float(scale(y_ticks[0])), float(scale(y_ticks[-1]))
    if logarithmic and len(y_ticks) > _MOST_LOG_TICKS:
        y_ticks = [tick for tick in y_ticks if f"{tick:e}".startswith("1.0")]
        y_ticks = y_ticks[:: -(-len(y_ticks) // _MOST_LOG_TICKS)]
    frame = Frame(
        corner[0] + _LEFT_PX,
        corner[1] + _TOP_PX,
        _WIDTH_PX - _LEFT_PX - _RIGHT_PX,
        _HEIGHT_PX - _TOP_PX - _BOTTOM_PX,
        (0.0, float(last)),
        ends,
    )
    texts = {float(scale(tick)): f"{tick:g}" for tick in y_ticks}
    parts = [text_at(panel.title, frame.left, frame.top - 9, "start", "title")]
    parts += frame.grid(x_ticks, list(texts), texts.__getitem__)
    for place, run in enumerate(runs):
        parts += _restarts(run, place, frame)
    for place, (run, (steps, ys)) in enumerate(zip(runs, lines, strict=True)):
        if len(steps):
            parts.append(_line(run, place, frame, steps, scale(ys)))
    return element("g", *parts)


def _line(run: RunLog, place: int, frame: Frame, steps: np.ndarray, ys: np.ndarray) -> Html:
    few = len(steps) <= _MOST_DOTS
    places, means = binned(ys)
    xs = np.interp(places, np.arange(len(steps)), steps)
    parts = [element("title", run.name), frame.polyline(xs, means, class_=f"line r{place}")]
    if few:
        parts += [
            element("circle", cx=frame.x(x), cy=frame.y(y), r=3, class_=f"dot r{place}")
            for x, y in zip(xs, means, strict=True)
            if not np.isnan(y)
        ]
    return element("g", *parts)


def _restarts(run: RunLog, place: int, frame: Frame) -> list[Html]:
    ends = {"y1": frame.top, "y2": frame.top + frame.height}
    return [
        element(
            "line",
            element("title", f"{run.name} went on from step {step}"),
            **{"x1": frame.x(step), "x2": frame.x(step), **ends},
            class_=f"restart r{place}",
        )
        for step in run.restarts
    ]


def _legend(runs: Sequence[RunLog], width: float) -> tuple[list[Html], float]:
    """A swatch and a name for every run, in as many rows as they need; the height of all."""
    entries = [(run.name, f"line r{place}") for place, run in enumerate(runs)]
    if any(run.restarts for run in runs):
        entries.append(("went on after a stop", "restart"))
    axis = text_at("over optimiser steps", width - _RIGHT_PX, 20, "end")
    parts, x, y = [axis], float(_LEFT_PX), 20.0
    for text, class_ in entries:
        wide = _SWATCH_PX + 8 + _LETTER_PX * len(text) + 18
        if x > _LEFT_PX and x + wide > width - 140:  # the axis is named there
            x, y = float(_LEFT_PX), y + _LEGEND_ROW_PX
        ends = {"x1": x, "x2": x + _SWATCH_PX, "y1": y - 4, "y2": y - 4}
        parts.append(element("line", **ends, class_=class_))
        parts.append(text_at(text, x + _SWATCH_PX + 8, y, "start", "name"))
        x += wide
    return parts, y + 14


def _points(run: RunLog, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps [n] and numbers [n] of the rows that have the key; NaN where it was not finite."""
    rows = [(row["step"], row[key]) for row in run.rows if key in row]
    points = np.array(rows, np.float64).reshape(-1, 2)  # None becomes NaN
    if np.isnan(points[:, 1]).all():
        return np.zeros(0), np.zeros(0)
    return points[:, 0], points[:, 1]


def _style() -> str:
    rules = [
        f"text {{ font: {_FONT}; fill: #566270; }}",
        ".title { font-weight: 600; fill: #1a1f26; }",
        ".name { fill: #1a1f26; }",
        ".grid { stroke: #dfe4ea; stroke-width: 1; }",
        ".line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }",
        ".restart { stroke: #566270; stroke-width: 1.2; stroke-dasharray: 2 3; }",
        ".dot { stroke: none; }",
    ]
    for place in range(MOST_RUNS):
        again, color = divmod(place, len(COLORS))
        rules.append(f".r{place} {{ stroke: {COLORS[color]}; }}")
        rules.append(f".dot.r{place} {{ stroke: none; fill: {COLORS[color]}; }}")
        if DASHES[again]:
            rules.append(f".line.r{place} {{ stroke-dasharray: {DASHES[again]}; }}")
    return "\n" + "\n".join(rules) + "\n"
