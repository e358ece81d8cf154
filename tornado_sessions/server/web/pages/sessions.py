"""``/admin/``: the list of sessions. It must not know stores or how sessions are ended."""

from __future__ import annotations

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Count, Page, Sort, State
from tornado_sessions.server.operations.filters import FILTERS, View
from tornado_sessions.server.operations.rules import DAY, cut_off
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.stores.matching import DEVICES

__all__ = ["SessionsPage"]


class SessionsPage(OperatorHandler):
    """``/admin/``: live sessions or, with ``state=ended``, ended ones. The query string contains filters and order."""

    async def get(self) -> None:
        """Show one page of the list. Invalid filters are shown again as typed."""
        try:
            view = await self.view()
            page, count = await self.find_page(view)
        except QueryError as error:
            self.set_status(400)
            given = {name: value for name in FILTERS if (value := self.query_value(name))}
            self._show(View(given), Page([], None), None, self.say(error.sentence))
        else:
            self._show(view, page, count)

    def _show(self, view: View, page: Page, count: Count | None, fault: str = "") -> None:
        self.render_page(
            "sessions.html",
            view=view,
            fault=fault,
            items=page.items,
            count=count,
            ended=view.state is State.ENDED,
            sorts=list(Sort),
            devices=list(DEVICES),
            next_page=view.url(cursor=page.next_cursor) if page.next_cursor else None,
            previous_page=view.url(cursor=page.previous_cursor) if page.previous_cursor else None,
            position=page.position(count) if count is not None else None,
            first_page=view.url() if view.cursor else None,
            where_of=_where_of,
            kept_for_days=round(self.sessions.config.seconds("keep_ended_for") / DAY),
        )


def _where_of(view: View, now: float) -> str:
    """Return the filters of a view as JSON, for a form that ends the matching sessions except those created later."""
    return msgspec.json.encode(cut_off(view.where, now)).decode()
