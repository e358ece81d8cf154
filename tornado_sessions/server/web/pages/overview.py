"""``/admin/overview``: answers "is something wrong?". It must not know how events are counted or drawn."""

from __future__ import annotations

from tornado_sessions.messages import N_
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.board import SPANS, draw_board, span_named

__all__ = ["OverviewPage"]

#: The short names of the spans.
_SPANS = {"1h": N_("1 h"), "24h": N_("24 h"), "7d": N_("7 d")}


class OverviewPage(OperatorHandler):
    """``/admin/overview``."""

    async def get(self) -> None:
        """Show the page, with charts of the last hour, day or week."""
        span = span_named(self.query_value("span"))
        board = await self.ask_store(lambda: self.parts.overview.look(is_new=True))
        self.render_page(
            "overview.html",
            parts=await draw_board(self, board, span),
            span=next(name for name, value in SPANS.items() if value is span),
            spans=[(name, self.language.translate(text)) for name, text in _SPANS.items()],
            at=board.snapshot.at,
        )
