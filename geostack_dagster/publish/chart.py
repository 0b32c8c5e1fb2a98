"""Small charts for asset pages: a loss curve, a reliability diagram."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geostack_dagster.publish.canvas import INK, MUTED, Page
from geostack_dagster.publish.colours import round_step, ticks

_WIDTH, _HEIGHT = 560, 360
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 60, 20, 52
_COLOURS = ("#1f6eb3", "#c92a35", "#3fa657", "#7b3294")
_TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What a chart is of."""

    title: str
    x: str
    y: str
    diagonal: bool = False
    """Whether to draw where both are equal."""


type Line = tuple[Sequence[float], Sequence[float]]


def chart(axes: Axes, lines: Mapping[str, Line]) -> bytes:
    """PNG of lines by name, each with its x and y; values that are no numbers are left out."""
    page = Page(_WIDTH, _HEIGHT)
    kept = {name: _finite(line) for name, line in lines.items()}
    frame = _Frame.around(kept.values(), diagonal=axes.diagonal)
    page.fitted_text((_LEFT, 12), axes.title, size=15, room=_WIDTH - _LEFT - _RIGHT)
    _draw_axes(page, axes, frame)
    for number, (name, (x, y)) in enumerate(kept.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [frame.place(a, b) for a, b in zip(x, y, strict=True)]
        if len(points) > 1:
            page.draw.line(points, fill=colour, width=2)
        if len(points) < 50:
            for at in points:
                page.draw.ellipse(
                    [at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3], fill=colour, outline=colour
                )
        page.text((_WIDTH - _RIGHT - 4, _TOP + 6 + 17 * number), name, colour=colour, anchor="ra")
    return page.png()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Range of values that the axes hold."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, lines: Iterable[Line], *, diagonal: bool) -> "_Frame":
        found = [line for line in lines if len(line[0])]
        if diagonal or not found:
            return cls((0.0, 1.0), (0.0, 1.0))
        xs = np.concatenate([np.asarray(x, float) for x, _ in found])
        ys = np.concatenate([np.asarray(y, float) for _, y in found])
        return cls(_span(xs), _span(np.append(ys, 0.0)))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is on the page [px]."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )


def _draw_axes(page: Page, axes: Axes, frame: _Frame) -> None:
    page.frame((_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM))
    for low, high, is_x in ((*frame.x, True), (*frame.y, False)):
        step = round_step((high - low) / _TICKS)
        for value in ticks(low, high, step):
            x, y = frame.place(value, frame.y[0]) if is_x else frame.place(frame.x[0], value)
            at, anchor = ((x, y + 5), "ma") if is_x else ((x - 6, y), "rm")
            page.text(at, f"{value:g}", size=11, colour=MUTED, anchor=anchor)
    if axes.diagonal:
        page.draw.line([frame.place(0, 0), frame.place(1, 1)], fill=MUTED)
    page.text(((_LEFT + _WIDTH) / 2, _HEIGHT - 22), axes.x, size=12, colour=INK, anchor="ma")
    page.text((_LEFT, _TOP - 6), axes.y, size=12, colour=INK, anchor="lb")


def _finite(line: Line) -> Line:
    x, y = (np.asarray(values, float) for values in line)
    kept = np.isfinite(x) & np.isfinite(y)
    return x[kept].tolist(), y[kept].tolist()


def _span(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0
