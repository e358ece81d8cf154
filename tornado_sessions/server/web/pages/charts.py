"""Small charts, drawn here as SVG: a line over the last hour, and the area below it. Pure; it must not know what is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from tornado.escape import xhtml_escape

__all__ = ["line_chart", "short"]

_WIDTH, _HEIGHT, _TOP = 240, 56, 6


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
