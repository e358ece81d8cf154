"""The JSON API of the dashboard: list sessions, end them.

It must not know HTML. Errors are problem+json (RFC 9457); who asks is a session with a form token, or a bearer of an API token.
"""

from __future__ import annotations

from typing import Any

import msgspec
from tornado.web import HTTPError

from tornado_sessions.admin.acts import Acts
from tornado_sessions.admin.audit import Actor
from tornado_sessions.admin.stores import ApiToken
from tornado_sessions.errors import ConfigError
from tornado_sessions.pages import PageHandler, Role
from tornado_sessions.record import Facts, Record, facts_of

__all__ = ["ApiHandler", "OperatorHandler", "routes"]

#: Seconds for which a password once given is proof enough to use force.
PROOF = 300.0
_SAFE = ("GET", "HEAD", "OPTIONS")


class OperatorHandler(PageHandler):
    """What pages and API of operators share: looking needs a viewer, anything else an operator."""

    async def prepare(self) -> None:
        """Choose who is let in by what is asked for."""
        self.needs = Role.VIEWER if self.request.method in _SAFE else Role.OPERATOR
        await super().prepare()

    @property
    def acts(self) -> Acts:
        """What operators can do."""
        return Acts(self.sessions, self.settings["audit"])

    def actor(self) -> Actor:
        """Who acts here."""
        return Actor(str(self.current_user), self.client_ip)

    def is_proved(self) -> bool:
        """Whether the password was given in the last five minutes."""
        proved = self.session.get("proved_at", 0.0)
        latest = max(self.session.signed_in_at or 0.0, proved if isinstance(proved, float) else 0.0)
        return self.sessions.clock() - latest < PROOF


class ApiHandler(OperatorHandler):
    """What the API's answers share."""

    wants_json = True
    _token: ApiToken | None = None

    async def authenticate(self) -> str | None:
        """The bearer of an API token, or else the session's user."""
        scheme, _, text = self.request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return await super().authenticate()
        self._token = await self.settings["tokens"].verify(text.strip()) if scheme.lower() == "bearer" else None
        if self._token is None:
            raise HTTPError(401, "this API token is not valid")
        self.role = self._token.role
        return f"token {self._token.name}"

    def check_form(self) -> None:
        """No page of another site can send an ``Authorization`` header, so it needs no form token."""
        if "Authorization" not in self.request.headers:
            super().check_form()

    def actor(self) -> Actor:
        """The token's name, or the user."""
        return Actor(f"token {self._token.name}", self.client_ip) if self._token is not None else super().actor()

    def need_proof(self) -> None:
        """Refuse force by a session whose user gave the password long ago."""
        if self._token is None and not self.is_proved():
            raise HTTPError(403, "log in again: ending sessions needs a password given in the last 5 minutes")

    def item(self, facts: Facts) -> dict[str, Any]:
        """A session as the API shows it; times are UTC seconds."""
        own = self.session.handle
        return {**facts_of(facts), "current": own is not None and facts.handle == own}


class SessionList(ApiHandler):
    """``/admin/api/sessions``."""

    async def get(self) -> None:
        """One page of live sessions, newest activity first."""
        given = {name: self.get_query_argument(name, None) or None for name in ("user", "ip", "q", "cursor", "limit")}
        filters: dict[str, Any] = {"user": given["user"], "ip": given["ip"], "text": given["q"]}
        try:
            limit = int(given["limit"] or 50)
            page = await self.sessions.find(**filters, cursor=given["cursor"], limit=limit)
        except (ConfigError, ValueError) as error:
            raise HTTPError(400, "%s", error if isinstance(error, ConfigError) else "limit must be a number") from None
        count = await self.sessions.count(**filters)
        items = [self.item(facts) for facts in page.items]
        self.answer(
            {"items": items, "next_cursor": page.next_cursor, "total": count.total, "total_is_exact": count.exact}
        )


class OneSession(ApiHandler):
    """``/admin/api/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """One live session."""
        found = await self.sessions.inspect(handle)
        if not isinstance(found, Record):
            raise HTTPError(404, "there is no such live session")
        self.answer(self.item(found))

    async def delete(self, handle: str) -> None:
        """End it; 204 also when it has ended already."""
        self.need_proof()
        if await self.sessions.inspect(handle) is None:
            raise HTTPError(404, "there is no such session")
        await self.acts.end(self.actor(), [handle])
        self.set_status(204)


class _Where(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    user: str = ""
    ip: str = ""
    q: str = ""


class _DestroyRequest(msgspec.Struct, forbid_unknown_fields=True):
    user: str | None = None
    handles: list[str] | None = None
    where: _Where | None = None
    until: float | None = None
    reason: str = ""


class _DestroyAllRequest(msgspec.Struct, forbid_unknown_fields=True):
    reason: str


class Destroy(ApiHandler):
    """``/admin/api/sessions/destroy``."""

    async def post(self) -> None:
        """End all sessions of a user, the named ones, or those that a filter matches."""
        self.need_proof()
        try:
            asked = msgspec.json.decode(self.request.body, type=_DestroyRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, "%s", error) from None
        if sum(given is not None for given in (asked.user, asked.handles, asked.where)) != 1:
            raise HTTPError(400, "give one of user, handles and where")
        if asked.handles is not None and len(asked.handles) > 500:
            raise HTTPError(400, "at most 500 handles at once")
        if asked.where is not None:
            ended = await self._end_where(asked.where, asked.until, asked.reason)
        elif asked.user is not None:
            ended = await self.acts.end_user(self.actor(), asked.user, asked.reason)
        else:
            ended = await self.acts.end(self.actor(), asked.handles or [], asked.reason)
        self.answer({"destroyed": ended})

    async def _end_where(self, where: _Where, until: float | None, reason: str) -> int:
        filters = {"text" if name == "q" else name: value for name, value in msgspec.to_builtins(where).items()}
        if not filters or not reason:
            raise HTTPError(400, "where needs user, ip or q, and the act a reason")
        now = self.sessions.clock()
        return await self.acts.end_where(self.actor(), filters, min(until or now, now), reason, self.session.handle)


class DestroyAll(ApiHandler):
    """``/admin/api/sessions/destroy-all``: everybody is out, at once; an address of its own, so that it is never a slip."""

    async def post(self) -> None:
        """``{"reason": …}``."""
        self.need_proof()
        try:
            asked = msgspec.json.decode(self.request.body, type=_DestroyAllRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, "%s", error) from None
        if not asked.reason:
            raise HTTPError(400, "say why, as reason")
        self.answer({"destroyed": await self.acts.end_everybody(self.actor(), asked.reason)})


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/sessions", SessionList),
        (r"/admin/api/sessions/destroy", Destroy),
        (r"/admin/api/sessions/destroy-all", DestroyAll),
        (r"/admin/api/sessions/([A-Za-z0-9]{1,64})", OneSession),
    ]
