"""``SessionMixin``: Tornado's moments → calls of ``Sessions`` → ``Set-Cookie``; nothing else.

It must not know stores, rules or how a cookie is signed. The one idea: a response leaves only after its change is stored, so
``finish`` and ``flush`` commit first.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakMethod

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions.cache_headers import forbid_caching
from tornado_sessions.change import own_lifetime
from tornado_sessions.cookie import join_cookie_lines
from tornado_sessions.errors import SessionError, SessionGone, UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.request import PendingSave, RequestInfo, RequestSession
from tornado_sessions.response import HeldResponse
from tornado_sessions.session import Session

__all__ = ["SessionMixin"]

logger = logging.getLogger("tornado_sessions")

# RFC 6455 7.4.1: 1008 is "policy violation".
_SOCKET_CLOSED = 1008
# Seconds that a browser gets to answer a close frame; after that nothing more is read from it.
_SOCKET_GRACE = 0.5
# Characters of a User-Agent that are kept.
_USER_AGENT = 512
_TOO_LATE = "cannot start a session: the response headers have already been sent"
_FINISHED = "cannot change the session: the response is finished, and nothing stores what changes after it"
_DETACHED = (
    "cannot detach: the session has changes that are not stored; await self.flush() or self.save_session() first"
)
#: What Tornado's finish() calls once it has handed over the last byte.
_AFTER_THE_LAST_BYTE = ("_log", "on_finish", "_break_cycles")


def _holds_changes(pending: PendingSave | Exception | None) -> bool:
    """Whether the visitor's own changes are to be stored, not only housekeeping."""
    return bool(pending.delta) if isinstance(pending, PendingSave) else pending is not None


class _Done(tuple[()]):
    """Awaited, it is done at once, without the cost of a coroutine."""

    __slots__ = ()
    __await__ = tuple.__iter__


_READY: Awaitable[None] = _Done()  # type: ignore[assignment]


class _Watched:
    """One open connection, as ``Live`` knows it; the handler holds it, so it is gone when the handler is."""

    __slots__ = ("__weakref__", "_close", "handle")

    def __init__(self, handle: str, close: WeakMethod[Callable[[], None]]) -> None:
        self.handle = handle
        self._close = close

    def close_for_session(self) -> None:
        close = self._close()
        if close is not None:
            close()


if TYPE_CHECKING:
    _Handler = RequestHandler
else:
    _Handler = object


