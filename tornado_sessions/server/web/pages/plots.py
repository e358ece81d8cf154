"""The overview's charts with their captions, what one reads when pointing at them, and the same numbers as a table.

It must not know how the numbers are counted or how an SVG is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tornado_sessions.messages import N_
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.activity import EVENTS
from tornado_sessions.server.operations.health import band_texts, rate_text
from tornado_sessions.server.operations.overview import Board
from tornado_sessions.server.operations.trends import Bar, BulkEnd, Span
from tornado_sessions.server.operations.usual import Band
from tornado_sessions.server.web.pages.charts import Chart, Mark, Tip, draw_bars, draw_level
from tornado_sessions.server.web.pages.numbers import TITLES

__all__ = ["LAST", "Plot", "Plots"]

#: The titles of a span and of the time before with which it is compared.
LAST = {
    Span.HOUR: (N_("Last hour"), N_("Same hour yesterday")),
    Span.DAY: (N_("Last 24 hours"), N_("Day before")),
    Span.WEEK: (N_("Last 7 days"), N_("Week before")),
}
#: What an empty chart says: while there is no data of its whole time, and later.
_NONE = {
    "sign-ins": (N_("No sign-ins yet"), N_("No sign-ins")),
    "failures": (N_("No failed sign-ins yet"), N_("No failed sign-ins")),
    "ended": (N_("No sessions have ended yet"), N_("No sessions ended")),
}
#: Maximum number of marks.
_MARKS = 3
_UNKNOWN = "–"


class Plot(NamedTuple):
    """A small chart with its caption."""

    title: str
    now: str
    usual: str
    over: bool
    picture: str


class Plots:
    """Draws the charts of a board.

    Args:
        board: the numbers.
        span: the time that the charts show.
        language: the user's language.
        url: returns the address of a path of the dashboard.
    """

    def __init__(self, board: Board, span: Span, language: Language, url: Callable[[str], str]) -> None:
        self._board = board
        self._span = span
        self._language = language
        self._say = language.translate
        self._url = url
        self._chart = Chart(board.snapshot.at, span, language)
        self._level = board.trends.level("active", span)
        self._trends = {name: board.trends.trend(name, span) for name in EVENTS}
        self.marks = list(map(self._mark, self._bulk_ends()))

    def level(self) -> str:
        """Return the large chart of active sessions."""
        level, chart, number = self._level, self._chart, self._whole
        sentences = [self._say("%s now") % number(level.now)]
        if level.yesterday is not None:
            sentences.append(self._say("%s at this time yesterday") % number(level.yesterday))
        lowest, at = min((point.value, point.at) for point in level.points if point.value is not None)
        sentences.append(self._say("lowest %s at %s") % (number(lowest), chart.moment(at)))
        tips = [
            (point, Tip(chart.moment(point.at), number(point.value), self._against(point.value, point.earlier)))
            for point in level.points
            if point.value is not None
        ]
        return draw_level(
            chart,
            level,
            self._title("active"),
            self._language.comma.join(sentences),
            tips,
            self.marks,
            self._no_level(),
        )

    def rates(self) -> list[Plot]:
        """Return the small charts of events per minute."""
        return list(map(self._rate, EVENTS))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of a table with the numbers of all charts, latest first."""
        values = {round(point.at): point.value for point in self._level.points}
        rows = []
        for bars in zip(*(trend.bars for trend in self._trends.values()), strict=True):
            end = min(bars[0].at + self._span.step, self._board.snapshot.at)
            value = values.get(round(end))
            rates = (_UNKNOWN if bar.rate is None else rate_text(bar.rate) for bar in bars)
            rows.append((self._chart.moment(bars[0].at), _UNKNOWN if value is None else self._whole(value), *rates))
        return rows[::-1]

    def _rate(self, name: str) -> Plot:
        trend, usual = self._trends[name], self._usual(self._trends[name].band)
        now = self._say("%s a minute now") % rate_text(trend.now)
        tips = [
            (bar, Tip(self._chart.moment(bar.at), self._say("%s a minute") % rate_text(bar.rate), self._remark(bar)))
            for bar in trend.bars
            if bar.rate is not None
        ]
        description = self._language.comma.join(filter(None, (now, usual)))
        none = self._say(_NONE[name][all(bar.rate is not None for bar in trend.bars)])
        picture = draw_bars(self._chart, trend, self._title(name), description, tips, none)
        is_over = name == "failures" and trend.since is not None
        return Plot(self._say(TITLES[name]), rate_text(trend.now), usual, is_over, picture)

    def _no_level(self) -> str:
        """Return what the large chart says while its line is a point, or flat at zero; empty otherwise."""
        known = [point for point in self._level.points if point.value is not None]
        if not any(point.value for point in known):
            return self._say(N_("No active sessions yet"))
        if len(known) > 1 or any(point.earlier for point in self._level.points):
            return ""
        return self._say(N_("Counting since %s")) % self._chart.moment(known[0].at)

    def _title(self, name: str) -> str:
        return self._language.comma.join((self._say(TITLES[name]), self._say(LAST[self._span][0])))

    def _against(self, value: float, earlier: float | None) -> str:
        if not earlier:
            return ""
        share = value / earlier - 1
        text = N_("%s vs. week before") if self._span is Span.WEEK else N_("%s vs. yesterday")
        return self._say(text) % (("+" if share >= 0 else "−") + self._language.percent(abs(share)))

    def _usual(self, band: Band | None) -> str:
        return self._say("usually %s–%s") % band_texts(band) if band is not None else ""

    def _remark(self, bar: Bar) -> str:
        told = self._say("%s by operators") % rate_text(bar.deliberate) if bar.deliberate else ""
        return self._language.comma.join(filter(None, (self._usual(bar.band), told)))

    def _whole(self, value: float) -> str:
        return self._language.number(round(value))

    def _bulk_ends(self) -> list[BulkEnd]:
        first = self._board.snapshot.at - self._span.seconds
        return [bulk for bulk in self._board.bulk_ends if bulk.at >= first][:_MARKS]

    def _mark(self, bulk: BulkEnd) -> Mark:
        text = self._say("%s is ending sessions") % bulk.actor
        if bulk.ended is not None:
            text = self._language.plural("%s session ended by %s", "%s sessions ended by %s", bulk.ended, bulk.actor)
        page = f"/jobs/{bulk.job}" if bulk.job else f"/audit?before={bulk.entry + 1}"
        return Mark(bulk.at, f"{self._chart.moment(bulk.at)} {text}", self._url(page))
