"""``draw_board``: the parts of the overview as HTML, for the page and for its live updates.

It must not know how events are counted or drawn.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from tornado.escape import to_unicode

from tornado_sessions.server.operations.overview import Board
from tornado_sessions.server.operations.trends import Span
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.numbers import TITLES, numbers_of, tops_of
from tornado_sessions.server.web.pages.plots import LAST, Plots

__all__ = ["PARTS", "SPANS", "draw_board", "span_named"]

#: The values of the parameter ``span``.
SPANS = {"1h": Span.HOUR, "24h": Span.DAY, "7d": Span.WEEK}
#: The parts of the page, which are updated one by one.
PARTS = ("health", "numbers", "charts", "rows", "tops", "actions")
#: Seconds between the count of the sessions and the other numbers, from which the page says so.
_LAG = 10

#: What was drawn of a board, by language and span: all viewers of a process share it.
_drawn: WeakKeyDictionary[Board, dict[tuple[str, Span], dict[str, str]]] = WeakKeyDictionary()


def span_named(name: str) -> Span:
    """Return the span of a query string; the last day for any other text."""
    return SPANS.get(name, Span.DAY)


async def draw_board(handler: OperatorHandler, board: Board, span: Span) -> dict[str, str]:
    """Return the HTML of each of the ``PARTS`` by name and, as ``at``, the time in words."""
    known = _drawn.setdefault(board, {})
    key = (handler.language.code, span)
    if key not in known:
        figures = board.snapshot.figures
        top = [user for user, _ in figures.tops.users] if figures is not None else []
        await handler.learn_names([*top, *(name for entry in board.entries for name in (entry.actor, entry.user))])
        values = _values(handler, board, span)
        drawn = {name: handler.render_string(f"admin/overview/{name}.html", **values) for name in PARTS}
        known[key] = {"at": _at(handler, board), **{name: to_unicode(html) for name, html in drawn.items()}}
    return known[key]


def _at(handler: OperatorHandler, board: Board) -> str:
    """Return when the numbers were read and, if that was earlier, when the sessions were counted."""
    figures, at, language = board.snapshot.figures, board.snapshot.at, handler.language
    if figures is not None and at - figures.at > _LAG:
        return language.translate("%s · sessions counted at %s") % (language.clock(at), language.clock(figures.at))
    return language.clock(at)


def _values(handler: OperatorHandler, board: Board, span: Span) -> dict[str, Any]:
    language, figures, site = handler.language, board.snapshot.figures, handler.site

    def url(path: str) -> str:
        return site.url(site.dashboard + path)

    plots = Plots(board, span, language, url)
    return {
        "checks": board.checks,
        "numbers": list(numbers_of(board, language, url)),
        "titles": {name: language.translate(title) for name, title in TITLES.items()},
        "last": [language.translate(text) for text in LAST[span]],
        "level": plots.level(),
        "plots": plots.rates(),
        "marks": plots.marks,
        "rows": plots.rows(),
        "tops": list(tops_of(board.snapshot, language, url, site.place, site.called)) if figures is not None else None,
        "compares_tops": board.snapshot.tops_before is not None,
        "entries": board.entries,
        "jobs": [job for job in board.jobs if job.finished_at is None],
    }
