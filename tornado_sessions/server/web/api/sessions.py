"""The JSON API of the dashboard: what its answers share, and sessions.

It must not know HTML. Errors are problem+json (RFC 9457); who asks is a session with a form token, or a bearer of an API token.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import msgspec
from tornado.web import HTTPError

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.record import Damaged, Record
from tornado_sessions.server.operations import rules, selections
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.filters import FILTERS, read_view
from tornado_sessions.server.operations.schema import session_item
from tornado_sessions.server.operations.tokens import ApiToken, Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["HANDLE", "ApiHandler", "routes"]

T = TypeVar("T")

HANDLE = "([A-Za-z0-9]{1,64})"


class ApiHandler(OperatorHandler):
    """What the API's answers share."""

    wants_json = True
    #: What a token needs to look and to act; ``None``: only people may.
    reads: ClassVar[Scope | None] = Scope.READ
    writes: ClassVar[Scope | None] = Scope.END
    _token: ApiToken | None = None

    async def authenticate(self) -> str | None:
        """The bearer of an API token, or else the session's user."""
        given = self._token_given()
        if given is None:
            return await super().authenticate()
        scheme, _, text = given.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        self._token = await self.parts.tokens.verify(text.strip(), self.client_ip) if is_bearer else None
        if self._token is None:
            raise HTTPError(401, "this API token is not valid")
        needed = self.reads if self.request.method in ("GET", "HEAD") else self.writes
        self.role = Role.ADMIN if needed in self._token.scopes else Role.USER
        return f"token {self._token.name}"

    def check_form(self) -> None:
        """No page of another site can send an ``Authorization`` header, so it needs no form token."""
        if self._token_given() is None:
            super().check_form()

    def _token_given(self) -> str | None:
        """What stands in the header, read in one place, so that who lets in and who checks forms never disagree."""
        return self.request.headers.get("Authorization", "").strip() or None

    def actor(self) -> Actor:
        """The token's name, or the user."""
        if self._token is None:
            return super().actor()
        # Its scopes let it in; beside people it is an operator, whoever made it.
        return Actor(f"token {self._token.name}", self.client_ip, Role.OPERATOR)

    def need_proof(self) -> None:
        """Refuse force by a session whose user gave the password long ago."""
        if self._token is None and not self.has_fresh_password():
            raise HTTPError(403, "log in again: this needs a password given in the last 5 minutes")

    def body(self, kind: type[T]) -> T:
        """What was sent. Raises ``HTTPError`` when it is not of this kind."""
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, "%s", error) from None

    def answer_outcome(self, outcome: Outcome) -> None:
        """How many ended; 202 while a job goes on with the rest."""
        answer = answers.Destroyed(outcome.ended)
        if outcome.job is not None and outcome.goes_on:
            answer.job = outcome.job.id
        self.answer(answer, 202 if outcome.job is not None and outcome.goes_on else 200)


class SessionList(ApiHandler):
    """``/admin/api/sessions``."""

    async def get(self) -> None:
        """One page of sessions; the filters are those of the dashboard's address."""
        view = await self.view()
        page, count = await self.find_page(view)
        items = [session_item(facts, self.session.handle) for facts in page.items]
        self.answer(answers.SessionPage(items, page.next_cursor, count.total, count.exact))


class OneSession(ApiHandler):
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


class SessionValues(ApiHandler):
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


class Destroy(ApiHandler):
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


class DestroyAll(ApiHandler):
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
        (r"/admin/api/sessions", SessionList),
        (r"/admin/api/sessions/destroy", Destroy),
        (r"/admin/api/sessions/destroy-all", DestroyAll),
        (rf"/admin/api/sessions/{HANDLE}", OneSession),
        (rf"/admin/api/sessions/{HANDLE}/values", SessionValues),
    ]
