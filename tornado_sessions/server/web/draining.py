"""``Draining``: stop serving without failing a request.

A server that stops first tells its load balancer, and closes each connection after its next response, so that clients go elsewhere.
Then it accepts no further connections, ends streams, and waits for the requests in progress. It must not know routes or stores.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import select
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import uniform
from socket import SOL_SOCKET, socket
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler
from typing_extensions import override

__all__ = ["Draining"]

logger = logging.getLogger("tornado_sessions.server")

# RFC 6455 7.4.1, registered with IANA: "service restart". Clients reconnect.
_SERVICE_RESTART = 1012
# Seconds until the clients of an event stream reconnect. Each gets another time, so that they do not all come at once.
_RECONNECT = (0.5, 2.0)
# Seconds that a connection may be idle before it is closed. A client that has just connected, or that uses its connection often,
# can send its next request, and the response asks it to use another connection.
_IDLE = 1.0
# Seconds for the handshakes in progress to finish, which take a round trip, and for the queue of connections to empty.
_HANDSHAKES, _QUEUE = 0.05, 1.0
# Seconds for the answer of a WebSocket's client to our close frame.
_GOOD_BYE = 1.0
# Seconds between two looks at the open connections.
_INTERVAL = 0.02
# Linux' number of the socket option (asm-generic/socket.h), which Python does not name.
_SO_ATTACH_FILTER = 26
# A filter in classic BPF: drop segments with SYN and without ACK, which open connections. Byte 13 of the TCP header has the flags.
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class Draining:
    """The state of one process: serving, announced, or draining. All methods run on its event loop."""

    def __init__(self) -> None:
        #: Whether this process is about to stop. It still answers the requests that arrive.
        self.is_announced = False
        self._ends_streams = asyncio.Event()
        self._connections: WeakKeyDictionary[object, _Connection] = WeakKeyDictionary()
        self._sockets: WeakSet[WebSocketHandler] = WeakSet()

    def watch(self, application: HTTPServerConnectionDelegate) -> HTTPServerConnectionDelegate:
        """Return a delegate for the HTTP server that passes requests on to ``application`` and knows each connection."""
        return _Watch(application, self)

    async def pause(self, seconds: float) -> bool:
        """Wait between two events of a stream. Return whether the stream must end now, after ``hint``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ends_streams.wait(), seconds)
        return self._ends_streams.is_set()

    @property
    def hint(self) -> bytes:
        """The last event of a stream: when to reconnect (WHATWG HTML 9.2.6)."""
        return b"retry: %d\n\n" % (1000 * uniform(*_RECONNECT))

    async def drain(
        self,
        server: HTTPServer,
        sockets: Sequence[socket],
        *,
        delay: float,
        timeout: float,
        is_shared: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take ``server`` out of service. When it returns, all connections are closed.

        Args:
            server: accepts connections for the delegate that ``watch`` returned.
            sockets: the listening sockets of the server.
            delay: how long to continue accepting connections while ``is_announced`` is set, in seconds.
            timeout: how long to wait for the requests in progress after that, in seconds. Later ones are cut.
            is_shared: called after the delay; returns whether other processes continue to accept connections on these sockets.
        """
        self.announce()
        await asyncio.sleep(delay)
        if not is_shared():
            # If it is shared, the others accept what is in the queue, and a filter on this socket would affect theirs, too.
            await _empty_queues(sockets)
        server.stop()
        # Connections that have just been accepted begin to read in the next turn of the event loop.
        await asyncio.sleep(0)
        self._ends_streams.set()
        cut = await self._wait(timeout)
        if cut:
            logger.warning("%d requests did not finish within %g s and were cut off", cut, timeout)
        await server.close_all_connections()

    def announce(self) -> None:
        """End the streams, and close each connection after its response."""
        self.is_announced = True
        for connection in self._connections.values():
            connection.close_after_response()

    async def _wait(self, timeout: float) -> int:
        """Close idle connections and WebSockets until none is open. Return the number of requests in progress at the timeout."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        closing: list[IOStream] = []
        while True:
            now = loop.time()
            closing += self._close_sockets()
            waited_for = [stream for stream in closing if not stream.closed()] if now - start < _GOOD_BYE else []
            opened = [connection for connection in self._connections.values() if not connection.is_closed]
            for connection in opened:
                connection.close_if_idle(since=now - _IDLE)
            if now - start >= timeout or not (opened or waited_for):
                break
            await asyncio.sleep(_INTERVAL)
        for stream in closing:
            stream.close()
        return sum(connection.is_busy for connection in opened)

    def _close_sockets(self) -> list[IOStream]:
        """Send a close frame to each WebSocket that is open, and return their streams, which close when the clients answer."""
        handlers = [handler for handler in self._sockets if handler.ws_connection is not None]
        streams: list[IOStream] = [handler.ws_connection.stream for handler in handlers]  # type: ignore[misc, union-attr]
        for handler in handlers:
            handler.close(_SERVICE_RESTART, "service restart")
        return streams


class _Connection:
    """An open connection, from the end of its last request to the end of the next one."""

    def __init__(self, http: HTTPConnection) -> None:
        # Tornado's ``HTTP1Connection``, one for each request. Without ``stream`` it has become a WebSocket.
        self._http: Any = http
        self.is_busy = False
        self._idle_since = asyncio.get_running_loop().time()

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed, or is no longer one of HTTP."""
        return self._http.stream is None or self._http.stream.closed()

    def close_after_response(self) -> None:
        """Send ``Connection: close`` with the response, unless its header has left, and then close (RFC 9112 9.6)."""
        # Tornado has no public name for this: ``no_keep_alive`` applies only to requests that have not started.
        if self.is_busy:
            self._http._disconnect_on_finish = True

    def close_if_idle(self, since: float) -> None:
        """Close a connection without a request that has been idle since this time of the event loop, or longer."""
        stream: IOStream | None = self._http.stream
        if self.is_busy or stream is None or self._idle_since > since or _is_readable(stream.socket):
            # If it is readable, a request has arrived that the event loop has not read yet. Closing would lose it.
            return
        stream.close()


class _Watch(HTTPServerConnectionDelegate):
    """Passes requests on, and records whether each connection has a request."""

    def __init__(self, application: HTTPServerConnectionDelegate, draining: Draining) -> None:
        self._application = application
        self._draining = draining

    @override
    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        # Tornado calls this when it begins to wait for a request, not when one arrives.
        connection = self._draining._connections[server_conn] = _Connection(request_conn)
        return _Message(self._application.start_request(server_conn, request_conn), connection, self._draining)


class _Message(HTTPMessageDelegate):
    """One request, which is passed on."""

    def __init__(self, inner: HTTPMessageDelegate, connection: _Connection, draining: Draining) -> None:
        self._inner = inner
        self._connection = connection
        self._draining = draining

    @override
    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._connection.is_busy = True
        # ``Connection: close`` would break the handshake of a WebSocket, which is closed a moment later anyway.
        if self._draining.is_announced and "Upgrade" not in headers:
            self._connection.close_after_response()
        return self._inner.headers_received(start_line, headers)

    @override
    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    @override
    def finish(self) -> None:
        self._inner.finish()
        # Tornado's application has made the handler now. A WebSocket leaves the HTTP server, so it has to be remembered here.
        handler = getattr(getattr(self._inner, "delegate", None), "handler", None)
        if isinstance(handler, WebSocketHandler):
            self._draining._sockets.add(handler)

    @override
    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


async def _empty_queues(sockets: Sequence[socket]) -> None:
    """Accept all connections that the kernel has already established, and prevent new ones.

    Closing a listening socket resets the connections in its queue. Their clients may have sent requests, and a proxy must not
    repeat a POST. So let no new connection in, let the event loop accept those in the queue, and only then close the socket. A
    client whose SYN is dropped here sends it again after a second, and is refused.
    """
    if sys.platform == "linux":
        for listening in sockets:
            # Some sandboxes have no filters: then a connection that comes between the last look and the close is lost.
            with suppress(OSError):
                _attach_filter(listening)
        await asyncio.sleep(_HANDSHAKES)
    deadline = asyncio.get_running_loop().time() + _QUEUE
    while any(_is_readable(listening) for listening in sockets):
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0)


def _attach_filter(listening: socket) -> None:
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    program = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(instructions))
    listening.setsockopt(SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _is_readable(opened: socket) -> bool:
    looking = select.poll()
    looking.register(opened, select.POLLIN)
    return bool(looking.poll(0))
