"""``OpenConnection``: a WebSocket or a stream that is closed when its session ends.

It must not know sessions or stores: ``live`` says when to close.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any
from weakref import ref

from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

__all__ = ["OpenConnection", "close_connection", "cut_connection"]

logger = logging.getLogger("tornado_sessions")

# RFC 6455 7.4.1: 1008 is "policy violation".
_POLICY_VIOLATION = 1008
# Seconds for the application's close_for_session(), and for a browser's answer to a close frame.
_GRACE = 0.5
# Keeps running tasks alive: the event loop holds only weak references to them.
_good_byes: set[asyncio.Future[None]] = set()


class OpenConnection:
    """One open connection, registered with ``Live``. Its handler references it, so both are garbage-collected together.

    Args:
        handle: of the session.
        handler: has ``close_for_session``; held by a weak reference.
    """

    __slots__ = ("__weakref__", "_handler", "handle")

    def __init__(self, handle: str, handler: RequestHandler) -> None:
        self.handle = handle
        self._handler = ref(handler)

    def close_for_session(self) -> None:
        """Call the handler's ``close_for_session``; abort the connection if that raises or takes longer than half a second."""
        handler: Any = self._handler()
        if handler is None:
            return
        try:
            closing = handler.close_for_session()
        except Exception as error:  # noqa: BLE001 - the application's own method must not fail the caller that ended the session
            _cut_after(handler, error)
            return
        if isawaitable(closing):
            good_bye = asyncio.ensure_future(_close_in_time(handler, closing))
            _good_byes.add(good_bye)
            good_bye.add_done_callback(_good_byes.discard)


async def _close_in_time(handler: RequestHandler, closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(_GRACE):
            await closing
    except Exception as error:  # noqa: BLE001 - as above
        _cut_after(handler, error)


def _cut_after(handler: RequestHandler, error: Exception) -> None:
    summary = handler._request_summary()
    logger.warning("%s: close_for_session() failed, so the connection is cut: %r", summary, error)
    cut_connection(handler)


def close_connection(handler: RequestHandler) -> None:
    """Send a close frame to a WebSocket, and abort it if it does not answer in time; abort a stream at once."""
    if isinstance(handler, WebSocketHandler):
        handler.close(_POLICY_VIOLATION, "session ended")
        asyncio.get_running_loop().call_later(_GRACE, cut_connection, handler)
    else:
        cut_connection(handler)


def cut_connection(handler: RequestHandler) -> None:
    """Abort the connection. A handler that is streaming gets ``StreamClosedError`` at its next ``flush``."""
    socket = getattr(handler, "ws_connection", None)
    stream = getattr(socket or handler.request.connection, "stream", None)
    if stream is not None:
        stream.close()
