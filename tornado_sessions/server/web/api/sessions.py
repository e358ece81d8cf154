"""``/admin/api/sessions``: list, view and end sessions. It must not know HTML."""

from __future__ import annotations

import msgspec
from tornado.web import HTTPError

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.record import Damaged, Record
from tornado_sessions.server.operations import rules, schema
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.filters import FILTERS, PARAMETERS, read_view
from tornado_sessions.server.operations.selections import Everybody, Handles, select
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["DestroyAllResource", "DestroyResource", "SessionResource", "SessionsResource", "ValuesResource"]


class SessionsResource(ApiHandler):
    """All sessions."""

    @endpoint(query=PARAMETERS)
    async def get(self) -> schema.SessionPage:
        """List sessions."""
        page, count = await self.find_page(await self.view())
        items = [schema.session_item(item, self.session.handle) for item in page.items]
        return schema.SessionPage(items, page.next_cursor, count.total, count.exact, page.previous_cursor, page.start)


class SessionResource(ApiHandler):
    """One session."""

    @endpoint()
    async def get(self, handle: str) -> schema.SessionItem:
        """View one live session."""
        found = await self.sessions.inspect(handle)
        if not isinstance(found, Record | Damaged):
            raise HTTPError(404, "there is no such live session")
        return schema.session_item(found, self.session.handle)

    @endpoint()
    async def delete(self, handle: str) -> None:
        """End one session, unless it has ended."""
        if await self.sessions.inspect(handle) is None:
            raise HTTPError(404, "there is no such session")
        await self.parts.actions.end(self.actor(), Handles([handle]))


class ValuesResource(ApiHandler):
    """The values of one session."""

    role_to_view = role_to_act = rules.REQUIRED_ROLE[Action.REVEAL]
    read_scope = write_scope = None

    @endpoint()
    async def post(self, handle: str, body: schema.Reason) -> schema.Values:
        """View the values of a session (admins, audited)."""
        values = await self.parts.actions.reveal(self.actor(), handle, body.reason)
        if values is None:
            raise HTTPError(404, "there is no such live session")
        return schema.Values(dict(values))


class DestroyResource(ApiHandler):
    """Ends sessions by handle, by user or by filters."""

    @endpoint(200, 202)
    async def post(self, body: schema.DestroyRequest) -> schema.Destroyed:
        """End sessions by handle, by user or by filters; 202 while a job ends the rest."""
        where = await self._where(body.where, body.until) if body.where is not None else None
        selection = select(self.sessions.clock(), handles=body.handles, user=body.user, where=where)
        outcome = await self.parts.actions.end(
            self.actor(),
            selection,
            body.reason,
            own=self.session.handle,
            expected=body.expected,
            show_reason=body.show_reason,
        )
        outcome.check()
        job = outcome.running_job
        if job is None:
            return schema.Destroyed(outcome.ended)
        self.set_status(202)
        return schema.Destroyed(outcome.ended, job.id)

    async def _where(self, given: dict[str, str | int], until: float | None) -> Where:
        if unknown := given.keys() - set(FILTERS):
            raise QueryError("There is no filter %s.", repr(min(unknown)))
        view = await read_view(
            lambda name: str(given.get(name, "")), self.parts.people, self.parts.suspects, self.sessions.clock()
        )
        return msgspec.structs.replace(view.where, created_until=until)


class DestroyAllResource(ApiHandler):
    """Ends all sessions. A separate path ensures that a wrong filter does not end them by mistake."""

    @endpoint()
    async def post(self, body: schema.DestroyAllRequest) -> schema.Destroyed:
        """End all sessions at once."""
        outcome = await self.parts.actions.end(self.actor(), Everybody(), body.reason, show_reason=body.show_reason)
        # All have ended; the job only removes their records.
        return schema.Destroyed(outcome.ended, is_exact=outcome.is_exact)
