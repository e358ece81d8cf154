"""Draw the dashboard's charts: a line over the last hour or day, as SVG.

Pure, but for the reader's language. It must not know how events are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tornado.escape import xhtml_escape

from tornado_sessions.server.operations.activity import Series, Snapshot
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["CHARTS", "drawn", "line_chart", "short"]

_WIDTH, _HEIGHT, _TOP = 240, 56, 6
#: Charts of the overview: the series, its title, and its unit.
CHARTS = (
    ("active", "Active sessions", ""),
    ("sign-ins", "Log-ins per minute", ""),
    ("failures", "Failed log-ins per minute", ""),
    ("ended", "Ended per minute", ""),
    ("latency", "Store's answer", "ms"),
)


class Chart(NamedTuple):
    """One series as it is shown, in the reader's language: its title, the latest number, a picture, and what it shows in words."""

    title: str
    now: str
    picture: str
    words: str


def drawn(handler: OperatorHandler, snapshot: Snapshot, day: Series | None = None) -> dict[str, Chart]:
    """Each series by its name, over the last hour or a day; the number is always the latest."""
    say = handler.locale.translate
    found = {}
    for name, title, unit in CHARTS:
        values = (day or snapshot.series)[name]
        latest = next((value for value in reversed(snapshot.series[name]) if value is not None), None)
        known = [value for value in values if value is not None]
        now, most = (f"{short(value)} {unit}".strip() for value in (latest, max(known, default=None)))
        highest = say("highest in the last hour: %s") if day is None else say("highest in the last day: %s")
        words = highest % most if known else say("nothing is known yet")
        found[name] = Chart(say(title), now, line_chart(values, say(title), f"{now}; {words}"), words)
    return found


def line_chart(values: Sequence[float | None], title: str, description: str) -> str:
    """A line, with a gap where nothing is known; its title and description are read to who does not see it."""
    highest = max((value for value in values if value is not None), default=0) or 1
    step = _WIDTH / max(1, len(values) - 1)
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        lines[-1].append(f"{place * step:.1f},{_HEIGHT - 1 - (_HEIGHT - _TOP) * value / highest:.1f}")
    drawn = "".join(_drawn(points) for points in lines if points)
    label = f"{xhtml_escape(title)}: {xhtml_escape(description)}"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"<title>{label}</title>{drawn}</svg>"
    )


def _drawn(points: list[str]) -> str:
    if len(points) == 1:
        x, y = points[0].split(",")
        return f'<circle cx="{x}" cy="{y}" r="2"/>'
    first, last, line = points[0].split(",")[0], points[-1].split(",")[0], " ".join(points)
    return f'<polygon points="{first},{_HEIGHT} {line} {last},{_HEIGHT}"/><polyline points="{line}"/>'


def short(value: float | None) -> str:
    """A number as people read it: 1,234 or 0.42."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2f}"
