"""``/admin/users``: the list of users. It must not know accounts, or how a list is stored."""

from __future__ import annotations

from urllib.parse import urlencode

from tornado_sessions.server.operations.filters import read_people_query
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["UsersPage"]


class UsersPage(OperatorHandler):
    """``/admin/users``: users by name, with filters in the query string."""

    async def get(self) -> None:
        """Show one page."""
        query = read_people_query(self.query_value)
        page = await self.ask_store(lambda: self.parts.directory.page(query))
        self.render_page(
            "users.html",
            query=query,
            members=page.members,
            previous=self._link(cursor=page.previous_cursor) if page.previous_cursor else "",
            following=self._link(cursor=page.next_cursor) if page.next_cursor else "",
            link=self._link,
            can_list=self.parts.directory.can_list,
            can_reset=self.parts.credentials.is_available,
            roles=list(Role),
        )

    def _link(self, **changed: str) -> str:
        """Return the URL of this list with some parameters changed. Without ``cursor`` it leads to the first page."""
        kept = {name: self.query_value(name) for name in ("q", "role", "state")}
        given = {name: value for name, value in {**kept, **changed}.items() if value}
        return self.site.url(f"{self.site.dashboard}/users") + ("?" + urlencode(given) if given else "")
