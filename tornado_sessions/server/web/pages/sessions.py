"""``/admin/``: the list of sessions.

It must not know stores, nor how sessions are ended.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Sort, State, Where
from tornado_sessions.record import SessionSummary
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.filters import FILTERS, View
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.stores.matching import DEVICES

__all__ = ["routes"]


class SessionsPage(OperatorHandler):
    """``/admin/``: who is in, or who was."""

    async def get(self) -> None:
        """The list, with its filters, its order and its tab in the address."""
        try:
            view = await self.view()
            page, count = await self.find_page(view)
        except QueryError as error:
            self._refuse(self.say(error.sentence))
            return
        self._show(view, "", page.items, page.next_cursor, count)

    def _refuse(self, fault: str) -> None:
        """The page with the filters as they were typed, and what is wrong with them."""
        self.set_status(400)
        given = {name: value for name in FILTERS if (value := self.query_value(name))}
        from_nothing = View(given, Where(), State.LIVE, Sort.LAST_SEEN, None, 50)
        self._show(from_nothing, fault, [], None, None)

    def _show(self, view: View, fault: str, items: list[SessionSummary], next_cursor: str | None, count: Any) -> None:
        self.render(
            "admin/sessions.html",
            view=view,
            fault=fault,
            items=items,
            count=count,
            ended=view.state is State.ENDED,
            sorts=list(Sort),
            devices=list(DEVICES),
            next_page=view.url(cursor=next_cursor) if next_cursor else None,
            first_page=view.url() if view.cursor else None,
            own=self.session.handle,
            now=self.sessions.clock(),
            where_of=where_of,
            kept_for_days=round(self.sessions.config.seconds("keep_ended_for") / 86400),
            notice=self.take_notice(),
        )


def where_of(view: View, now: float) -> str:
    """The filters of a view as a form carries them to what ends them: with the time until which sessions are meant."""
    return msgspec.json.encode(rules.cut_off(view.where, now)).decode()


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/?", SessionsPage),
    ]
