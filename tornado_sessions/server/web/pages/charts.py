"""Draw the dashboard's line charts of the last hour or day as SVG. Pure. It must not know how events are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tornado.escape import xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.activity import Series, Snapshot

__all__ = ["draw_charts", "line_chart"]

_WIDTH, _HEIGHT, _TOP = 240, 56, 6
#: The charts: name of the series, title, and CLDR name of the unit.
CHARTS = (
    ("active", N_("Active sessions"), ""),
    ("sign-ins", N_("Sign-ins/min"), ""),
    ("failures", N_("Failed sign-ins/min"), ""),
    ("ended", N_("Sessions ended/min"), ""),
    ("latency", N_("Store latency"), "duration-millisecond"),
)


class Chart(NamedTuple):
    """A chart in the user's language: title, latest value, SVG element, and its description in words."""

    title: str
    now: str
    picture: str
    words: str


def draw_charts(language: Language, snapshot: Snapshot, day: Series | None = None) -> dict[str, Chart]:
    """Return a chart of each series, of the last day if ``day`` is given, else of the last hour."""
    say = language.translate
    found = {}
    for name, title, unit in CHARTS:
        values = (day or snapshot.series)[name]
        latest = next((value for value in reversed(snapshot.series[name]) if value is not None), None)
        known = [value for value in values if value is not None]
        now, most = (_short(value, unit, language) for value in (latest, max(known, default=None)))
        peak = say("Peak in the last hour: %s") if day is None else say("Peak in the last day: %s")
        words = peak % most if known else say("No data yet")
        found[name] = Chart(say(title), now, line_chart(values, say(title), f"{now}; {words}"), words)
    return found


def line_chart(values: Sequence[float | None], title: str, description: str) -> str:
    """Return a line chart with a gap for each ``None``. Title and description are for screen readers."""
    highest = max((value for value in values if value is not None), default=0) or 1
    step = _WIDTH / max(1, len(values) - 1)
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            lines.append([])
        else:
            lines[-1].append(f"{place * step:.1f},{_HEIGHT - 1 - (_HEIGHT - _TOP) * value / highest:.1f}")
    drawn = "".join(_draw(points) for points in lines if points)
    label = f"{xhtml_escape(title)}: {xhtml_escape(description)}"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"<title>{label}</title>{drawn}</svg>"
    )


def _draw(points: list[str]) -> str:
    if len(points) == 1:
        x, y = points[0].split(",")
        return f'<circle cx="{x}" cy="{y}" r="2"/>'
    first, last, line = points[0].split(",")[0], points[-1].split(",")[0], " ".join(points)
    return f'<polygon points="{first},{_HEIGHT} {line} {last},{_HEIGHT}"/><polyline points="{line}"/>'


def _short(value: float | None, unit: str, language: Language) -> str:
    """Return a number with at most two decimals below 10 and none above; a dash for ``None``."""
    if value is None:
        return "–"
    rounded = round(value) if value >= 10 else round(value, 2)
    return language.measure(rounded, unit) if unit else language.number(rounded)
