"""``OpenIDMixin`` and ``BackChannelLogout``: OpenID Connect in the handlers of an application.

They call ``OpenIDConnect``, keep flows in cookies, and end sessions; the application decides what its users are called. They must
not know accounts.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.web import RequestHandler

from tornado_sessions.errors import DecodeError, OpenIDError, UsageError
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.oidc.client import Identity, OpenIDConnect
from tornado_sessions.oidc.flows import (
    FLOW_LIFETIME,
    Flow,
    cookie_of,
    forgotten,
    open_flow,
    seal,
    seal_flow,
    state_of,
    unseal,
)
from tornado_sessions.oidc.tokens import LogoutRequest
from tornado_sessions.query import Sort, Where
from tornado_sessions.record import Cause

__all__ = ["BackChannelLogout", "OpenIDMixin"]

#: The key of what a session keeps of its sign-in.
_KEPT = "oidc"


class OpenIDMixin(SessionMixin):
    """A ``SessionMixin`` whose users sign in at ``Application(…, oidc=OpenIDConnect(…))``.

    A sign-in in progress is kept in an encrypted cookie of the browser, so starting many stores nothing on the server.
    """

    @property
    def oidc(self) -> OpenIDConnect:
        """The application's client. Raises ``UsageError`` if it was created without ``oidc=``."""
        client = self.application.settings.get("oidc")
        if not isinstance(client, OpenIDConnect):
            raise UsageError("the application has no provider: tornado.web.Application(…, oidc=OpenIDConnect(…))")
        return client

    def _request_summary(self) -> str:
        # For log lines: the query of a response contains its code.
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    # --- sign in -------------------------------------------------------------------------------------------------

    async def start_open_id(self, following: str = "", *, prove: bool = False) -> None:
        """Redirect to the provider; for arguments and errors see ``OpenIDConnect.start``."""
        self.redirect(await self.open_id_url(following, prove=prove))

    async def open_id_url(self, following: str = "", *, prove: bool = False) -> str:
        """Return the address of ``start_open_id`` instead of redirecting to it. The response sets the cookie of the flow."""
        url, flow = await self.oidc.start(following, prove=prove)
        value = seal_flow(self.__keys, self.__client, flow)
        for old in forgotten(self.__flows(), len(value)):
            self.__set_flow(old.state, "")
        self.__set_flow(flow.state, value)
        return url

    async def finish_open_id(self) -> Identity:
        """Return who has signed in; for errors see ``OpenIDConnect.finish``. A response is accepted once."""
        self.set_header("Cache-Control", "no-store")
        state = self.get_query_argument("state", "")
        flow = self.__flow(state)
        try:
            identity = await self.oidc.finish(flow, self.request.query_arguments)
        except OpenIDError:
            # After an outage the cookie stays, so that the response can be tried again.
            if flow is not None:
                self.__set_flow(state, "")
            raise
        self.__set_flow(state, "")
        if not await self.use(f"state {state}", self.sessions.clock() + FLOW_LIFETIME):
            # A copy of the cookie, and a provider that accepts a code twice.
            raise OpenIDError("this sign-in has already been completed")
        return identity

    async def log_in_identity(self, identity: Identity, user_id: str = "", **options: Any) -> None:
        """Log a user in, and keep in the session what its sign-out needs.

        Args:
            identity: who has signed in.
            user_id: becomes ``session.user``; by default ``identity.user_id``.
            options: of ``log_in``, whose errors apply as well.
        """
        await self.log_in(user_id or identity.user_id, **options)
        self.keep_identity(identity)

    def keep_identity(self, identity: Identity) -> None:
        """Keep in the session what its sign-out needs. The ID token, which says much about its user, is encrypted."""
        kept = {"issuer": identity.issuer, "subject": identity.subject, "sid": identity.sid}
        hint = seal(self.__keys, self.__hint, identity.id_token.encode()) if identity.id_token else ""
        self.session[_KEPT] = {**kept, "id_token": hint}

    def kept_identity(self) -> Identity | None:
        """Return what the session keeps of its sign-in, without claims; ``None`` if its user has signed in otherwise."""
        try:
            found = self.session.get(_KEPT)
        except DecodeError:
            found = None
        if not isinstance(found, dict):
            return None
        issuer, subject, sid, hint = (str(found.get(name, "")) for name in ("issuer", "subject", "sid", "id_token"))
        id_token = (unseal(self.__keys, self.__hint, hint) or b"").decode()
        return Identity(issuer=issuer, subject=subject, claims={}, sid=sid, id_token=id_token)

    # --- used once -----------------------------------------------------------------------------------------------

    async def was_used(self, token_id: str) -> bool:
        """Return whether a token of the provider was used before. By default, each process remembers its own."""
        return self.oidc.was_used(token_id)

    async def use(self, token_id: str, until: float) -> bool:
        """Remember until a time in UTC seconds that a token was used, and return whether this is its first use."""
        return self.oidc.use(token_id, until)

    # --- cookies -------------------------------------------------------------------------------------------------

    @property
    def __keys(self) -> list[str]:
        return self.sessions.config.keys("secret")

    @property
    def __client(self) -> str:
        return f"{self.oidc.issuer} {self.oidc.client_id} {self.oidc.redirect_url}"

    @property
    def __hint(self) -> str:
        return f"hint {self.session.handle}"

    @property
    def __is_host_only(self) -> bool:
        return self.is_secure and self.sessions.config.path == "/"

    def __flow(self, state: str) -> Flow | None:
        value = self.get_cookie(cookie_of(state, is_host_only=self.__is_host_only)) if state else None
        return open_flow(self.__keys, self.__client, state, value) if value else None

    def __flows(self) -> list[tuple[Flow, int]]:
        """Return the flows of this browser and the lengths of their cookies. Those of other servers of this host are left alone."""
        found = []
        for name, morsel in self.cookies.items():
            flow = self.__flow(state_of(name, is_host_only=self.__is_host_only))
            if flow is not None:
                found.append((flow, len(name) + len(morsel.value)))
        return found

    def __set_flow(self, state: str, value: str) -> None:
        """Set the cookie of a flow, or remove it with an empty value.

        The browser has to send it when the provider's page leads back, so it is never ``SameSite=Strict``.
        """
        self.set_header("Cache-Control", "no-store")
        name, path = cookie_of(state, is_host_only=self.__is_host_only), self.sessions.config.path
        attributes: dict[str, Any] = {"path": path, "secure": self.is_secure, "httponly": True, "samesite": "Lax"}
        if value:
            self.set_cookie(name, value, max_age=int(FLOW_LIFETIME), **attributes)
        else:
            self.clear_cookie(name, **attributes)


