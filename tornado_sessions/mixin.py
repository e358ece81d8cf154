"""``SessionMixin``: what a handler uses, and where Tornado calls it: ``prepare`` on the way in, ``flush`` on the way out.

It must not know stores, rules or how a cookie is signed. Loading, sign-in and sign-out are in ``manager``; how a response waits
until its session is stored is in ``outgoing``; how a WebSocket of an ended session closes is in ``open_connection``. It has more
than 300 lines because it documents everything that a handler calls.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions.change import own_lifetime
from tornado_sessions.cookie import join_cookie_lines
from tornado_sessions.errors import SessionError, SessionGone, UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.open_connection import close_connection
from tornado_sessions.outgoing import TOO_LATE, Outgoing
from tornado_sessions.request import RequestInfo, RequestSession
from tornado_sessions.session import Session

__all__ = ["SessionMixin"]

logger = logging.getLogger("tornado_sessions")

# Characters of a User-Agent that are kept.
_USER_AGENT = 512


class _Done(tuple[()]):
    """Awaited, it is done at once, without the cost of a coroutine."""

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

    #: Whether a request counts as use of the session, which moves ``last_seen_at`` and the idle limit. ``False`` suits what a page
    #: requests by itself: polling, event streams.
    touches: ClassVar[bool] = True

    __sessions: Sessions | None = None
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
        join_cookie_lines(request.headers)
        super().__init__(application, request, **kwargs)

    # --- what handlers use ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """The application's ``Sessions``. Raises ``UsageError`` when the application was created without."""
        if self.__sessions is None:
            sessions = self.application.settings.get("sessions")
            if not isinstance(sessions, Sessions):
                raise UsageError("the application has no sessions: tornado.web.Application(…, sessions=Sessions(…))")
            self.__sessions = sessions
        return self.__sessions

    @property
    def session(self) -> Session:
        """This visitor's session. Raises ``UsageError`` before ``prepare`` has loaded it."""
        return self.__request_session().session

    @property
    def is_secure(self) -> bool:
        """Whether the browser spoke https, to this server or to a trusted proxy."""
        return self.__request_session().info.secure

    @property
    def client_ip(self) -> str:
        """The client's address, read through trusted proxies only."""
        return self.__request_session().info.ip

    def get_current_user(self) -> Any:
        """Return the id of the logged-in user, or ``None``: used by ``self.current_user`` and ``@authenticated``."""
        return self.session.user

    async def log_in(
        self,
        user_id: str,
        *,
        lifetime: float | timedelta | None = None,
        idle_timeout: float | timedelta | None = None,
        persistent: bool = True,
    ) -> None:
        """Log a user in: always with a new token, the old one dead at once.

        Args:
            user_id: becomes ``session.user`` and ``current_user``: a non-empty ``str`` of at most 512 bytes of UTF-8.
            lifetime: seconds that this session lives ("remember me"), at most 400 days; ``None``: as configured.
            idle_timeout: with a ``lifetime``: seconds without a request after which it ends earlier; ``None``: never.
            persistent: with a ``lifetime``: whether the cookie outlives the browser.

        Raises:
            UsageError: an argument is anything else, or the headers have been sent; nobody was logged in.
            TooManySessions: the configuration refuses another session of this user.
            StoreUnavailable: nobody was logged in.
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
        """End the session for good, drop what is pending, clear the cookie. Harmless for a visitor."""
        await self.__stored()
        request = self.__request_session()
        if self.__outgoing is not None and not isinstance(self, WebSocketHandler):
            # The response to the sign-out itself is not cut, only the session's other connections are.
            self.__outgoing.unwatch()
        await self.sessions.end(request)
        self.__forget_current_user()

    async def rotate_session(self, *, at_once: bool = False) -> None:
        """Give the session a new token.

        Args:
            at_once: the old one is dead at once, as after a change of password; else it works for ``rotation_grace`` seconds more.

        Raises:
            SessionGone: the session has ended.
        """
        await self.sessions.rotate(self.__with_cookie("rotate"), at_once=at_once)

    async def save_session(self) -> None:
        """Store what changed, now. Raises ``SessionGone`` when the session has ended."""
        await self.__stored()
        await self.sessions.commit(self.__request_session(), may_rotate=False)

    async def reload_session(self) -> None:
        """Drop what is pending and take what is stored now. Raises ``SessionGone`` when the session has ended."""
        await self.__stored()
        await self.sessions.reload(self.__request_session())

    def close_for_session(self) -> Awaitable[None] | None:
        """Close this WebSocket or stream: its session was ended elsewhere.

        Override it to say good-bye first, then call ``super().close_for_session()``; it may be a coroutine. If it raises, or takes
        longer than half a second, the connection is cut.
        """
        close_connection(self)
        return None

    # --- the way in ----------------------------------------------------------------------------------------------

    def prepare(self) -> Awaitable[None]:
        """Load the session, then call the base class' ``prepare``; to be awaited.

        Raises:
            StoreUnavailable: the session cannot be loaded; it becomes a 503.
        """
        if "Cookie" not in self.request.headers and not isinstance(self, WebSocketHandler):
            # No cookie: create the session lazily; most handlers never touch it.
            self.__prepared = True
            return super().prepare() or _DONE
        return self.__load()

    async def __load(self) -> None:
        sessions, info = self.sessions, self.__request_info()
        is_socket = isinstance(self, WebSocketHandler)
        found = sessions.cookies.read(self.request.headers.get("Cookie"), secure=info.secure)
        if not found or (is_socket and self.__is_foreign_handshake()):
            request = sessions.new_request_session(info)
        elif len(found) == 1:
            request = await sessions.fetch(found[0], info)
        else:
            request = await sessions.fetch_one_of(found, info)
        self.__outgoing = Outgoing(sessions, request)
        self.__prepared = True
        if is_socket:
            await self.__prepare_socket(request)
        prepared = super().prepare()
        if prepared is not None:
            await prepared

    def __request_info(self) -> RequestInfo:
        """When and from where this request came, and whether its cookie is a secure one."""
        sessions, request = self.sessions, self.request
        origin = sessions.proxies.of(request)
        wanted = sessions.config.secure
        secure = origin.secure if wanted == "auto" else bool(wanted)
        user_agent = request.headers.get("User-Agent", "")[:_USER_AGENT]
        return RequestInfo(sessions.clock(), origin.ip, user_agent, self.touches, secure)

    def __is_foreign_handshake(self) -> bool:
        """Tornado checks a WebSocket's origin after ``prepare``, but a page elsewhere must not even touch the session."""
        return self._check_cross_origin(self.check_origin) is not None  # type: ignore[attr-defined]

    async def __prepare_socket(self, request: RequestSession) -> None:
        """A handshake counts as a request. After it there is no response that could wait for a commit."""
        try:
            await self.sessions.commit(request, may_rotate=False)
        except SessionGone:
            request = self.sessions.new_request_session(request.info)
            self.__outgoing = Outgoing(self.sessions, request)
        request.session.freeze("a WebSocket can send no cookie: store something before it opens")
        if self.__outgoing is not None:
            self.__outgoing.watch(self)

    def __request_session(self) -> RequestSession:
        """This request and its session, created now for a visitor without a cookie."""
        if self.__outgoing is not None:
            return self.__outgoing.request
        if not self.__failing and not self.__prepared:
            raise UsageError(
                "the session is not loaded: a handler with its own prepare() awaits super().prepare() first"
            )
        request = self.sessions.new_request_session(self.__request_info())
        if self._headers_written:
            request.session.freeze(TOO_LATE)
        if self.__prepared:
            self.__outgoing = Outgoing(self.sessions, request)
        # Else this is the error page of a request whose session was never loaded: it sees a visitor, and nothing is stored.
        return request

    def __with_cookie(self, action: str) -> RequestSession:
        if self._headers_written or isinstance(self, WebSocketHandler):
            raise UsageError(f"cannot {action}: the headers are sent, so the new token could not reach the browser")
        return self.__request_session()

    async def __stored(self) -> None:
        if self.__outgoing is not None:
            await self.__outgoing.stored()

    def __forget_current_user(self) -> None:
        """Have ``get_current_user`` called again, which an application may have replaced: Tornado remembers its answer."""
        vars(self).pop("_current_user", None)

    # --- the way out ---------------------------------------------------------------------------------------------

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's signature
        """As in Tornado; where the session has to be stored first, the bytes wait for that.

        Every response leaves through here, also one that ``finish``, ``redirect``, ``render`` or ``send_error`` ends.

        Returns:
            A future that is done when the bytes have left. It raises what the store raised, where nothing has left before.
        """
        if self.__retry_after is not None and not self._headers_written:
            # As late as this, because Tornado's send_error() clears earlier headers.
            self.set_header("Retry-After", str(math.ceil(self.__retry_after)))
        if self.__outgoing is not None:
            self.__outgoing.before_flush(self, is_last=include_footers)
        return super().flush(include_footers)

    def detach(self) -> IOStream:
        """As in Tornado: from now on the stream is the application's.

        Raises:
            UsageError: the session has changes that are not stored. Nothing stores them after this, so ``await self.flush()`` or
                ``await self.save_session()`` first.
        """
        if self.get_status() != 101 and self.__outgoing is not None:
            self.__outgoing.before_detach(self)
        return super().detach()

    def on_connection_close(self) -> None:
        """The other end went away."""
        if self.__outgoing is not None:
            self.__outgoing.unwatch()
        super().on_connection_close()

    def _handle_request_exception(self, e: BaseException) -> None:
        # Before anything uses the session: log_exception() and write_error() may, also where prepare() was never called.
        self.__failing = True
        super()._handle_request_exception(e)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As in Tornado; an error of ours brings its own status and, where trying again helps, ``Retry-After``."""
        self.__failing = True
        if self.__outgoing is not None:
            self.__outgoing.forget_refusal()
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, SessionError):
            status_code, self.__retry_after = error.status, error.retry_after
            if self.__outgoing is not None:
                # What could not be stored now cannot be stored with the error page either.
                self.__outgoing.drop_changes()
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log one line for what is no fault of the program, such as an outage; else as in Tornado."""
        if isinstance(value, SessionError) and value.status != 500:
            logger.warning("%s: %s", self._request_summary(), value)
        else:
            super().log_exception(typ, value, tb)
