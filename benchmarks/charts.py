"""Draw horizontal bars with their spread as SVG, in colours that follow the page's theme.

It must not know what the bars mean. The pictures stand inside the page, so that they take the theme's own colours; opened
alone, they follow the system's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

__all__ = ["Bar", "bars"]

LEFT, WIDTH, RIGHT, ROW = 250, 380, 120, 24
STYLE = """
.bench-chart { max-width: 100%; height: auto; font: 13px system-ui, sans-serif; }
.bench-chart text { fill: var(--color-foreground-primary, #222); }
.bench-chart .ours { fill: #2f7d4f; } .bench-chart .peer { fill: #7d8794; }
.bench-chart .spread { stroke: var(--color-foreground-primary, #222); stroke-width: 1.5; }
.bench-chart .axis { stroke: var(--color-background-border, #bbb); }
@media (prefers-color-scheme: dark) {
  .bench-chart text { fill: var(--color-foreground-primary, #eee); }
  .bench-chart .spread { stroke: var(--color-foreground-primary, #eee); }
}
"""


class Bar(NamedTuple):
    """One bar: its name, its length with the ends of its spread, and whether it is one of ours."""

    name: str
    value: float
    low: float
    high: float
    is_ours: bool = True


def bars(title: str, rows: Sequence[Bar], *, limit: float | None = None) -> str:
    """Return a picture of some bars; those that are longer than ``limit`` are cut, and their numbers say how long they are."""
    end = min(max(max(row.value, row.high) for row in rows), limit or float("inf")) or 1
    height = ROW * (len(rows) + 1) + 10
    told = "; ".join(f"{row.name} {row.value:.2f}" for row in rows)
    width = LEFT + WIDTH + RIGHT
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bench-chart" role="img" {box}>',
        f"<title>{escape(title)}: {escape(told)}</title>",
        f"<style>{STYLE}</style>",
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="4" y2="{height - ROW}"/>',
    ]
    for number, row in enumerate(rows):
        lines += _row(row, 6 + ROW * number, end)
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _row(row: Bar, top: float, end: float) -> list[str]:
    def place(value: float) -> float:
        return LEFT + WIDTH * min(max(value, 0), end) / end

    middle = top + 8
    kind = "ours" if row.is_ours else "peer"
    lines = [
        f'<text x="{LEFT - 8}" y="{middle + 4:g}" text-anchor="end">{escape(row.name)}</text>',
        f'<rect class="{kind}" x="{LEFT}" y="{top:g}" width="{place(row.value) - LEFT:.1f}" height="16" rx="2"/>',
    ]
    if row.high > row.low and row.low < end:
        low, high = place(row.low), place(row.high)
        lines.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>')
        lines += [
            f'<line class="spread" x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 4:g}" y2="{middle + 4:g}"/>'
            for at in (low, high)
        ]
    beside = place(max(row.value, row.high)) + 8
    cut = " →" if row.value > end else ""
    lines.append(f'<text x="{beside:.1f}" y="{middle + 4:g}">{row.value:.2f}{cut}</text>')
    return lines
