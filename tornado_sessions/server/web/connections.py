"""``Connections``: the open connections of this process, each in one phase, with a time limit for each phase.

There is always room for somebody new: when a limit is reached, the connection that has waited longest, of the address with most
of them, makes room. A connection is never closed while a handler works for it. It must not know HTTP's syntax or handlers.
"""

from __future__ import annotations

import heapq
import socket
import time
from collections.abc import Callable, Iterator
from enum import Enum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import islice
from typing import Any

from tornado.iostream import IOStream, UnsatisfiableReadError
from typing_extensions import override

from tornado_sessions.proxies import UNIX, plain_address
from tornado_sessions.server.web.limits import Limits
from tornado_sessions.server.web.load import Load

__all__ = ["ClientStream", "Connections", "Phase", "network_of"]

# Under a flood from many addresses, finding the largest ones takes time, so several connections are closed at once.
_AT_ONCE = 8
# Maximum number of overdue connections that are closed in one turn of the event loop.
_CLOSED_AT_ONCE = 20


class Phase(Enum):
    """What a connection waits for."""

    HEADER = "header"  # of a request, from the client
    AHEAD = "ahead"  # the pace: the client has sent a further request ahead
    BODY = "body"  # of a request, from the client
    WORKING = "working"  # the handler; and for good once a WebSocket is open
    ANSWERED = "answered"  # the client, to take the rest of the response
    IDLE = "idle"  # the client's next request


class ClientStream(IOStream):
    """A client's connection. It reports to ``Connections`` what it waits for, and when its descriptor is free again."""

    def __init__(self, connection: socket.socket, peer: str, connections: Connections, **sizes: int) -> None:
        self.peer, self._connections = peer, connections
        self.phase = Phase.HEADER
        #: Whether a part of a request has arrived. Browsers open connections ahead and do not expect an answer on them.
        self.has_begun = False
        super().__init__(connection, **sizes)
        #: When the phase started, and when the client last took a byte. Monotonic: Tornado's ``io_loop.time`` is the wall clock.
        self.since = self.taken_at = time.monotonic()
        #: Written when the header is too large.
        self.too_large = b""
        #: What Tornado writes to a malformed request, and what is written instead.
        self.malformed = b"", b""

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        if not self.closed():
            self._connections.enter(self, phase)

    @override
    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        count = super().read_from_fd(buf)
        self.has_begun = self.has_begun or bool(count)
        if count and self.phase is Phase.IDLE:
            self.enter(Phase.HEADER)
        return count

    @override
    def write(self, data: bytes | memoryview) -> Any:
        if not self.writing():
            self.taken_at = time.monotonic()
        bare, complete = self.malformed
        return super().write(complete if len(data) == len(bare) and data == bare else data)

    @override
    def write_to_fd(self, data: memoryview) -> int:
        count = super().write_to_fd(data)
        if count:
            self.taken_at = time.monotonic()
        return count

    @override
    def close(self, exc_info: Any = False) -> None:
        if isinstance(exc_info, UnsatisfiableReadError) and self.phase is Phase.HEADER and not self.closed():
            self.say(self.too_large)
        super().close(exc_info)

    def say(self, response: bytes) -> None:
        """Write a last response, as much as fits at once, and drop unread input, or closing would reset the connection."""
        try:
            self.socket.send(response, socket.MSG_DONTWAIT)
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except OSError:
            pass  # the client has left, or reads nothing

    def forget_unread(self) -> None:
        """Drop the further requests of a client that has left: Tornado would parse and answer each of them."""
        self._read_buffer, self._read_buffer_size = bytearray(), 0

    @override
    def close_fd(self) -> None:
        super().close_fd()
        self._connections.remove(self)


class _Peer:
    """The connections of one address, or of one network of IPv6."""

    __slots__ = ("is_shared", "number", "waiting")

    def __init__(self, *, is_shared: bool) -> None:
        self.is_shared, self.number = is_shared, 0
        #: Those that no handler works for, longest waiting first.
        self.waiting: dict[ClientStream, None] = {}


def _cheapness(peer: _Peer) -> tuple[bool, float]:
    return bool(peer.waiting) and not peer.is_shared, len(peer.waiting)


