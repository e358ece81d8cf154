"""Draw the overview's charts as SVG with axes. Pure; it must not know how events are counted, or templates.

A chart is an outer ``<svg>`` without a view box, in which texts keep their size, and an inner one that stretches. Numbers stand at
its left, outside of it, where the style sheet leaves room, so that no line crosses them. Sizes are in
attributes, because the content security policy forbids styles. What a script shows when one points at a chart is in its attribute
``data-tips``: position in percent of width and height, time, value, and a remark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from tornado.escape import xhtml_escape

from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.activity import DAY
from tornado_sessions.server.operations.trends import Bar, Level, Point, Span, Trend

__all__ = ["Chart", "Mark", "Tip", "draw_bars", "draw_level"]

#: The part of the height, in percent, in which the large chart draws, and that of a small chart above its axis.
_TOP, _HEIGHT, _BARS = 4.0, 86.0, 78.0
#: Seconds between two labels of the time axis of a large and of a small chart.
_TICKS = {Span.HOUR: (600, 1200), Span.DAY: (2 * 3600, 6 * 3600), Span.WEEK: (DAY, 2 * DAY)}
#: Maximum number of grid lines of a large and of a small chart.
_LINES, _FEW_LINES = 5, 3
#: Labels this near to an end of the axis, as a share of its length, stay inside.
_EDGE = 0.024
#: The share of the space of a bar that it fills.
_FILLED = 0.72


class Tip(NamedTuple):
    """What is shown about one point or bar: its time, its value and a remark."""

    at: str
    value: str
    remark: str


class Mark(NamedTuple):
    """A vertical line with a text at a time in UTC seconds, which leads to a URL."""

    at: float
    text: str
    url: str


class _Scale(NamedTuple):
    """The grid lines of an axis: their distance and number."""

    step: float
    lines: int

    @classmethod
    def of(cls, highest: float, most: int) -> _Scale:
        """Return as many lines as possible, at 1, 2, 2.5 or 5 times a power of ten, of which the last is not below the value."""
        # Whole numbers, unless all bars are shorter than one.
        wanted = max(highest / most, 1.0) if highest >= 1 or not highest else highest / most
        unit: float = 10.0 ** math.floor(math.log10(wanted))
        factors = (1, 2, 5, 10) if unit == 1 else (1, 2, 2.5, 5, 10)
        step = next(unit * factor for factor in factors if unit * factor >= wanted)
        return cls(step, max(1, math.ceil(highest / step)))

    @property
    def top(self) -> float:
        """The value of the last line."""
        return self.step * self.lines


class Chart(NamedTuple):
    """The axis of time, and how numbers are written."""

    now: float
    span: Span
    language: Language

    @property
    def end(self) -> int:
        """The end of the axis: that of the current interval."""
        return (int(self.now // self.span.step) + 1) * self.span.step

    def x(self, at: float) -> float:
        """Return the place of a time, in percent of the width."""
        return 100 * (at - self.end + self.span.seconds) / self.span.seconds

    def moment(self, at: float) -> str:
        """Return a time in words."""
        return self.language.minute(at) if self.span is Span.HOUR else self.language.weekday_minute(at)

    def ticks(self, *, is_small: bool) -> Iterator[tuple[float, str]]:
        """Yield the places and texts of the labels of the time axis: full hours and days in UTC."""
        step = _TICKS[self.span][is_small]
        first = math.ceil((self.end - self.span.seconds) / step) * step
        for at in range(first, self.end + 1, step):
            text = self.language.weekday(at) if self.span is Span.WEEK else self.language.minute(at)
            yield self.x(at), text


def draw_level(
    chart: Chart,
    level: Level,
    title: str,
    description: str,
    tips: Sequence[tuple[Point, Tip]],
    marks: Sequence[Mark],
    none: str = "",
) -> str:
    """Return a large line chart of a level, with the level of the day or week before as a dashed line, or the sentence ``none``."""
    known = [value for point in level.points for value in (point.value, point.earlier) if value is not None]
    scale = _Scale.of(max(known, default=0.0), _LINES)
    top = scale.top
    values = [(chart.x(point.at), point.value) for point in level.points]
    earlier = [(chart.x(point.at), point.earlier) for point in level.points]
    lines = "".join(
        f'<polyline class="{css}" points="{" ".join(points)}"/>'
        for css, found in (("ghost", earlier), ("line", values))
        for points in _pieces(found, top)
    )
    areas = "".join(
        f'<polygon class="area" points="{points[0].split(",")[0]},100 {" ".join(points)} {points[-1].split(",")[0]},100"/>'
        for points in _pieces(values, top)
    )
    inner = (
        f'<svg y="{_TOP:g}%" height="{_HEIGHT:g}%" width="100%" viewBox="0 0 100 100" preserveAspectRatio="none">'
        f"{areas}{lines}</svg>"
    )
    drawn = (
        inner,
        _grid(scale, _TOP, _HEIGHT, chart.language),
        _time_axis(chart, _TOP + _HEIGHT, is_small=False),
        *_draw_marks(chart, marks),
        _sentence(none, _TOP + _HEIGHT - 6),
    )
    placed = [(chart.x(point.at), _TOP + _HEIGHT / 100 * _below(point.value or 0.0, top), *tip) for point, tip in tips]
    return _svg("chart tall", title, title + chart.language.colon + description, placed, drawn)


def draw_bars(
    chart: Chart, trend: Trend, title: str, description: str, tips: Sequence[tuple[Bar, Tip]], none: str = ""
) -> str:
    """Return a small bar chart of a rate, with the usual band behind it, or the sentence ``none`` if there are no bars.

    What operators ended is drawn in another colour.
    """
    scale = _Scale.of(_highest(trend.bars), _FEW_LINES)
    top = scale.top
    width = 100 * chart.span.step / chart.span.seconds
    bars = "".join(_draw_bar(bar, chart.x(bar.at), width, top) for bar in trend.bars if bar.rate)
    clip = f'<svg height="{_BARS:g}%" width="100%">{bars}</svg>'
    band = (
        f'<svg height="{_BARS:g}%" width="100%" viewBox="0 0 100 100" preserveAspectRatio="none">'
        f"{''.join(_draw_bands(trend.bars, chart, top))}</svg>"
    )
    drawn = (
        band,
        _grid(scale, 0.0, _BARS, chart.language),
        clip,
        _time_axis(chart, _BARS, is_small=True),
        _sentence("" if bars else none, _BARS / 2),
    )
    placed = [
        (max(0.0, chart.x(bar.at) + width / 2), _BARS / 100 * _below(bar.rate or 0.0, top), *tip) for bar, tip in tips
    ]
    return _svg("chart low", title, title + chart.language.colon + description, placed, drawn)


def _svg(
    css: str, title: str, label: str, tips: Iterable[tuple[float, float, str, str, str]], drawn: Iterable[str]
) -> str:
    label = xhtml_escape(label)
    data = xhtml_escape(msgspec.json.encode([[round(x, 2), round(y, 1), *texts] for x, y, *texts in tips]).decode())
    named = xhtml_escape(title)
    # A chart may hold links to what operators did, and an image must not (WCAG 4.1.2).
    return f'<svg class="{css}" role="group" aria-label="{label}" data-chart="{named}" data-tips="{data}">{"".join(drawn)}</svg>'


def _below(value: float, top: float) -> float:
    """Return how far below the top of the scale a value is, in percent of its height."""
    return 100 - 100 * min(value, top) / top


def _pieces(points: Iterable[tuple[float, float | None]], top: float) -> Iterator[list[str]]:
    """Yield the coordinates of each piece of a line, which has a gap for each ``None``."""
    piece: list[str] = []
    for x, value in points:
        if value is not None and x >= 0:
            piece.append(f"{x:.2f},{_below(value, top):.2f}")
        elif piece:
            yield piece
            piece = []
    if piece:
        # A single point would draw nothing.
        yield (
            piece
            if len(piece) > 1
            else [piece[0], f"{float(piece[0].split(',')[0]) + 0.3:.2f},{piece[0].split(',')[1]}"]
        )


def _grid(scale: _Scale, first: float, height: float, language: Language) -> str:
    lines = []
    for number in range(scale.lines, 0, -1):
        y = f"{first + height * (1 - number / scale.lines):g}%"
        lines.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        # A small chart has room for one label.
        if number == scale.lines or height == _HEIGHT:
            text = xhtml_escape(language.compact(scale.step * number))
            below = 4 if height == _HEIGHT else 9
            lines.append(f'<text x="0" y="{y}" dx="-8" dy="{below}" text-anchor="end">{text}</text>')
    return "".join(lines)


def _time_axis(chart: Chart, y: float, *, is_small: bool) -> str:
    below = 99 if is_small else 98
    found = [f'<line class="axis" x1="0" x2="100%" y1="{y:g}%" y2="{y:g}%"/>']
    for number, (x, text) in enumerate(chart.ticks(is_small=is_small)):
        anchor = "start" if x < 100 * _EDGE else "end" if x > 100 * (1 - _EDGE) else "middle"
        # A phone has room for every third label of a large chart.
        css = "" if is_small or number % 3 == 1 else ' class="minor"'
        mark = f'<line class="axis" x1="{x:.2f}%" x2="{x:.2f}%" y1="{y:g}%" y2="{y + 1.5:g}%"/>'
        found.append(
            f'<g{css}>{mark}<text x="{x:.2f}%" y="{below}%" text-anchor="{anchor}">{xhtml_escape(text)}</text></g>'
        )
    return "".join(found)


def _draw_marks(chart: Chart, marks: Sequence[Mark]) -> Iterator[str]:
    """Yield a line for each mark, and the text of the first: texts of several would overlap."""
    for number, mark in enumerate(marks):
        x = chart.x(mark.at)
        line = f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="4%" y2="90%"/>'
        text = ""
        if number == 0:
            anchor, dx = ("end", -6) if x > 50 else ("start", 6)
            text = (
                f'<text class="mark-text minor" x="{x:.2f}%" dx="{dx}" y="90%" dy="-8" text-anchor="{anchor}">'
                f"{xhtml_escape(mark.text)}</text>"
            )
        # The list below the chart has the same links for the keyboard and for screen readers.
        yield f'<a href="{xhtml_escape(mark.url)}" tabindex="-1"><title>{xhtml_escape(mark.text)}</title>{line}{text}</a>'


def _sentence(text: str, y: float) -> str:
    """Return a sentence in the middle of a chart that shows nothing."""
    return (
        f'<text class="none" x="50%" y="{y:g}%" dy="4" text-anchor="middle">{xhtml_escape(text)}</text>' if text else ""
    )


def _draw_bar(bar: Bar, x: float, width: float, top: float) -> str:
    rate, left, filled = bar.rate or 0.0, max(0.0, x + width * (1 - _FILLED) / 2), width * _FILLED
    css = "bar over" if bar.is_above else "bar"
    parts = [(css, rate - bar.deliberate, bar.deliberate), ("bar told", bar.deliberate, 0.0)]
    found = ""
    for name, amount, below in parts:
        if amount > 0:
            start = _below(amount + below, top)
            height = _below(below, top) - start
            found += (
                f'<rect class="{name}" x="{left:.2f}%" width="{filled:.2f}%" y="{start:.1f}%" height="{height:.1f}%"/>'
            )
    return found


def _draw_bands(bars: Sequence[Bar], chart: Chart, top: float) -> Iterator[str]:
    """Yield the polygons of the usual band: its upper edge from left to right, then its lower edge back."""
    piece: list[Bar] = []
    for bar in [*bars, None]:
        if bar is not None and bar.band is not None:
            piece.append(bar)
        elif piece:
            edges = [(chart.x(at), part.band) for part in piece for at in (part.at, part.at + chart.span.step)]
            upper = [f"{max(x, 0):.1f},{_below(band.high, top):.1f}" for x, band in edges if band]
            lower = [f"{max(x, 0):.1f},{_below(band.low, top):.1f}" for x, band in reversed(edges) if band]
            yield f'<polygon class="band" points="{" ".join(upper + lower)}"/>'
            piece = []


def _highest(bars: Sequence[Bar]) -> float:
    return max((value for bar in bars for value in (bar.rate or 0.0, bar.band.high if bar.band else 0.0)), default=0.0)
