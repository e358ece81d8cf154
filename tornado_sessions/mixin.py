"""``SessionMixin``: the API of a handler, and the hooks into Tornado: ``prepare`` before the handler, ``flush`` after it.

It must not know stores, rules or how a cookie is signed. Loading, sign-in and sign-out are in ``manager``; ``outgoing`` holds a
response back until its session is stored; ``open_connection`` closes the WebSocket of an ended session. It has more than 300
lines because it documents every method that a handler calls.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions.change import own_lifetime
from tornado_sessions.cookie import Presented, join_cookie_lines
from tornado_sessions.errors import SessionError, SessionGone, UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.open_connection import close_connection
from tornado_sessions.outgoing import TOO_LATE, Outgoing
from tornado_sessions.request import RequestInfo, RequestSession
from tornado_sessions.session import Session

__all__ = ["SessionMixin"]

logger = logging.getLogger("tornado_sessions")

# A longer User-Agent is cut to this many characters.
_USER_AGENT = 512


class _Done(tuple[()]):
    """An awaitable that is already done. Cheaper than a coroutine, on the path of every request without a cookie."""

    __slots__ = ()
    __await__ = tuple.__iter__


_DONE: Awaitable[None] = _Done()  # type: ignore[assignment]


if TYPE_CHECKING:
    _Handler = RequestHandler
else:
    _Handler = object


class SessionMixin(_Handler):
    """Gives a ``RequestHandler`` or ``WebSocketHandler`` its ``self.session``; comes before it in the list of bases.

    The session is loaded in ``prepare``; a handler with its own ``prepare`` awaits ``super().prepare()`` first. Changes are stored
    before the response leaves; a response of status 5xx stores nothing.
    """

    # Private names start with two underscores: a subclass may call its own methods _load or _store without replacing ours.

    #: Whether a request counts as use of the session: it moves ``last_seen_at`` and the idle limit. Set it to ``False`` for
    #: requests without a human behind them: polling, event streams.
    touches: ClassVar[bool] = True

    __outgoing: Outgoing | None = None
    __prepared = False
    __failing = False
    __retry_after: float | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        if RequestHandler in bases and bases.index(RequestHandler) < bases.index(SessionMixin):
            raise UsageError(f"{cls.__name__}: SessionMixin must come before the handler in the list of bases")

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        # Before Tornado reads a cookie: its XSRF check runs before prepare().
        self.__cookies = join_cookie_lines(request.headers)
        super().__init__(application, request, **kwargs)

    # --- what handlers use ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """The application's ``Sessions``. Raises ``UsageError`` if the application was created without ``sessions=``."""
        sessions = self.application.settings.get("sessions")
        if not isinstance(sessions, Sessions):
            raise UsageError("the application has no sessions: tornado.web.Application(…, sessions=Sessions(…))")
        return sessions

    @property
    def session(self) -> Session:
        """This visitor's session. Raises ``UsageError`` before ``prepare`` has loaded it."""
        if self.__outgoing is not None:
            # Most calls end here; a function for both cases would double their cost.
            return self.__outgoing.request.session
        return self.__request_session().session

    @property
    def is_secure(self) -> bool:
        """Whether the browser used https, to this server or to a trusted proxy."""
        return self.__request_session().info.secure

    @property
    def client_ip(self) -> str:
        """The client's IP address. Forwarding headers count only from trusted proxies."""
        return self.__request_session().info.ip

    def get_current_user(self) -> Any:
        """Return the id of the logged-in user, or ``None``. ``self.current_user`` and ``@authenticated`` call this."""
        return self.session.user

    async def log_in(
        self,
        user_id: str,
        *,
        lifetime: float | timedelta | None = None,
        idle_timeout: float | timedelta | None = None,
        persistent: bool = True,
    ) -> None:
        """Log a user in. The session always gets a new token; the old one stops working at once.

        Args:
            user_id: becomes ``session.user`` and ``current_user``: a non-empty ``str`` of at most 512 bytes of UTF-8.
            lifetime: seconds until this session ends ("remember me"), at most 400 days; ``None``: as configured.
            idle_timeout: only with a ``lifetime``: seconds without a request after which it ends earlier; ``None``: never.
            persistent: only with a ``lifetime``: whether the cookie survives a restart of the browser.

        Raises:
            UsageError: an argument is invalid, or the response headers have already been sent.
            TooManySessions: the configuration refuses another session of this user.
            StoreUnavailable: the store failed. After any of these errors the user is not logged in.
        """
        request = self.__with_cookie("log in")
        if lifetime is None and idle_timeout is not None:
            raise UsageError("log_in(idle_timeout=…) needs a lifetime as well")
        own = None if lifetime is None else own_lifetime(lifetime, idle_timeout, persistent)
        await self.sessions.log_in(request, user_id, own)
        self.__forget_current_user()

    async def log_out(self) -> None:
        """End the session and clear its cookie; same as ``destroy_session``."""
        await self.destroy_session()

    async def destroy_session(self) -> None:
        """End the session permanently, drop unsaved changes and clear the cookie. Does nothing for a visitor."""
        await self.__stored()
        request = self.__request_session()
        if self.__outgoing is not None and not isinstance(self, WebSocketHandler):
            # Ending a session closes its connections; the response to the sign-out itself must still get through.
            self.__outgoing.unwatch()
        await self.sessions.end(request)
        self.__forget_current_user()

    async def rotate_session(self, *, at_once: bool = False) -> None:
        """Give the session a new token.

        Args:
            at_once: whether the old token stops working at once, as after a change of password. Otherwise it works for another
                ``rotation_grace`` seconds after the new one was first presented.

        Raises:
            SessionGone: the session has ended.
        """
        await self.sessions.rotate(self.__with_cookie("rotate"), at_once=at_once)

    async def save_session(self) -> None:
        """Store the changes now instead of with the response. Raises ``SessionGone`` if the session has ended."""
        await self.__stored()
        await self.sessions.commit(self.__request_session(), may_rotate=False)

    async def reload_session(self) -> None:
        """Drop unsaved changes and load the session again. Raises ``SessionGone`` if the session has ended."""
        await self.__stored()
        await self.sessions.reload(self.__request_session())

    def close_for_session(self) -> Awaitable[None] | None:
        """Close this WebSocket or stream: its session was ended elsewhere.

        Override it to send a last message, then call ``super().close_for_session()``; it may be a coroutine. If it raises or takes
        longer than half a second, the connection is aborted.
        """
        close_connection(self)
        return None

    # --- before the handler: load --------------------------------------------------------------------------------

    def prepare(self) -> Awaitable[None]:
        """Load the session, then call the base class's ``prepare``. A handler with its own ``prepare`` must await this one.

        Raises:
            StoreUnavailable: the session cannot be loaded; the client gets a 503.
        """
        is_socket = isinstance(self, WebSocketHandler)
        # Without a cookie the session is created when it is asked for; most handlers never do.
        if self.__cookies is not None or is_socket:
            sessions = self.sessions
            info = self.__request_info(sessions)
            found = sessions.cookies.read(self.__cookies, secure=info.secure)
            request = sessions.fetch_at_once(found[0], info) if len(found) == 1 and not is_socket else None
            if request is None:
                return self.__load(sessions, info, found)
            self.__outgoing = Outgoing(sessions, request)
        self.__prepared = True
        return super().prepare() or _DONE

    async def __load(self, sessions: Sessions, info: RequestInfo, found: Sequence[Presented]) -> None:
        """Load the session from the store, and whatever else must wait."""
        is_socket = isinstance(self, WebSocketHandler)
        if not found or (is_socket and self.__is_foreign_handshake()):
            request = sessions.new_request_session(info)
        elif len(found) == 1:
            request = await sessions.fetch(found[0], info)
        else:
            request = await sessions.fetch_one_of(found, info)
        if sessions.takeover is not None and request.session.record is None:
            request = await self.__take_over(request, is_socket=is_socket)
        if is_socket and request.session.record is not None:
            sessions.live.check_room(request.session.record.handle)
        self.__outgoing = Outgoing(sessions, request)
        self.__prepared = True
        if is_socket:
            await self.__prepare_socket(request)
        prepared = super().prepare()
        if prepared is not None:
            await prepared

    async def __take_over(self, request: RequestSession, *, is_socket: bool) -> RequestSession:
        """Let in a browser that comes with a session of another system; see ``Sessions(takeover=…)``."""
        if is_socket and self.__is_foreign_handshake():
            return request
        request, removal = await self.sessions.take_over(request, self.request.headers.get("Cookie", ""))
        if removal is not None:
            self.add_header("Set-Cookie", removal)
        return request

    def __request_info(self, sessions: Sessions) -> RequestInfo:
        """Return the time and origin of this request, and whether its cookie is ``Secure``."""
        request = self.request
        origin = sessions.proxies.of(request)
        wanted = sessions.config.secure
        secure = origin.secure if wanted == "auto" else bool(wanted)
        user_agent = ",".join(request.headers.get_list("User-Agent"))[:_USER_AGENT]
        return RequestInfo(sessions.clock(), origin.ip, user_agent, self.touches, secure)

    def __is_foreign_handshake(self) -> bool:
        """Return whether another site's page opens this WebSocket.

        Tornado checks the origin after ``prepare``, which is too late: such a handshake must not even touch the session.
        """
        return self._check_cross_origin(self.check_origin) is not None  # type: ignore[attr-defined]

    async def __prepare_socket(self, request: RequestSession) -> None:
        """Commit the handshake as a request of its own: no later response could wait for the commit."""
        try:
            await self.sessions.commit(request, may_rotate=False)
        except SessionGone:
            request = self.sessions.new_request_session(request.info)
            self.__outgoing = Outgoing(self.sessions, request)
        request.session.freeze("a WebSocket cannot set a cookie: start the session before it opens")
        if self.__outgoing is not None:
            self.__outgoing.watch(self)

    def __request_session(self) -> RequestSession:
        """Return this request and its session. For a visitor without a cookie, the session is created here."""
        if self.__outgoing is not None:
            return self.__outgoing.request
        if not self.__failing and not self.__prepared:
            raise UsageError(
                "the session is not loaded: a handler with its own prepare() awaits super().prepare() first"
            )
        sessions = self.sessions
        request = sessions.new_request_session(self.__request_info(sessions))
        if self._headers_written:
            request.session.freeze(TOO_LATE)
        if self.__prepared:
            self.__outgoing = Outgoing(sessions, request)
        # Otherwise this is the error page of a request that failed before prepare(): it gets an empty session that is not stored.
        return request

    def __with_cookie(self, action: str) -> RequestSession:
        if self._headers_written or isinstance(self, WebSocketHandler):
            raise UsageError(f"cannot {action}: the headers are sent, so the new token could not reach the browser")
        return self.__request_session()

    async def __stored(self) -> None:
        if self.__outgoing is not None:
            await self.__outgoing.stored()

    def __forget_current_user(self) -> None:
        """Make Tornado call ``get_current_user`` again: it caches the result, and the application may override the method."""
        vars(self).pop("_current_user", None)

    # --- after the handler: save ---------------------------------------------------------------------------------

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's signature
        """Send the pending bytes as Tornado does, after the session is stored.

        Every response passes through here, including those ended by ``finish``, ``redirect``, ``render`` and ``send_error``.

        Returns:
            A future that is done when the bytes are written. If the store fails before the first byte, it raises that error.
        """
        if self.__retry_after is not None and not self._headers_written:
            # Set as late as possible: Tornado's send_error() clears earlier headers.
            self.set_header("Retry-After", str(math.ceil(self.__retry_after)))
        # Tornado does not await ``finish`` and ``redirect``, so this cannot wait for the store. Instead, ``Outgoing`` replaces the
        # connection: Tornado writes as usual, and the bytes leave when the store has answered.
        if self.__outgoing is not None:
            self.__outgoing.before_flush(self, is_last=include_footers)
        return super().flush(include_footers)

    def detach(self) -> IOStream:
        """Hand the connection's stream to the application, as Tornado does.

        Raises:
            UsageError: the session has unsaved changes, which nothing would store later. Call ``await self.flush()`` or
                ``await self.save_session()`` first.
        """
        if self.get_status() != 101 and self.__outgoing is not None:
            self.__outgoing.before_detach(self)
        return super().detach()

    def on_connection_close(self) -> None:
        """Stop watching the session: the client has disconnected."""
        if self.__outgoing is not None:
            self.__outgoing.unwatch()
        super().on_connection_close()

    def _handle_request_exception(self, e: BaseException) -> None:
        # First of all: log_exception() and write_error() may use the session even if prepare() was never called.
        self.__failing = True
        super()._handle_request_exception(e)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send an error response as Tornado does. A ``SessionError`` sets the status and, if a retry helps, ``Retry-After``."""
        self.__failing = True
        if self.__outgoing is not None:
            self.__outgoing.forget_refusal()
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, SessionError):
            status_code, self.__retry_after = error.status, error.retry_after
            if self.__outgoing is not None:
                # The error page must not try to store the changes that were just refused.
                self.__outgoing.drop_changes()
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log one line for an expected error, such as an outage; log anything else as Tornado does."""
        if isinstance(value, SessionError) and value.status != 500:
            logger.warning("%s: %s", self._request_summary(), value)
        else:
            super().log_exception(typ, value, tb)