class BackChannelLogout(OpenIDMixin, RequestHandler):
    """Ends the sessions that the provider asks to end. Register its address at the provider as the back-channel logout URI.

    By default the user id is ``Identity.user_id``, and each process remembers the tokens that it has
    processed. Override the methods below where the application differs.
    """

    touches = False

    def check_xsrf_cookie(self) -> None:
        """Accept requests without a form token: the signature of the logout token proves that the provider sent it."""

    async def post(self) -> None:
        """Process a logout token. Answer 200, or 400 if it is invalid."""
        self.set_header("Cache-Control", "no-store")
        try:
            request = await self._new_request()
        except OpenIDError as error:
            self.set_status(error.status)
            self.finish({"error": "invalid_request", "error_description": str(error)})
            return
        await self.end_sessions(request)
        # Mark it as used only now: if ending fails, the provider sends the token again.
        await self.use(f"logout {request.token_id}", request.expires_at)
        self.finish(b"")

    async def _new_request(self) -> LogoutRequest:
        request = await self.oidc.logout_request(self.get_body_argument("logout_token", ""))
        if await self.was_used(f"logout {request.token_id}"):
            raise OpenIDError("this logout token has already been used")
        return request

    async def user_of(self, issuer: str, subject: str) -> str | None:
        """Return the user id of a user of the provider, or ``None`` if the application does not know them."""
        return Identity(issuer=issuer, subject=subject, claims={}).user_id

    async def end_sessions(self, request: LogoutRequest) -> None:
        """End the session ``sid`` of the provider, or all sessions of the subject.

        The subject's sessions are found by an index. Without a subject, the values of all users' sessions are searched for the
        ``sid``: override this method if your provider sends such tokens and there are many sessions.
        """
        user = await self.user_of(request.issuer, request.subject) if request.subject else None
        if request.subject and user is None:
            return
        where = Where(user=user, signed_in=True, created_until=request.began_until)
        if not request.sid:
            await self.sessions.destroy_where(where, cause=Cause.LOGOUT)
            return
        cursor: str | None = None
        while True:
            # In this order, sessions do not change places when they are used during the search.
            page = await self.sessions.find(where, sort=Sort.SIGNED_IN, cursor=cursor, limit=500)
            handles = [item.handle for item in page.items]
            # All at once, which is one call of the store.
            found = await asyncio.gather(*map(self.sessions.values_of, handles))
            named = [handle for handle, values in zip(handles, found, strict=True) if _is_of(values, request)]
            await self.sessions.destroy_many(named, cause=Cause.LOGOUT)
            cursor = page.next_cursor
            if cursor is None:
                return


def _is_of(values: dict[str, Any] | None, request: LogoutRequest) -> bool:
    kept = (values or {}).get(_KEPT)
    return isinstance(kept, dict) and (kept.get("issuer"), kept.get("sid")) == (request.issuer, request.sid)
