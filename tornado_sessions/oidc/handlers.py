"""``OpenIDMixin`` and ``BackChannelLogout``: OpenID Connect in the handlers of an application.

They call ``OpenIDConnect`` and the session; the application decides what its users are called. They must not know accounts.
"""

from __future__ import annotations

from typing import Any

from tornado.web import RequestHandler

from tornado_sessions.errors import DecodeError, OpenIDError, UsageError
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.oidc.client import KEPT, Identity, OpenIDConnect, kept
from tornado_sessions.oidc.tokens import LogoutRequest

__all__ = ["BackChannelLogout", "OpenIDMixin"]


class OpenIDMixin(SessionMixin):
    """A ``SessionMixin`` whose users sign in at ``Application(…, oidc=OpenIDConnect(…))``."""

    @property
    def oidc(self) -> OpenIDConnect:
        """The application's client. Raises ``UsageError`` if it was created without ``oidc=``."""
        client = self.application.settings.get("oidc")
        if not isinstance(client, OpenIDConnect):
            raise UsageError("the application has no provider: tornado.web.Application(…, oidc=OpenIDConnect(…))")
        return client

    async def start_open_id(self, following: str = "", *, prove: bool = False) -> None:
        """Redirect to the provider; for arguments and errors see ``OpenIDConnect.start``."""
        self.redirect(await self.oidc.start(self.session, following, prove=prove))

    async def finish_open_id(self) -> Identity:
        """Return who has signed in; for errors see ``OpenIDConnect.finish``."""
        return await self.oidc.finish(self.session, self.request.query_arguments)

    async def log_in_identity(self, identity: Identity, user_id: str = "", **options: Any) -> None:
        """Log a user in, and keep in the session what its sign-out needs.

        Args:
            identity: who has signed in.
            user_id: becomes ``session.user``; by default ``identity.user_id``.
            options: of ``log_in``, whose errors apply as well.
        """
        await self.log_in(user_id or identity.user_id, **options)
        self.session[KEPT] = kept(identity)

    def kept_identity(self) -> dict[str, Any]:
        """Return what the session keeps of its sign-in: ``subject``, ``sid`` and ``id_token``; empty for another sign-in."""
        try:
            found = self.session.get(KEPT)
        except DecodeError:
            found = None
        return found if isinstance(found, dict) else {}


class BackChannelLogout(OpenIDMixin, RequestHandler):
    """Ends the sessions that the provider asks to end. Register its address at the provider as the back-channel logout URI.

    By default the user id is ``Identity.user_id``, logout tokens need a ``sub``, and each process remembers the tokens that it
    has obeyed. Override the methods below where the application differs.
    """

    touches = False

    def check_xsrf_cookie(self) -> None:
        """Accept requests without a form token: they come from the provider's server, and prove that by their signature."""

    async def post(self) -> None:
        """Obey a logout token, and answer 200; 400 if it is not one."""
        self.set_header("Cache-Control", "no-store")
        try:
            request = await self._new_request()
        except OpenIDError as error:
            self.set_status(error.status)
            self.finish({"error": "invalid_request", "error_description": str(error)})
            return
        await self.end_sessions(request)
        # Afterwards: if ending has failed, the provider sends the token again.
        await self.remember_obeyed(request)
        self.finish(b"")

    async def _new_request(self) -> LogoutRequest:
        request = await self.oidc.logout_request(self.get_body_argument("logout_token", ""))
        if await self.was_obeyed(request):
            raise OpenIDError("this logout token was sent before")
        return request

    async def was_obeyed(self, request: LogoutRequest) -> bool:
        """Return whether a logout token has been obeyed before."""
        return self.oidc.was_obeyed(request)

    async def remember_obeyed(self, request: LogoutRequest) -> None:
        """Remember that a logout token was obeyed."""
        self.oidc.remember_obeyed(request)

    async def user_of(self, issuer: str, subject: str) -> str | None:
        """Return the user id of a user of the provider, or ``None`` if the application does not know them."""
        return Identity(issuer=issuer, subject=subject, claims={}).user_id

    async def end_sessions(self, request: LogoutRequest) -> None:
        """End the session ``sid``, or all sessions of the subject. Raises ``OpenIDError`` without a subject."""
        user = await self.user_of(request.issuer, request.subject) if request.subject else None
        if user is None:
            return
        if not request.sid:
            await self.sessions.destroy_user(user)
            return
        cursor: str | None = None
        while True:
            page = await self.sessions.find(user=user, cursor=cursor, limit=500)
            for session in page.items:
                values = await self.sessions.values_of(session.handle) or {}
                found = values.get(KEPT)
                if isinstance(found, dict) and found.get("sid") == request.sid:
                    await self.sessions.destroy(session.handle)
            cursor = page.next_cursor
            if cursor is None:
                return
