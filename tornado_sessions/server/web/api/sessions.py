"""``/admin/api/sessions``: list, view and end sessions.

It must not know HTML.
"""

from __future__ import annotations

from typing import Any

import msgspec
from tornado.web import HTTPError

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.record import Damaged, Record
from tornado_sessions.server.operations import rules, selections
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.filters import FILTERS, read_view
from tornado_sessions.server.operations.schema import session_item
from tornado_sessions.server.web.api.base import HANDLE, ApiHandler

__all__ = ["routes"]


class SessionsResource(ApiHandler):
    """``/admin/api/sessions``."""

    async def get(self) -> None:
        """One page of sessions; the filters are those of the dashboard's address."""
        view = await self.view()
        page, count = await self.find_page(view)
        items = [session_item(facts, self.session.handle) for facts in page.items]
        self.answer(answers.SessionPage(items, page.next_cursor, count.total, count.exact))


class SessionResource(ApiHandler):
    """``/admin/api/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """One live session, or what can be read of a damaged one."""
        found = await self.sessions.inspect(handle)
        if not isinstance(found, Record | Damaged):
            raise HTTPError(404, "there is no such live session")
        self.answer(session_item(found, self.session.handle))

    async def delete(self, handle: str) -> None:
        """End it; 204 also when it has ended already."""
        self.need_proof()
        if await self.sessions.inspect(handle) is None:
            raise HTTPError(404, "there is no such session")
        await self.parts.actions.end(self.actor(), [handle])
        self.set_status(204)


class ValuesResource(ApiHandler):
    """``/admin/api/sessions/HANDLE/values``."""

    role_to_view = role_to_act = rules.NEEDED[Action.REVEAL]
    reads = writes = None

    async def post(self, handle: str) -> None:
        """What is in it; audited."""
        self.need_proof()
        values = await self.parts.actions.reveal(self.actor(), handle, self.body(answers.Reason).reason)
        if values is None:
            raise HTTPError(404, "there is no such live session")
        self.answer(answers.Values(dict(values)))


class DestroyResource(ApiHandler):
    """``/admin/api/sessions/destroy``."""

    async def post(self) -> None:
        """End all sessions of a user, the named ones, or those that a filter matches."""
        self.need_proof()
        asked = self.body(answers.DestroyRequest)
        where = await self._where(asked.where, asked.until) if asked.where is not None else None
        selection = selections.select(self.sessions.clock(), handles=asked.handles, user=asked.user, where=where)
        own = self.session.handle
        await selections.check(selection, self.sessions, asked.reason, asked.expected, own)
        self.answer_outcome(await selection.end(self.parts.actions, self.actor(), asked.reason, own, tell=asked.tell))

    async def _where(self, given: dict[str, str | int], until: float | None) -> Where:
        """The filters of a body, which are named as in the list's address."""
        if unknown := given.keys() - set(FILTERS):
            raise QueryError("there is no filter %s", repr(min(unknown)))
        view = await read_view(lambda name: str(given.get(name, "")), self.parts.accounts, self.sessions.clock())
        return msgspec.structs.replace(view.where, created_until=until)


class DestroyAllResource(ApiHandler):
    """``/admin/api/sessions/destroy-all``: everybody is out, at once; an address of its own, so that it is never a slip."""

    async def post(self) -> None:
        """``{"reason": …}``."""
        self.need_proof()
        asked = self.body(answers.DestroyAllRequest)
        outcome = await selections.Everybody().end(self.parts.actions, self.actor(), asked.reason, tell=asked.tell)
        # Everybody is out already; the job only removes what is left of them.
        self.answer(answers.Destroyed(outcome.ended))


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/sessions", SessionsResource),
        (r"/admin/api/sessions/destroy", DestroyResource),
        (r"/admin/api/sessions/destroy-all", DestroyAllResource),
        (rf"/admin/api/sessions/{HANDLE}", SessionResource),
        (rf"/admin/api/sessions/{HANDLE}/values", ValuesResource),
    ]