class SessionMixin(_Handler):
    """Gives a ``RequestHandler`` or ``WebSocketHandler`` its ``self.session``; stands before it in the list of bases.

    The session is loaded in ``prepare``; a handler with its own awaits ``super().prepare()`` first. Changes are stored before the
    response leaves; a response of status 5xx stores nothing.
    """

    # Names of our own begin with two underscores: a subclass may call its methods _load or _store and must not replace ours.

    #: Whether a request counts as use of the session, which moves ``last_seen_at`` and the idle limit. ``False`` suits what a page
    #: asks for by itself: polling, event streams.
    touches: ClassVar[bool] = True

    __sessions: Sessions | None = None
    __request_session: RequestSession | None = None
    __prepared = False
    __failing = False
    __retry_after: float | None = None
    __held: HeldResponse | None = None
    __storing: asyncio.Task[None] | None = None
    __is_more_pending = False
    __refused: Exception | None = None
    __answered: tuple[int, str] | None = None
    #: What the held bytes wait for.
    __draft: PendingSave | Exception | None = None
    #: Whether an error page replaces a response that could not be stored; nothing more is stored then.
    __gives_up = False
    __watched: _Watched | None = None
    __closing: asyncio.Future[None] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        bases = cls.__mro__
        if RequestHandler in bases and bases.index(RequestHandler) < bases.index(SessionMixin):
            raise UsageError(f"{cls.__name__}: SessionMixin must stand before the handler in the list of bases")

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        # Before Tornado reads a cookie: its XSRF check runs before prepare().
        join_cookie_lines(request.headers)
        super().__init__(application, request, **kwargs)

    # --- what handlers use ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """The application's ``Sessions``. Raises ``UsageError`` when the application was made without."""
        if self.__sessions is None:
            sessions = self.application.settings.get("sessions")
            if not isinstance(sessions, Sessions):
                raise UsageError("the application has no sessions: tornado.web.Application(…, sessions=Sessions(…))")
            self.__sessions = sessions
        return self.__sessions

    @property
    def session(self) -> Session:
        """This visitor's session. Raises ``UsageError`` before ``prepare`` has loaded it."""
        return self._request_session().session

    @property
    def is_secure(self) -> bool:
        """Whether the browser spoke https, to this server or to a trusted proxy."""
        return self._request_session().info.secure

    @property
    def client_ip(self) -> str:
        """The client's address, read through trusted proxies only."""
        return self._request_session().info.ip

    def get_current_user(self) -> Any:
        """The id of the user who is logged in, or ``None``: what ``self.current_user`` and ``@authenticated`` use."""
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
        request_session = self.__with_cookie("log in")
        if lifetime is None and idle_timeout is not None:
            raise UsageError("log_in(idle_timeout=…) needs a lifetime as well")
        own = None if lifetime is None else own_lifetime(lifetime, idle_timeout, persistent)
        await self.sessions.log_in(request_session, user_id, own)
        self.__forget_current_user()

    async def log_out(self) -> None:
        """End the session and clear its cookie; same as ``destroy_session``."""
        await self.destroy_session()

    async def destroy_session(self) -> None:
        """End the session for good, drop what is pending, clear the cookie. Harmless for a visitor."""
        await self.__stored()
        if not isinstance(self, WebSocketHandler):
            # The response of whoever signs out goes on to its end; it is others that are cut.
            self.__unwatch()
        await self.sessions.end(self._request_session())
        self.__forget_current_user()

    async def rotate_session(self, *, at_once: bool = False) -> None:
        """Give the session a new token.

        Args:
            at_once: the old one is dead at once, as after a change of password; else it works for ``rotation_grace`` seconds more.

        Raises:
            SessionGone: it has ended meanwhile.
        """
        await self.sessions.rotate(self.__with_cookie("rotate"), at_once=at_once)

    async def save_session(self) -> None:
        """Store what changed, now. Raises ``SessionGone`` when the session ended meanwhile."""
        await self.__stored()
        await self.sessions.commit(self._request_session(), may_rotate=False)

    async def reload_session(self) -> None:
        """Drop what is pending and take what is stored now. Raises ``SessionGone`` when the session ended meanwhile."""
        await self.__stored()
        await self.sessions.reload(self._request_session())

    def close_for_session(self) -> Awaitable[None] | None:
        """The session ended elsewhere: close this WebSocket or stream.

        Override it to say good-bye first, then call ``super().close_for_session()``; it may be a coroutine. If it raises, or takes
        longer than half a second, the connection is cut.
        """
        if isinstance(self, WebSocketHandler):
            self.close(_SOCKET_CLOSED, "session ended")
            asyncio.get_running_loop().call_later(_SOCKET_GRACE, self.__drop_connection)
        else:
            self.__drop_connection()
        return None

    # --- Tornado's moments: the way in ---------------------------------------------------------------------------

    def prepare(self) -> Awaitable[None]:
        """Load the session, then call the base class' ``prepare``; to be awaited.

        Raises:
            StoreUnavailable: the session cannot be loaded; it becomes a 503.
        """
        if "Cookie" not in self.request.headers and not isinstance(self, WebSocketHandler):
            # No cookie: create the session lazily; most handlers never touch it.
            self.__prepared = True
            return super().prepare() or _READY
        return self.__load()

    async def __load(self) -> None:
        sessions, info = self.sessions, self.__request_info()
        is_socket = isinstance(self, WebSocketHandler)
        found = sessions.cookies.read(self.request.headers.get("Cookie"), secure=info.secure)
        if not found or (is_socket and self.__is_foreign_handshake()):
            self.__request_session = sessions.new_request_session(self.__request_info())
        elif len(found) == 1:
            self.__request_session = await sessions.fetch(found[0], info)
        else:
            self.__request_session = await sessions.fetch_one_of(found, info)
        self.__prepared = True
        if is_socket:
            await self.__prepare_socket()
        prepared = super().prepare()
        if prepared is not None:
            await prepared

    async def __stored(self) -> None:
        """Wait for what an earlier ``flush`` is storing: a new session that is on its way must not be made twice, or missed."""
        if self.__held is not None and self.__storing is not None:
            await asyncio.wait([self.__storing])

    def __forget_current_user(self) -> None:
        """Have ``get_current_user`` asked again, which an application may have replaced: Tornado remembers its answer."""
        vars(self).pop("_current_user", None)

    def __request_info(self) -> RequestInfo:
        """When and from where this request came, and whether its cookie is a secure one."""
        sessions, request = self.sessions, self.request
        origin = sessions.proxies.of(request)
        wanted = sessions.config.secure
        secure = origin.secure if wanted == "auto" else bool(wanted)
        user_agent = request.headers.get("User-Agent", "")[:_USER_AGENT]
        return RequestInfo(sessions.clock(), origin.ip, user_agent, self.touches, secure)

    def __is_foreign_handshake(self) -> bool:
        """Tornado checks a WebSocket's origin after ``prepare``; a page elsewhere must not even touch the session."""
        return self._check_cross_origin(self.check_origin) is not None  # type: ignore[attr-defined]

    async def __prepare_socket(self) -> None:
        """A handshake counts as a request; after it there is no response that could wait for a commit."""
        request_session = self._request_session()
        try:
            await self.sessions.commit(request_session, may_rotate=False)
        except SessionGone:
            self.__request_session = self.sessions.new_request_session(request_session.info)
        request_session.session.freeze("a WebSocket can send no cookie: store something before it opens")
        self.__watch()

    def __watch(self) -> None:
        """Have this connection closed when its session ends."""
        record = self._request_session().session.record
        if record is not None and self.__watched is None:
            self.__watched = _Watched(record.handle, WeakMethod(self.__close))
            self.sessions.live.add(record.handle, self.__watched, record.expires_at)

    def __unwatch(self) -> None:
        watched, self.__watched = self.__watched, None
        if watched is not None:
            self.sessions.live.remove(watched.handle, watched)

    def __close(self) -> None:
        """The session ended: close for sure, whatever the application's ``close_for_session`` does."""
        try:
            closing = self.close_for_session()
        except Exception as error:  # noqa: BLE001 - the application's own method, called by whoever ended the session
            self.__cut(error)
        else:
            if isawaitable(closing):
                self.__closing = asyncio.ensure_future(self.__close_in_time(closing))

    async def __close_in_time(self, closing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(_SOCKET_GRACE):
                await closing
        except Exception as error:  # noqa: BLE001 - as above
            self.__cut(error)

    def __cut(self, error: Exception) -> None:
        logger.warning("%s: close_for_session() failed, so the connection is cut: %r", self._request_summary(), error)
        self.__drop_connection()

    def on_connection_close(self) -> None:
        """The other end went away."""
        self.__unwatch()
        super().on_connection_close()

    # --- Tornado's moments: the way out --------------------------------------------------------------------------

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's signature
        """As in Tornado; where the session has to be stored first, the bytes wait for that.

        Every response leaves through here, also one that ``finish``, ``redirect``, ``render`` or ``send_error`` ends. Tornado
        composes it at once, so that headers, body and "is it answered?" are what they are without sessions; while the store is
        asked, a ``HeldResponse`` in the place of the connection keeps the bytes.

        Returns:
            A future that is done when the bytes have left. It raises what the store raised, where nothing has left before.
        """
        if self.__refused is not None:
            # An earlier flush() could not be stored, and nobody awaited it: the response must not go on as if it had been.
            refused, self.__refused = self.__refused, None
            raise refused
        if self.__held is not None:
            # Earlier bytes wait already, so these queue behind them; a change made since then is stored before any of them leave.
            self.__is_more_pending = True
        else:
            pending = self.__pending()
            if pending is not None:
                self.__hold(pending)
            elif not self._headers_written:
                self.__set_headers(self._headers)
        self.__follow_stream(is_last=include_footers)
        return super().flush(include_footers)

    def detach(self) -> IOStream:
        """As in Tornado: from now on the stream is the application's.

        Raises:
            UsageError: the session has changes that are not stored. Nothing stores them behind this, so ``await self.flush()`` or
                ``await self.save_session()`` first.
        """
        if self.get_status() != 101 and self.__request_session is not None:
            self.__let_go(self.__request_session)
        return super().detach()

    def __let_go(self, request_session: RequestSession) -> None:
        """Send what is held, if only housekeeping is being stored; the store's answer finds nothing to release then."""
        is_owed = self.__held is not None and _holds_changes(self.__draft)
        if self.__held is None or self.__is_more_pending:
            is_owed = is_owed or _holds_changes(self.__pending())
        if is_owed:
            raise UsageError(_DETACHED)
        if self.__held is not None:
            self.__release(self.__held)
        self.__unwatch()
        request_session.session.freeze(_TOO_LATE)

    def _handle_request_exception(self, e: BaseException) -> None:
        # Before anything asks for the session: log_exception() and write_error() may, also where prepare() was never called.
        self.__failing = True
        super()._handle_request_exception(e)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As in Tornado; an error of ours brings its own status and, where trying again helps, ``Retry-After``."""
        self.__failing, self.__refused = True, None
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, SessionError):
            status_code, self.__retry_after = error.status, error.retry_after
            # What could not be stored now cannot be stored with the error page either.
            self.__drop_changes()
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """One line for what is no fault of the program, such as an outage; else as in Tornado."""
        if isinstance(value, SessionError) and value.status != 500:
            logger.warning("%s: %s", self._request_summary(), value)
        else:
            super().log_exception(typ, value, tb)

    def __pending(self) -> PendingSave | Exception | None:
        """What has to be stored before the next bytes leave; an error where it cannot be encoded."""
        request_session = self.__request_session
        if request_session is None or self.get_status() >= 500:
            return None
        if self.__gives_up:
            self.__drop_changes()
            return None
        try:
            pending = self.sessions.pending_save(request_session, may_rotate=not self._headers_written)
        except SessionGone as gone:
            self.__drop_writes(request_session, gone)
            return None
        except SessionError as error:
            return error
        if pending is not None and self.get_status() == 101:
            # The handshake's bytes cannot wait: Tornado takes the connection away right behind them.
            if pending.delta:
                raise UsageError("save the session before the handshake: await self.save_session() in prepare()")
            return None
        return pending

    def __hold(self, pending: PendingSave | Exception) -> None:
        """Keep the bytes from now on, and ask the store."""
        connection = self.request.connection
        assert connection is not None  # noqa: S101 - for the type checker: it is there until the response is finished
        self.request.connection = self.__held = HeldResponse(connection)
        self.__is_more_pending, self.__draft = False, pending
        self.__storing = asyncio.ensure_future(self.__store(self.__held, pending))

    async def __store(self, held: HeldResponse, pending: PendingSave | Exception | None) -> None:
        while isinstance(pending, PendingSave):
            self.__draft = pending
            try:
                await self.__commit(pending)
                pending = self.__pending_since()
            except Exception as error:  # noqa: BLE001 - it becomes the response, as in Tornado's own _execute
                pending = error
        if self.__held is not held:
            return
        if pending is None:
            self.__release(held)
        else:
            self.__refuse(held, pending)

    def __pending_since(self) -> PendingSave | Exception | None:
        """What has to be stored for the bytes that joined the held ones since the last draft."""
        if not self.__is_more_pending:
            return None
        self.__is_more_pending = False
        return self.__pending()

    async def __commit(self, pending: PendingSave) -> None:
        request_session = self._request_session()
        try:
            await self.sessions.commit(request_session, pending)
        except SessionGone as gone:
            self.__drop_writes(request_session, gone)

    @staticmethod
    def __drop_writes(request_session: RequestSession, gone: SessionGone) -> None:
        """The session ended, or got a new token, while this request ran: the answer stands, its writes are dropped."""
        logger.info("%s", gone)
        request_session.session.reset(None)

    def __release(self, held: HeldResponse) -> None:
        """Send what was held, and do what Tornado does when a response has left."""
        self.request.connection, self.__held = held.connection, None
        if held.headers is not None:
            self.__set_headers(held.headers)
        try:
            held.release()
        except Exception as error:  # noqa: BLE001 - headers or a body that make no valid response
            held.drop(error)
            # Nobody knows what of it has left; no response can follow.
            self.__drop_connection()
            if held.is_finished:
                self._handle_request_exception(error)
            else:
                self.__refused = error
        if held.is_finished:
            self.__finish_up()
        else:
            self.__watch()

    def __refuse(self, held: HeldResponse, error: Exception) -> None:
        """The session could not be stored: nothing of what was held may leave."""
        self.request.connection, self.__held = held.connection, None
        self.__drop_changes()
        if held.headers is None:
            # The beginning has left, so no error page can follow. A cut connection tells the client that this is not all.
            held.drop(error)
            self.log_exception(type(error), error, error.__traceback__)
            self.__drop_connection()
            self.__finish_up()
            return
        if self.__request_session is not None:
            self.__request_session.session.thaw()
        # As if nothing had been sent. Transforms (gzip) have seen the old body, so there are new ones for the error page.
        self._headers_written = self._finished = False
        self._write_buffer = []
        self._transforms = [transform(self.request) for transform in self.application.transforms]
        self.__answered = None
        if held.is_finished:
            # One error page: what write_error() changes may be as impossible to store, and would be refused without end.
            self.__gives_up = True
            try:
                raise error  # noqa: TRY301 - Tornado's method reads sys.exc_info()
            except Exception as refused:  # noqa: BLE001
                self.__send_error_page(refused)
            held.drop(None)
        else:
            # The handler goes on; it hears of this at its flush(), or at the next one if it does not await that.
            self.__refused = None if held.is_awaited else error
            held.drop(error)

    def __send_error_page(self, error: Exception) -> None:
        try:
            self._handle_request_exception(error)
        except Exception:
            # An application's own send_error(). Without a response, the client would wait for ever.
            logger.exception("%s: no error page could be sent", self._request_summary())
            self.__drop_connection()

    def __follow_stream(self, *, is_last: bool) -> None:
        """At each flush: watch the session of a response that goes on; close its changes when the response is complete."""
        request_session = self.__request_session
        if request_session is None or self.get_status() == 101:
            return
        if is_last:
            self.__unwatch()
            request_session.session.freeze(_FINISHED, also_stored=True)
            if self.__held is not None:
                self.__postpone()
        elif self.__held is None:
            self.__watch()

    def __postpone(self) -> None:
        """Keep Tornado's ``finish`` from doing now what belongs behind the last byte: it calls each of these once."""
        own = vars(self)
        # The status with which the response leaves: a set_status() behind finish() changes no log line.
        self.__answered = self._status_code, self._reason
        for name in _AFTER_THE_LAST_BYTE:
            own[name] = partial(self.__skip, name, own.get(name))

    def __skip(self, name: str, replaced: Callable[[], object] | None) -> None:
        """Stands in for what is postponed, for one call."""
        own = vars(self)
        del own[name]
        if replaced is not None:
            own[name] = replaced

    def __finish_up(self) -> None:
        """Do what Tornado does when the last byte of a response has been handed over."""
        if self.__answered is None:
            return
        (self._status_code, self._reason), self.__answered = self.__answered, None
        try:
            self._log()
            self.on_finish()
            self._break_cycles()
        except Exception as error:  # noqa: BLE001 - an error in on_finish is logged, as in Tornado's own _execute
            self._handle_request_exception(error)

    def __drop_changes(self) -> None:
        if self.__request_session is not None:
            self.__request_session.session.reset(self.__request_session.session.record)

    def __set_headers(self, headers: HTTPHeaders) -> None:
        """Say in a response's headers what caches and the browser must know; last of all, since errors clear headers."""
        request_session = self.__request_session
        if self.__retry_after is not None:
            headers["Retry-After"] = str(math.ceil(self.__retry_after))
        if request_session is None:
            return
        request_session.session.freeze(_TOO_LATE)
        if request_session.set_cookie is not None:
            self.__add_set_cookie(request_session, headers)
        elif not request_session.session.accessed:
            return
        forbid_caching(headers)

    def __add_set_cookie(self, request_session: RequestSession, headers: HTTPHeaders) -> None:
        """Send our cookie, and not also one of its name that Tornado sends: the last one would win."""
        cookie, request_session.set_cookie = request_session.set_cookie or "", None
        name = self.sessions.cookies.name(secure=request_session.info.secure)
        pending: dict[str, Any] = getattr(self, "_new_cookie", {})
        if name in pending:
            if (
                request_session.presented is not None
                and request_session.presented.secret_hash == request_session.carried
            ):
                # The application cleared its cookies; a token that the browser had before does not undo that.
                return
            del pending[name]
            # In a response that was held, it stands among the headers already.
            lines = [line for line in headers.get_list("Set-Cookie") if not line.startswith(f"{name}=")]
            headers.pop("Set-Cookie", None)
            for line in lines:
                headers.add("Set-Cookie", line)
        headers.add("Set-Cookie", cookie)

    def __drop_connection(self) -> None:
        """Cut the connection; a handler in the middle of a stream gets ``StreamClosedError`` at its next ``flush``."""
        socket = getattr(self, "ws_connection", None)
        stream = getattr(socket or self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    def __with_cookie(self, act: str) -> RequestSession:
        if self._headers_written or isinstance(self, WebSocketHandler):
            raise UsageError(f"cannot {act}: the headers are sent, so the new token could not reach the browser")
        return self._request_session()

    def _request_session(self) -> RequestSession:
        if self.__request_session is not None:
            return self.__request_session
        if not self.__failing and not self.__prepared:
            raise UsageError(
                "the session is not loaded: a handler with its own prepare() awaits super().prepare() first"
            )
        request_session = self.sessions.new_request_session(self.__request_info())
        if self._headers_written:
            request_session.session.freeze(_TOO_LATE)
        if self.__prepared:
            self.__request_session = request_session
        # Else it is an error page of a request that never got as far: it sees a visitor, and nothing is stored.
        return request_session