class Connections:
    """The open connections.

    Args:
        limits: how many, and how long.
        load: counts them.
        is_shared: whether a peer stands for many clients, as a proxy or a unix socket does. It has no limit of its own, and
            its connections make room last, because closing one may lose the request that it is sending.
    """

    def __init__(self, limits: Limits, load: Load, is_shared: Callable[[str], bool]) -> None:
        self._limits, self._load, self._is_shared = limits, load, is_shared
        self._peers: dict[str, _Peer] = {}
        self._working: set[ClientStream] = set()
        self._longest = {
            Phase.HEADER: limits.header_time,
            Phase.AHEAD: limits.ahead_time,
            Phase.BODY: limits.body_time,
            Phase.IDLE: limits.idle_time,
            Phase.ANSWERED: limits.answer_time,
        }

    def make_room(self, peer: str) -> bool:
        """Make room for one more connection of a peer. Return whether there is room."""
        own = self._peers.get(peer)
        if own and not own.is_shared and own.number >= self._limits.connections_of_peer and not self._cut(own):
            return False
        return self._load.connections < self._limits.connections or self.cut_longest_waiting()

    def cut_longest_waiting(self) -> bool:
        """Close a connection of the address with most; several, if several have about as many. Return whether one closed."""
        largest = heapq.nlargest(_AT_ONCE, self._peers.values(), key=_cheapness)
        is_cheap, size = _cheapness(largest[0]) if largest else (False, 0)
        number = sum(self._cut(peer) for peer in largest if _cheapness(peer) >= (is_cheap, size / 2))
        return number > 0

    def _cut(self, peer: _Peer) -> bool:
        for stream in peer.waiting:
            self._load.refused["connection closed for a new one"] += 1
            stream.close()
            return True
        return False

    def add(self, stream: ClientStream) -> None:
        """Count a new connection, which waits for its first header."""
        self._load.connections += 1
        peer = self._peers.get(stream.peer)
        if peer is None:
            peer = self._peers[stream.peer] = _Peer(is_shared=self._is_shared(stream.peer))
        peer.number += 1
        peer.waiting[stream] = None

    def enter(self, stream: ClientStream, phase: Phase) -> None:
        """Begin a phase of a connection."""
        waiting = self._peers[stream.peer].waiting
        waiting.pop(stream, None)
        if phase is Phase.WORKING:
            self._working.add(stream)
        else:
            self._working.discard(stream)
            waiting[stream] = None
        stream.phase, stream.since = phase, time.monotonic()

    def remove(self, stream: ClientStream) -> None:
        """Forget a connection that is closed."""
        self._load.connections -= 1
        self._working.discard(stream)
        peer = self._peers[stream.peer]
        peer.waiting.pop(stream, None)
        peer.number -= 1
        if not peer.number:
            del self._peers[stream.peer]

    def close_overdue(self, timeout_response: bytes) -> bool:
        """Close connections that exceed their time limit; those that have sent a part of a request get an answer.

        Returns:
            Whether there may be more of them: only a few are closed at a time, so that a flood does not delay other requests.
        """
        now = time.monotonic()
        overdue = list(islice((stream for stream in self._waiting() if self._is_overdue(stream, now)), _CLOSED_AT_ONCE))
        for stream in overdue:
            self._load.refused[f"too slow: {stream.phase.value}"] += 1
            if stream.has_begun and stream.phase in {Phase.HEADER, Phase.BODY}:
                stream.say(timeout_response)
            stream.close()
        for stream in [stream for stream in self._working if self._is_stalled(stream, now)]:
            self._load.refused["too slow: stream"] += 1
            stream.close()
        return len(overdue) == _CLOSED_AT_ONCE

    def _is_overdue(self, stream: ClientStream, now: float) -> bool:
        return now - stream.since > self._longest[stream.phase] or self._is_stalled(stream, now)

    def _is_stalled(self, stream: ClientStream, now: float) -> bool:
        return stream.writing() and now - stream.taken_at > self._limits.stall_time

    def _waiting(self) -> Iterator[ClientStream]:
        for peer in self._peers.values():
            yield from peer.waiting


@lru_cache(4096)
def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, a /64 of IPv6, or the text itself if it is no address."""
    if address in {"", UNIX}:
        return UNIX
    try:
        plain = ip_address(plain_address(address))
    except ValueError:
        return address
    return str(ip_network((int(plain), 64), strict=False)) if isinstance(plain, IPv6Address) else str(plain)
