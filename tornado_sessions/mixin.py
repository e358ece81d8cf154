"""``SessionMixin``: Tornado's moments → calls of ``Sessions`` → ``Set-Cookie``; nothing else.

It must not know stores, rules or how a cookie is signed. The one idea: a response leaves only after its change is stored, so
``finish`` and ``flush`` commit first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions.caching import forbid_caching
from tornado_sessions.cookie import join_cookie_lines
from tornado_sessions.errors import SessionError, SessionGone, StoreUnavailable, UsageError
from tornado_sessions.lifecycle import Lifetime, Moment
from tornado_sessions.manager import Sessions
from tornado_sessions.session import Session
from tornado_sessions.visit import Draft, Visit

__all__ = ["SessionMixin"]

logger = logging.getLogger("tornado_sessions")

# RFC 6455 7.4.1: 1008 is "policy violation".
_SOCKET_CLOSED = 1008
# Seconds that a browser gets to answer a close frame; after that nothing more is read from it.
_SOCKET_GRACE = 0.5
# Characters of a User-Agent that are kept.
_USER_AGENT = 512
_TOO_LATE = "the headers are sent: a new session can get no cookie any more"


class _Ready(tuple[()]):
    """Awaited, it is done at once, without the cost of a coroutine."""

    __slots__ = ()
    __await__ = tuple.__iter__


_READY: Awaitable[None] = _Ready()  # type: ignore[assignment]

if TYPE_CHECKING:
    _Handler = RequestHandler
else:
    _Handler = object


class SessionMixin(_Handler):
    """Gives a ``RequestHandler`` or ``WebSocketHandler`` its ``self.session``; stands before it in the list of bases.

    The session is loaded in ``prepare``; a handler with its own awaits ``super().prepare()`` first. Changes are stored before the
    response leaves; a response of status 5xx stores nothing.
    """

    _sessions: Sessions | None = None
    _visit: Visit | None = None
    _prepared = False
    _failing = False
    _finishing: asyncio.Task[None] | None = None
    _flushing: asyncio.Task[None] | None = None
    _leaving = False
    _retry_after: int | None = None
    _watched: str | None = None

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        # Before Tornado reads a cookie: its XSRF check runs before prepare().
        join_cookie_lines(request.headers)
        super().__init__(application, request, **kwargs)

    # --- what handlers use ---------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Sessions:
        """The application's ``Sessions``. Raises ``UsageError`` when the application was made without."""
        if self._sessions is None:
            sessions = self.application.settings.get("sessions")
            if not isinstance(sessions, Sessions):
                raise UsageError("the application has no sessions: tornado.web.Application(…, sessions=Sessions(…))")
            self._sessions = sessions
        return self._sessions

    @property
    def session(self) -> Session:
        """This visitor's session. Raises ``UsageError`` before ``prepare`` has loaded it."""
        return self._visited().session

    @property
    def client_ip(self) -> str:
        """The client's address, read through trusted proxies only."""
        return self._visited().moment.ip

    def get_current_user(self) -> Any:
        """The id of the user who is logged in, or ``None``: what ``self.current_user`` and ``@authenticated`` use."""
        return self.session.user

    async def log_in(
        self,
        user_id: str,
        *,
        lifetime: float | None = None,
        idle_timeout: float | None = None,
        persistent: bool = True,
    ) -> None:
        """Log a user in: a new token always, the old one dead at once.

        Args:
            user_id: what ``session.user`` and ``current_user`` become.
            lifetime: seconds that this session lives ("remember me"); ``None``: as configured.
            idle_timeout: with a ``lifetime``: seconds without use after which it ends; ``None``: it may rest.
            persistent: with a ``lifetime``: the cookie outlives the browser.

        Raises:
            TooManySessions: the configuration refuses another session of this user.
            StoreUnavailable: nobody was logged in.
        """
        visit = self._with_cookie("log in")
        own = None if lifetime is None else Lifetime(lifetime, persistent, idle_timeout)
        await self.sessions.log_in(visit, user_id, own)
        self.current_user = user_id

    async def log_out(self) -> None:
        """End the session and clear its cookie; same as ``destroy_session``."""
        await self.destroy_session()

    async def destroy_session(self) -> None:
        """End the session for good, drop what is pending, clear the cookie. Harmless for a visitor."""
        await self.sessions.end(self._visited())
        self.current_user = None

    async def rotate_session(self, *, at_once: bool = False) -> None:
        """Give the session a new token.

        Args:
            at_once: the old one is dead at once, as after a change of password; else it works for ``rotation_grace`` seconds more.

        Raises:
            SessionGone: it has ended meanwhile.
        """
        await self.sessions.rotate(self._with_cookie("rotate"), at_once=at_once)

    async def save_session(self) -> None:
        """Store what changed, now. Raises ``SessionGone`` when the session ended meanwhile."""
        await self.sessions.commit(self._visited(), may_rotate=False)

    async def reload_session(self) -> None:
        """Drop what is pending and take what is stored now. Raises ``SessionGone`` when the session ended meanwhile."""
        await self.sessions.reload(self._visited())

    def close_for_session(self) -> None:
        """The session ended elsewhere: close this WebSocket or stream. Override to say good-bye first."""
        if isinstance(self, WebSocketHandler):
            self.close(_SOCKET_CLOSED, "session ended")
            asyncio.get_running_loop().call_later(_SOCKET_GRACE, self._drop_connection)
        else:
            self._drop_connection()

    # --- Tornado's moments: the way in ---------------------------------------------------------------------------

    def prepare(self) -> Awaitable[None]:
        """Load the session; to be awaited. Raises ``StoreUnavailable``, which becomes a 503."""
        before = super().prepare()
        if before is None and "Cookie" not in self.request.headers and not isinstance(self, WebSocketHandler):
            # Nothing to load. The session of a visitor is made when it is asked for, which it mostly never is.
            self._prepared = True
            return _READY
        return self._load(before)

    async def _load(self, before: Awaitable[None] | None) -> None:
        if before is not None:
            await before
        sessions, is_socket = self.sessions, isinstance(self, WebSocketHandler)
        moment, secure = self._moment(sessions)
        found = sessions.cookies.read_all(self.request.headers.get("Cookie"), secure=secure)
        if not found or (is_socket and self._is_foreign_handshake()):
            self._visit = sessions.visitor(moment, secure=secure)
        elif len(found) == 1:
            self._visit = await sessions.fetch(found[0], moment, secure=secure)
        else:
            self._visit = await sessions.fetch_one_of(found, moment, secure=secure)
        self._prepared = True
        if is_socket:
            await self._prepare_socket()

    def _moment(self, sessions: Sessions) -> tuple[Moment, bool]:
        """When and from where this request came, and whether its cookie is a secure one."""
        request = self.request
        origin = sessions.proxies.of(request)
        wanted = sessions.config.secure
        user_agent = request.headers.get("User-Agent", "")[:_USER_AGENT]
        return Moment(sessions.clock(), origin.ip, user_agent), origin.secure if wanted == "auto" else bool(wanted)

    def _is_foreign_handshake(self) -> bool:
        """Tornado checks a WebSocket's origin after ``prepare``; a page elsewhere must not even touch the session."""
        return self._check_cross_origin(self.check_origin) is not None  # type: ignore[attr-defined]

    async def _prepare_socket(self) -> None:
        """A handshake counts as a request; after it there is no response that could wait for a commit."""
        visit = self._visited()
        try:
            await self.sessions.commit(visit, may_rotate=False)
        except SessionGone:
            self._visit = self.sessions.visitor(visit.moment, secure=visit.secure)
        visit.session.freeze("a WebSocket can send no cookie: store something before it opens")
        self._watch()

    def _watch(self) -> None:
        """Have this connection closed when its session ends."""
        record = self._visited().session.record
        if record is not None and self._watched is None:
            self._watched = record.handle
            self.sessions.live.add(record.handle, self, record.expires_at)

    def _unwatch(self) -> None:
        handle, self._watched = self._watched, None
        if handle is not None:
            self.sessions.live.remove(handle, self)

    def on_connection_close(self) -> None:
        """The other end went away."""
        self._unwatch()
        super().on_connection_close()

    # --- Tornado's moments: the way out --------------------------------------------------------------------------

    def write(self, chunk: str | bytes | dict[str, Any]) -> None:
        """As in Tornado; refused after ``finish``, also while that still stores the session."""
        if self._finishing is not None and not self._failing:
            raise RuntimeError("Cannot write() after finish()")
        super().write(chunk)

    def flush(self, include_footers: bool = False) -> asyncio.Future[None]:  # noqa: FBT001, FBT002 - Tornado's signature
        """As in Tornado, after the session is stored: what is flushed cannot be taken back."""
        # Tornado's finish() flushes as well, after ours has stored what there was.
        if self._leaving or self._must_pass_through() or self._finishing is not None:
            return super().flush(include_footers)
        draft = None
        if self._flushing is None:
            draft, is_stored = self._draft()
            if is_stored:
                self._before_headers()
                self._watch_stream()
                return super().flush(include_footers)
        before, self._flushing = self._flushing, None
        self._flushing = asyncio.ensure_future(self._commit_and_flush(before, draft, include_footers))
        return self._flushing

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """As in Tornado, after the session is stored; the future is done when the response has left."""
        if self._finishing is not None and not self._failing:
            raise RuntimeError("finish() called twice")
        if self._visit is None and self._retry_after is None:
            self._leaving = True
            return super().finish(chunk)
        draft, is_stored = None, self._must_pass_through()
        if not is_stored and self._flushing is None:
            draft, is_stored = self._draft()
        if is_stored:
            self._before_headers()
            self._unwatch_stream()
            self._leaving = True
            return super().finish(chunk)
        if chunk is not None:
            self.write(chunk)
        # Tornado finishes by itself when the method returns; that is ours to do now.
        self._auto_finish = False
        self._finishing = asyncio.ensure_future(self._commit_and_finish(draft))
        return self._finishing

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As in Tornado; an error of ours brings its own status, an outage of the store ``Retry-After``."""
        if self._finishing is not None and not self._failing:
            # The answer is decided and on its way to the store.
            return
        self._failing = True
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, SessionError):
            status_code = error.status
            self._retry_after = StoreUnavailable.retry_after if status_code == 503 else None
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """One line for what is no fault of the program, such as an outage; else as in Tornado."""
        if isinstance(value, SessionError) and value.status != 500:
            logger.warning("%s: %s", self._request_summary(), value)
        else:
            super().log_exception(typ, value, tb)

    def _request_summary(self) -> str:
        """As in Tornado, for lines of its log, but without the query, which may hold what no log should."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"

    def _must_pass_through(self) -> bool:
        """Whether there is nothing of ours to store: never loaded, failing, switched to a WebSocket, or answered already."""
        return self._visit is None or self._finished or self.get_status() >= 500 or isinstance(self, WebSocketHandler)

    def _draft(self) -> tuple[Draft | None, bool]:
        """What is to be stored before the response leaves, and whether that is nothing."""
        try:
            draft = self.sessions.draft(self._visited(), may_rotate=not self._headers_written)
        except SessionError:
            # What cannot be encoded is told by the commit, where an answer can still be chosen.
            return None, False
        return draft, draft is None

    async def _commit_and_flush(self, before: Awaitable[None] | None, draft: Draft | None, footers: bool) -> None:  # noqa: FBT001
        if before is not None:
            await before
        await self._commit(draft)
        self._before_headers()
        self._watch_stream()
        await super().flush(footers)

    async def _commit_and_finish(self, draft: Draft | None) -> None:
        try:
            if self._flushing is not None:
                # Who has gone while something was sent was told so; that is no error of this finish.
                with suppress(StreamClosedError):
                    await self._flushing
            await self._commit(draft)
        except Exception as error:  # noqa: BLE001 - it becomes the response, as in Tornado's own _execute
            self._failing = True
            self._handle_request_exception(error)
            return
        self._before_headers()
        self._unwatch_stream()
        # The client may have gone while the store was asked; what it changed is stored all the same.
        with suppress(StreamClosedError):
            await super().finish()

    async def _commit(self, draft: Draft | None) -> None:
        visit = self._visited()
        try:
            await self.sessions.commit(visit, draft, may_rotate=not self._headers_written)
        except SessionGone as gone:
            # Somebody ended it while this request ran; the answer stands, its writes are dropped.
            logger.info("%s", gone)
            visit.session.reset(None)

    def _before_headers(self) -> None:
        """Say in the headers what caches and the browser must know; last of all, since errors clear headers."""
        visit = self._visit
        if self._headers_written or self._finished:
            return
        if self._retry_after is not None:
            self.set_header("Retry-After", str(self._retry_after))
        if visit is None:
            return
        visit.session.freeze(_TOO_LATE)
        if visit.set_cookie is not None:
            self._add_set_cookie(visit)
        elif not visit.session.accessed:
            return
        forbid_caching(self._headers)

    def _add_set_cookie(self, visit: Visit) -> None:
        """Send our cookie, and not also a pending one of its name: Tornado's would come behind ours and win."""
        cookie, visit.set_cookie = visit.set_cookie, None
        name = self.sessions.cookies.name(secure=visit.secure)
        pending = getattr(self, "_new_cookie", {})
        is_renewal = visit.presented is not None and visit.presented.secret_hash == visit.carried
        if name in pending and is_renewal:
            # The application cleared its cookies; a token that the browser had before does not undo that.
            return
        pending.pop(name, None)
        self.add_header("Set-Cookie", cookie or "")

    def _watch_stream(self) -> None:
        if not isinstance(self, WebSocketHandler):
            self._watch()

    def _unwatch_stream(self) -> None:
        if not isinstance(self, WebSocketHandler):
            self._unwatch()

    def _drop_connection(self) -> None:
        """Cut the connection; a handler in the middle of a stream gets ``StreamClosedError`` at its next ``flush``."""
        socket = getattr(self, "ws_connection", None)
        stream = getattr(socket or self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    def _with_cookie(self, act: str) -> Visit:
        if self._headers_written or isinstance(self, WebSocketHandler):
            raise UsageError(f"cannot {act}: the headers are sent, so the new token could not reach the browser")
        return self._visited()

    def _visited(self) -> Visit:
        if self._visit is not None:
            return self._visit
        if not self._failing and not self._prepared:
            raise UsageError(
                "the session is not loaded: a handler with its own prepare() awaits super().prepare() first"
            )
        moment, secure = self._moment(self.sessions)
        visit = self.sessions.visitor(moment, secure=secure)
        if self._headers_written:
            visit.session.freeze(_TOO_LATE)
        if self._prepared:
            self._visit = visit
        # Else it is an error page of a request that never got as far: it sees a visitor, and nothing is stored.
        return visit
