"""``Outgoing``: hold back a response until the change of its session is stored.

``finish`` means finished: Tornado composes every response at once, as it does without sessions, and calls ``flush``. If
there is something to store first, a ``HeldResponse`` replaces the connection and keeps the bytes while the store works:

    flush ── nothing to store ─────────────────────────────────────→ bytes leave
      └───── something to store → hold → store ── accepted → release → bytes leave, then on_finish and the access log
                                           └───── refused  → refuse  → bytes are dropped, an error page is composed

It must not know rules, stores or how a cookie is made. It uses the private attributes of Tornado's ``RequestHandler`` that hold
a response. No attribute keeps a reference to the handler: that cycle would delay its garbage collection. It has more than 300
lines because the states of one response belong together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextvars import copy_context
from functools import partial
from typing import Any

from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler

from tornado_sessions.cache_headers import forbid_caching
from tornado_sessions.cookie import remove_set_cookie
from tornado_sessions.errors import SessionError, SessionGone, TooManyConnections, UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.open_connection import OpenConnection, cut_connection
from tornado_sessions.request import PendingSave, RequestSession
from tornado_sessions.response import HeldResponse
from tornado_sessions.saving import Sent

__all__ = ["TOO_LATE", "Outgoing"]

logger = logging.getLogger("tornado_sessions")

TOO_LATE = "cannot start a session: the response headers have already been sent"
_FINISHED = "cannot change the session: the response is finished, so the change would be lost"
_DETACHED = (
    "cannot detach: the session has changes that are not stored; await self.flush() or self.save_session() first"
)


class Outgoing:
    """The response of one request with a session.

    Args:
        sessions: plans and stores the changes.
        request: the request and its session.
    """

    _held: HeldResponse | None = None
    #: Set when the bytes are no longer held; created by the first that waits for it.
    _is_over: asyncio.Event | None = None
    #: Works on a save that takes more than one answer of the store.
    _storing: asyncio.Task[None] | None = None
    #: The save that the held bytes wait for, or the error that prevents it.
    _pending: PendingSave | Exception | None = None
    #: Whether more bytes have joined the held ones since ``_pending`` was planned.
    _has_more = False
    #: The error of an earlier flush that the handler did not await; raised by the next flush.
    _refused: Exception | None = None
    #: Whether an error page replaces a response whose session could not be stored. Nothing is stored from then on.
    _is_replaced = False
    _connection: OpenConnection | None = None

    def __init__(self, sessions: Sessions, request: RequestSession) -> None:
        self._sessions = sessions
        self.request = request

    # --- what the mixin calls ------------------------------------------------------------------------------------

    def before_flush(self, handler: RequestHandler, *, is_last: bool) -> None:
        """Prepare for the bytes that Tornado is about to write: hold them, or add the headers of the session.

        Args:
            handler: writes the bytes.
            is_last: whether the response is complete with them.

        Raises:
            SessionError: an earlier flush failed, and the handler did not await it.
            TooManyConnections: the response is a stream, and its session has as many open as are allowed.
            UsageError: a WebSocket's handshake cannot wait for the session's changes.
        """
        if self._refused is not None:
            # The response must not continue as if the earlier bytes had left.
            refused, self._refused = self._refused, None
            raise refused
        is_handshake = handler._status_code == 101
        if not (is_last or is_handshake or handler._headers_written):
            self._check_room()
        if self._held is not None:
            # These bytes queue behind the held ones. Changes made since are stored before any of the bytes leave.
            self._has_more = True
        elif self._sessions.may_have_to_save(self.request) and (pending := self._plan(handler)) is not None:
            self._hold(handler, pending)
        elif not handler._headers_written:
            self._set_headers(handler, handler._headers)
        if is_handshake:
            self.request.session.freeze(TOO_LATE)
        elif is_last:
            self._finish(handler)
        elif self._held is None:
            self.request.session.freeze(TOO_LATE)
            self.watch(handler)

    def _check_room(self) -> None:
        """Refuse a stream beyond the limit, before anything of its session is stored."""
        record = self.request.session.record
        if record is not None and self._connection is None:
            try:
                self._sessions.live.check_room(record.handle)
            except TooManyConnections:
                # The error page that follows must not count as use of the session either.
                self._is_replaced = True
                raise

    def _finish(self, handler: RequestHandler) -> None:
        """Refuse changes from now on: the response is complete, although its bytes may still be held."""
        if self._connection is not None:
            self.unwatch()
        session = self.request.session
        session.finish(_FINISHED)
        if self._held is not None:
            self._held.postpone_end(handler)
        elif session.changes is not None and handler._status_code < 500:
            # In the next turn of the event loop, after the handler's code that follows finish().
            asyncio.get_running_loop().call_soon(self._report_lost, handler)

    def before_detach(self, handler: RequestHandler) -> None:
        """Send the held bytes at once if only housekeeping is being stored; ``_store`` then finds nothing to release.

        Raises:
            UsageError: changes of the handler are not stored yet, and nothing would store them later.
        """
        held = self._held
        is_owed = held is not None and _holds_changes(self._pending)
        if held is None or self._has_more:
            is_owed = is_owed or _holds_changes(self._plan(handler))
        if is_owed:
            raise UsageError(_DETACHED)
        if held is not None:
            self._release(handler, held)
        self.unwatch()
        self.request.session.freeze(TOO_LATE)

    def forget_refusal(self) -> None:
        """Forget the error of an earlier flush, so that the error page's flush does not raise it."""
        self._refused = None

    def drop_changes(self) -> None:
        """Reset the session to its stored state."""
        self.request.session.reset(self.request.session.record)

    async def stored(self) -> None:
        """Wait until the save of an earlier flush is done, so that a new session is not created twice or missed."""
        if self._held is not None:
            self._is_over = self._is_over or asyncio.Event()
            await self._is_over.wait()

    def watch(self, handler: RequestHandler) -> None:
        """Close this connection when its session ends. Raise ``TooManyConnections`` if it is one too many."""
        record = self.request.session.record
        if record is not None and self._connection is None:
            connection = OpenConnection(record.handle, handler)
            self._sessions.live.add(record.handle, connection, record.expires_at)
            self._connection = connection

    def _watched(self, handler: RequestHandler) -> TooManyConnections | None:
        """Watch a stream that was held; return the error if too many started while their session was being stored."""
        try:
            self.watch(handler)
        except TooManyConnections as error:
            return error
        return None

    def unwatch(self) -> None:
        """Stop watching: the end of the session no longer closes this connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._sessions.live.remove(connection.handle, connection)

    # --- hold, store, and release or refuse ----------------------------------------------------------------------

    def _plan(self, handler: RequestHandler) -> PendingSave | Exception | None:
        """Return the save that must be done before the next bytes leave, or the error if it cannot be encoded."""
        status = handler._status_code
        if status >= 500:
            return None
        if self._is_replaced:
            self.drop_changes()
            return None
        try:
            pending = self._sessions.pending_save(self.request, may_rotate=not handler._headers_written)
        except SessionGone as gone:
            self._drop_writes(gone)
            return None
        except SessionError as error:
            return error
        if pending is not None and status == 101:
            # The bytes of a handshake cannot wait: Tornado detaches the connection right after writing them.
            if pending.delta:
                raise UsageError("save the session before the handshake: await self.save_session() in prepare()")
            return None
        return pending

    def _hold(self, handler: RequestHandler, pending: PendingSave | Exception) -> None:
        """Hold all bytes from now on, and send the change to the store."""
        connection = handler.request.connection
        assert connection is not None  # noqa: S101 - for the type checker: it is there until the response is finished
        handler.request.connection = self._held = held = HeldResponse(connection)
        self._has_more, self._pending = False, pending
        if isinstance(pending, PendingSave):
            # The answer arrives in the task of the whole batch; run what follows in the context of this request.
            answered = partial(copy_context().run, self._answered, handler, held, pending)  # type: ignore[call-arg]
            self._sessions.send(pending, answered)
        else:
            asyncio.get_running_loop().call_soon(self._end, handler, held, pending)

    def _answered(
        self, handler: RequestHandler, held: HeldResponse, pending: PendingSave, answer: Sent | Exception
    ) -> None:
        """Continue after the store has answered: finish at once, or in a task if there is more to wait for."""
        rest, failure = None, None
        try:
            rest = self._sessions.settle(self.request, pending, answer)
        except SessionGone as gone:
            self._drop_writes(gone)
        except Exception as error:  # noqa: BLE001 - it becomes the response, as in Tornado's own _execute
            failure = error
        if failure is None and (rest is not None or self._has_more):
            self._storing = asyncio.ensure_future(self._store(handler, held, rest))
        else:
            self._end(handler, held, failure)

    async def _store(self, handler: RequestHandler, held: HeldResponse, rest: Awaitable[None] | None) -> None:
        failure = None
        try:
            if rest is not None:
                await self._finished(rest)
            # A streaming handler may change the session and flush again while the store works. Another round then stores
            # those changes, so bytes that show a change never leave before it is stored.
            while self._has_more:
                self._has_more = False
                await self._store_more(handler)
        except Exception as error:  # noqa: BLE001 - it becomes the response, as in Tornado's own _execute
            failure = error
        self._end(handler, held, failure)

    async def _store_more(self, handler: RequestHandler) -> None:
        pending = self._plan(handler)
        if isinstance(pending, Exception):
            raise pending
        if pending is not None:
            self._pending = pending
            await self._finished(self._sessions.commit(self.request, pending))

    async def _finished(self, commit: Awaitable[None]) -> None:
        try:
            await commit
        except SessionGone as gone:
            self._drop_writes(gone)

    def _end(self, handler: RequestHandler, held: HeldResponse, failure: Exception | None) -> None:
        """Send the held bytes, or an error page instead."""
        if failure is None and not held.is_finished and self._held is held:
            failure = self._watched(handler)
        if self._held is not held:
            # The handler has detached the connection in the meantime, which sent the held bytes.
            pass
        elif failure is None:
            self._release(handler, held)
        else:
            self._refuse(handler, held, failure)
        if self._is_over is not None:
            self._is_over.set()
            self._is_over = None

    def _drop_writes(self, gone: SessionGone) -> None:
        """Drop the changes of a session that ended or got a new token during this request; the response is still sent."""
        logger.info("%s", gone)
        self.request.session.reset(None)

    def _release(self, handler: RequestHandler, held: HeldResponse) -> None:
        """Send the held bytes, then run the steps of Tornado's ``finish`` that were postponed."""
        handler.request.connection, self._held = held.connection, None
        if held.headers is not None:
            self._set_headers(handler, held.headers)
        try:
            held.release()
        except Exception as error:  # noqa: BLE001 - headers or a body that make no valid response
            held.drop(error)
            # Part of the response may have been sent, so no other response can follow.
            cut_connection(handler)
            if held.is_finished:
                handler._handle_request_exception(error)
            else:
                self._refused = error
        if held.is_finished:
            if self.request.session.changes is not None:
                self._report_lost(handler)
            held.end(handler)
        else:
            self.request.session.freeze(TOO_LATE)

    def _refuse(self, handler: RequestHandler, held: HeldResponse, error: Exception) -> None:
        """Drop the held bytes and answer with an error: the session could not be stored, so the client must not see a success."""
        handler.request.connection, self._held = held.connection, None
        self.drop_changes()
        if held.headers is None:
            # The beginning of a stream has been sent, so no error page can follow. Aborting shows that it is incomplete.
            held.drop(error)
            handler.log_exception(type(error), error, error.__traceback__)
            cut_connection(handler)
            held.end(handler)
            return
        # Nothing has been sent, so reset the handler to its state before the first flush. Its transforms (gzip) have
        # processed the old body; the error page needs new ones.
        self.request.session.thaw()
        handler._headers_written = handler._finished = False
        handler._write_buffer = []
        handler._transforms = [transform(handler.request) for transform in handler.application.transforms]
        if held.is_finished:
            # Store nothing from the error page: a change made by write_error() might be refused again, in an endless loop.
            self._is_replaced = True
            _send_error_page(handler, error)
            held.drop(None)
        else:
            # The handler is still running. It gets the error from this flush(), or from the next if it does not await this one.
            self._refused = None if held.is_awaited else error
            held.drop(error)

    def _report_lost(self, handler: RequestHandler) -> None:
        """Log changes made after the end of the response inside a list or dict that was read before it.

        Assignments, and changes of values that are read later, raise ``UsageError``; a plain list cannot.
        """
        try:
            lost = ", ".join(self.request.session.delta().set)
        except SessionError as error:
            lost = str(error)
        if lost:
            logger.error("%s: changed after the response was finished, and lost: %s", handler._request_summary(), lost)

    # --- headers -------------------------------------------------------------------------------------------------

    def _set_headers(self, handler: RequestHandler, headers: HTTPHeaders) -> None:
        """Add the cookie and cache headers. This is done last, since Tornado's error pages clear earlier headers."""
        request = self.request
        if request.set_cookie is not None:
            self._add_set_cookie(handler, headers, request.set_cookie)
            request.set_cookie = None
        elif not request.session.accessed:
            return
        forbid_caching(headers)

    def _add_set_cookie(self, handler: RequestHandler, headers: HTTPHeaders, cookie: str) -> None:
        """Add the session's cookie and remove any other of that name: browsers keep the last one."""
        request = self.request
        name = self._sessions.cookies.name(secure=request.info.secure)
        pending: dict[str, Any] = getattr(handler, "_new_cookie", {})
        if name in pending:
            if request.presented is not None and request.presented.secret_hash == request.carried:
                # The application has cleared this cookie itself, and our token is one that the browser already had.
                return
            del pending[name]
            # If the response was held, Tornado has already added the other cookie to the headers.
            remove_set_cookie(headers, name)
        headers.add("Set-Cookie", cookie)


def _holds_changes(pending: PendingSave | Exception | None) -> bool:
    """Return whether the handler's own changes are pending, not only housekeeping."""
    return bool(pending.delta) if isinstance(pending, PendingSave) else pending is not None


def _send_error_page(handler: RequestHandler, error: Exception) -> None:
    try:
        # Tornado's method reads sys.exc_info().
        raise error  # noqa: TRY301
    except Exception as refused:  # noqa: BLE001
        try:
            handler._handle_request_exception(refused)
        except Exception:
            # The application's own send_error() failed. Without any response the client would wait forever.
            logger.exception("%s: no error page could be sent", handler._request_summary())
            cut_connection(handler)
