"""``SessionServer``: Tornado's HTTP server with a bound on everything that a client can take.

Connections, their time in each phase, the size of requests and the number of requests in progress. It must not know pages.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate
from typing_extensions import override

from tornado_sessions.proxies import UNIX, Proxies
from tornado_sessions.server.web.acceptor import Acceptor
from tornado_sessions.server.web.admission import Admission
from tornado_sessions.server.web.connections import ClientStream, Connections, Phase, network_of
from tornado_sessions.server.web.exchange import Exchange
from tornado_sessions.server.web.limits import Limits
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.people_seen import PeopleSeen
from tornado_sessions.server.web.refusals import raw_answer
from tornado_sessions.server.web.turns import Turns

__all__ = ["SessionServer"]

logger = logging.getLogger("tornado_sessions")

# Seconds between two searches for connections beyond their time limit, and between two lines in the log.
_SWEEP_INTERVAL, _LOG_INTERVAL = 0.25, 1.0
# Accepted connections that may wait for their turn when the limit of connections is reached.
_NEWCOMERS = 64
# New connections started in one turn: each takes about a fifth of a millisecond if its request has arrived.
_NEWCOMERS_IN_A_TURN = 16
# Seconds between two connections of a crowd. They must be accepted as fast as they come, or people wait behind them in the kernel.
_NEWCOMERS_PAUSE = 0.001
# Tornado would answer 400 to a body beyond its own limit. ``Exchange`` has a much lower one, and answers 413.
_NO_LIMIT = 1 << 62
# Tornado's answer to a malformed request: without security headers, a body or the end of the connection.
_BARE = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class _Newcomer(NamedTuple):
    """An accepted connection that waits for its turn."""

    start: Callable[[], None]


class SessionServer(HTTPServer):
    """The HTTP server. Create it on the event loop; ``stop`` and ``close_all_connections`` as in Tornado.

    Args:
        application: answers the requests.
        limits: how much clients can take.
        load: counts it.
        proxies: find the client of a request. Connections of trusted proxies have no limit for each address.
        people: come before strangers, and operators are let in when the server is busy.
        health: paths of health checks, which are always answered.
    """

    @override
    def initialize(  # type: ignore[override]
        self,
        application: HTTPServerConnectionDelegate,
        *,
        limits: Limits,
        load: Load,
        proxies: Proxies,
        people: PeopleSeen,
        health: Collection[str] = (),
    ) -> None:
        super().initialize(
            application,
            max_header_size=limits.header_bytes,
            max_body_size=_NO_LIMIT,
            max_buffer_size=2 * max(limits.body_bytes, limits.header_bytes),
        )
        self._limits, self._load, self._proxies = limits, load, proxies
        self._admission = Admission(limits, load, proxies, people, health)
        self._open = Connections(limits, load, self._is_shared)
        self._exchanges: dict[object, Exchange] = {}
        self._acceptors: list[Acceptor] = []
        self._newcomers: Turns[_Newcomer] = Turns(_NEWCOMERS_IN_A_TURN, self._admission.is_hurried, _NEWCOMERS_PAUSE)
        self._sweep: asyncio.TimerHandle | None = None
        self._timeout_response, self._too_large, self._full, self._malformed = (
            raw_answer(status, is_secure=limits.is_secure) for status in (408, 431, 503, 400)
        )
        self._reported: Counter[str] = Counter()
        self._reported_at = 0.0

    @override
    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        for listener in sockets:
            listener.setblocking(False)
            if listener.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
                # Inherited by its connections: close those whose network is gone, after this many milliseconds.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._limits.stall_time))
            self._acceptors.append(Acceptor(listener, self._accept, self._has_room, self._open.cut_longest_waiting))
        if self._sweep is None:
            self._close_overdue()

    @override
    def stop(self) -> None:
        for acceptor in self._acceptors:
            acceptor.stop()
        self._acceptors = []
        # They may have sent a request already.
        self._newcomers.start_all()

    @override
    async def close_all_connections(self) -> None:
        await super().close_all_connections()
        if self._sweep is not None:
            self._sweep.cancel()

    # --- connections -------------------------------------------------------------------------------------------------

    def _is_shared(self, peer: str) -> bool:
        return peer == UNIX or self._proxies.trusts(peer)

    def _accept(self, connection: socket.socket, address: Any) -> None:
        is_unix = connection.family == socket.AF_UNIX
        ip = UNIX if is_unix else address[0]
        # A proxy is trusted by its address; others count by their network.
        peer = ip if self._is_shared(ip) else network_of(ip)
        self._newcomers.add(peer, _Newcomer(partial(self._receive, connection, address, peer)))

    def _has_room(self) -> bool:
        # The order in the kernel is not fair, so as few as possible wait there. Each takes a descriptor.
        return len(self._newcomers) < max(_NEWCOMERS, self._limits.connections - self._load.connections)

    def _receive(self, connection: socket.socket, address: Any, peer: str) -> None:
        if not self._open.make_room(peer):
            self._load.refused["connection"] += 1
            with connection:
                connection.setblocking(False)
                _send(connection, self._full)
            return
        stream = ClientStream(
            connection,
            peer,
            self._open,
            max_buffer_size=self.max_buffer_size or 0,
            read_chunk_size=self._limits.header_bytes,
        )
        stream.too_large, stream.malformed = self._too_large, (_BARE, self._malformed)
        self._open.add(stream)
        self.handle_stream(stream, address)

    def _close_overdue(self) -> None:
        has_more = self._open.close_overdue(self._timeout_response)
        pause = _SWEEP_INTERVAL / 10 if has_more else _SWEEP_INTERVAL
        self._sweep = asyncio.get_running_loop().call_later(pause, self._close_overdue)
        self._report()

    def _report(self) -> None:
        """Log what was refused since the last line: one line, however many clients there were."""
        news, now = self._load.refused - self._reported, time.monotonic()
        if news and now - self._reported_at >= _LOG_INTERVAL:
            logger.warning(
                "limits reached: %s", ", ".join(f"{reason} ({number})" for reason, number in sorted(news.items()))
            )
            self._reported, self._reported_at = self._load.refused.copy(), now

    # --- requests ----------------------------------------------------------------------------------------------------

    @override
    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        stream = cast("ClientStream", cast("HTTP1ServerConnection", server_conn).stream)
        before = self._exchanges.get(server_conn)
        if before is not None:
            before.leave()
            stream.has_begun = False
            stream.enter(Phase.IDLE)
            if stream.closed():
                stream.forget_unread()
        delegate = super().start_request(server_conn, request_conn)
        connection = cast("HTTP1Connection", request_conn)
        exchange = Exchange(stream, connection, delegate, self._admission, self._limits, self._load)
        self._exchanges[server_conn] = exchange
        return exchange

    @override
    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self._exchanges.pop(server_conn).leave()


def _send(connection: socket.socket, response: bytes) -> None:
    try:
        connection.send(response)
    except OSError:
        return
