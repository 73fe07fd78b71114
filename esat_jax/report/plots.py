"""Plots as SVG: drawn in the page's own colours, so that they follow light and dark."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from esat_jax.report.markup import Html, element, number_text

MAX_POINTS = 400  # of a line over time
_PIN_PX, _PANEL_PX, _GAP_PX, _MARK_PX = 18, 96, 14, 14  # heights in a plot over time


@dataclasses.dataclass(frozen=True)
class Line:
    """A named line. Attributes: place: of the tracker, for its colour; ys [n], NaN is a gap."""

    name: str
    place: int
    ys: np.ndarray


@dataclasses.dataclass(frozen=True)
class Frame:
    """The rectangle of a plot in its picture, px, and the numbers at its borders."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float] = (0.0, 1.0)

    def x(self, value: float) -> float:
        """Where a number is in the picture."""
        low, high = self.x_range
        return self.left + self.width * (value - low) / max(high - low, 1e-9)

    def y(self, value: float) -> float:
        """Where a number is in the picture."""
        low, high = self.y_range
        return self.top + self.height * (1 - (value - low) / max(high - low, 1e-9))

    def polyline(self, xs: Iterable[float], ys: Iterable[float], **attributes: object) -> Html:
        """A line through points; NaN interrupts it."""
        path, pen_down = [], False
        for x, y in zip(xs, ys, strict=True):
            if np.isnan(y):
                pen_down = False
                continue
            command = "L" if pen_down else "M"
            path.append(f"{command}{number_text(self.x(x))} {number_text(self.y(y))}")
            pen_down = True
        return element("path", d="".join(path), fill="none", **attributes)

    def grid(
        self,
        x_ticks: Sequence[float],
        y_ticks: Sequence[float],
        y_text: Callable[[float], str] = "{:g}".format,
    ) -> list[Html]:
        """Lines and numbers of the axes; `y_text` writes those of the vertical one."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(element("line", x1=self.left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(text_at(y_text(tick), self.left - 6, y + 4, "end"))
        for tick in x_ticks:
            x = self.x(tick)
            parts.append(element("line", x1=x, x2=x, y1=self.top, y2=bottom, class_="grid"))
            parts.append(text_at(f"{tick:g}", x, bottom + 15, "middle"))
        return parts


def text_at(text: str, x: float, y: float, anchor: str, class_: str | None = None) -> Html:
    """Text in a picture; `anchor` is start, middle or end: of the text, at (x, y)."""
    return element("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def curve_plot(
    title: str, x_title: str, thresholds: np.ndarray, lines: Sequence[Line], digits: int = 1
) -> Html:
    """Shares of frames, in percent, over thresholds [T], one line a tracker.

    Every threshold says its numbers when pointed at.
    """
    width, height = 400, 300
    low, high = float(thresholds[0]), float(thresholds[-1])
    frame = Frame(44, 12, width - 58, height - 58, (low, high), (0.0, 100.0))
    parts = frame.grid(np.linspace(low, high, 6), np.linspace(0, 100, 6))
    parts += [
        frame.polyline(thresholds, 100 * line.ys, class_=f"line t{line.place}") for line in lines
    ]
    step = frame.width / max(len(thresholds) - 1, 1)
    for i, threshold in enumerate(thresholds):
        said = "\n".join(f"{line.name}: {100 * line.ys[i]:.{digits}f} %" for line in lines)
        parts.append(
            element(
                "rect",
                element("title", f"{x_title} {threshold:g}\n{said}"),
                x=frame.x(threshold) - step / 2,
                y=frame.top,
                width=step,
                height=frame.height,
                class_="hit",
            )
        )
    parts.append(text_at(x_title, frame.left + frame.width / 2, height - 8, "middle"))
    label = f"{title}: percent of frames over {x_title}"
    return element(
        "figure",
        element("figcaption", title),
        element("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label),
        class_="curve",
    )


def time_plot(
    panels: Sequence[tuple[str, Sequence[Line]]],
    num_frames: int,
    *,
    absent: np.ndarray,
    lost: Sequence[tuple[str, int, np.ndarray]],
    shown: Sequence[int],
    label: str,
) -> Html:
    """Numbers in [0, 1] over the frames of a sequence, one panel above the other.

    Args:
      panels: title and lines, ys [F], of each.
      absent: bool [F], frames without the target: shaded.
      lost: name, place and flags [F] of each tracker that says when it is lost: marks below.
      shown: frames to point at, from 0.
      label: what the picture is, for those who cannot see it.
    """
    left, width = 92, 1132
    x_range = 0.0, float(max(num_frames - 1, 1))
    top = _PIN_PX
    marks_top = top + len(panels) * (_PANEL_PX + _GAP_PX)
    bottom = marks_top + _MARK_PX * len(lost)
    whole = Frame(left, top, width, bottom - top, x_range)
    parts = _bars(absent, whole, top, bottom - top, "the target is absent", "absent")
    for row, (title, lines) in enumerate(panels):
        frame = Frame(left, top + row * (_PANEL_PX + _GAP_PX), width, _PANEL_PX, x_range)
        parts += frame.grid([], (0, 0.5, 1))
        parts.append(text_at(title, left - 30, frame.top + _PANEL_PX / 2 + 4, "end"))
        for line in lines:
            path = frame.polyline(*binned(line.ys), class_=f"line t{line.place}")
            parts.append(element("g", element("title", line.name), path))
    for row, (name, place, flags) in enumerate(lost):
        y = marks_top + _MARK_PX * row
        parts.append(text_at("lost" if flags.any() else "never lost", left - 30, y + 9, "end"))
        said = f"{name} says that it is lost"
        parts += _bars(flags, whole, y, _MARK_PX - 5, said, f"lost t{place}")
    parts += [
        text_at(str(tick + 1), whole.x(tick), bottom + 15, "middle")
        for tick in _frame_ticks(num_frames)
    ]
    parts += _pins(shown, whole)
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {left + width + 16} {bottom + 20}",
        role="img",
        aria_label=label,
        class_="time",
    )


def binned(values: np.ndarray, most: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about `most` points of values [F]: frames [n] and means of equal spans [n]."""
    size = -(-len(values) // most)
    if size <= 1:
        return np.arange(len(values)), values
    padded = np.full(-(-len(values) // size) * size, np.nan)
    padded[: len(values)] = values
    spans = padded.reshape(-1, size)
    known = ~np.isnan(spans)
    counts = known.sum(axis=1)
    means = np.where(known, spans, 0).sum(axis=1) / np.maximum(counts, 1)
    middles = np.minimum(np.arange(len(spans)) * size + (size - 1) / 2, len(values) - 1)
    return middles, np.where(counts > 0, means, np.nan)


def _bars(
    flags: np.ndarray, frame: Frame, top: float, height: float, title: str, class_: str
) -> list[Html]:
    """A bar for every run of flagged frames, bool [F]; at least one px wide."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    bars = []
    for start, stop in edges.reshape(-1, 2):
        low, high = (frame.x(np.clip(i - 0.5, *frame.x_range)) for i in (start, stop))
        size = {"x": low, "y": float(top), "width": max(high - low, 1.0), "height": float(height)}
        bars.append(element("rect", element("title", title), **size, class_=class_))
    return bars


def _pins(frames: Sequence[int], frame: Frame) -> list[Html]:
    """A numbered line at each of some frames; numbers that would meet are moved to the right."""
    parts, free = [], -np.inf
    for number, i in enumerate(frames, start=1):
        x, bottom = frame.x(i), frame.top + frame.height
        parts.append(element("line", x1=x, x2=x, y1=frame.top, y2=bottom, class_="shown"))
        parts.append(text_at(str(number), max(x, free), frame.top - 5, "middle", "pin"))
        free = max(x, free) + 12
    return parts


def _frame_ticks(num_frames: int) -> list[int]:
    """The first frame and round numbers, from 0."""
    step = next(s for k in range(9) for s in (10**k, 2 * 10**k, 5 * 10**k) if num_frames / s <= 14)
    return [0, *range(max(step, 2) - 1, num_frames, step)]
