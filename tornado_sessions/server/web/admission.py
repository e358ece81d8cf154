"""``Admission``: which requests handlers may work on, when there are many.

Beyond the limit, requests get 503 at once, instead of making everybody wait. It must not know what handlers do.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Collection
from typing import Protocol
from weakref import WeakValueDictionary

from tornado.httputil import HTTPHeaders

from tornado_sessions.proxies import UNIX, Proxies
from tornado_sessions.server.web.connections import network_of
from tornado_sessions.server.web.limits import Limits
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.people_seen import PeopleSeen
from tornado_sessions.server.web.turns import Turns

__all__ = ["Admission", "Request"]

# Seconds between two pipelined requests of a client.
_PACE = 0.01
# Requests started in one turn of the event loop; each takes about a millisecond in the next turn.
_STARTED_IN_A_TURN = 2
# Seconds. A request that takes longer is a stream or waits for the store, which leaves time for others.
_HURRY = 0.5
# Seconds between two requests of crowds in a hurry.
_CROWDS_PAUSE = 0.005


class Request(Protocol):
    """A request that has arrived completely."""

    path: str
    headers: HTTPHeaders
    #: Of Tornado's connection: knows the address of the peer.
    context: object
    #: The client that the request counts for while a handler works on it.
    client: str | None

    def start(self) -> None:
        """Hand the request to its handler."""

    def answer_busy(self) -> None:
        """Answer 503."""


class Admission:
    """Counts the requests that handlers work on, or are about to. Create it on the event loop.

    Args:
        limits: how many.
        load: knows how many of them are streams, which do not count.
        proxies: find the client of a request.
        people: have turns of their own, and operators are let in beyond the limit.
        health: paths of health checks.
    """

    def __init__(
        self, limits: Limits, load: Load, proxies: Proxies, people: PeopleSeen, health: Collection[str]
    ) -> None:
        self._limits, self._load, self._proxies, self._people = limits, load, proxies, people
        self._health = frozenset(health)
        self._by_client: Counter[str] = Counter()
        self._turns: Turns[Request] = Turns(_STARTED_IN_A_TURN, self.is_hurried, _CROWDS_PAUSE)
        #: The start of each request of a modest client.
        self._modest: dict[Request, float] = {}
        self._paces: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def pace(self, request: Request) -> None:
        """Wait before a pipelined request: each client has one in ten milliseconds, however many connections it has.

        Browsers do not pipeline, and a client that sends hundreds of requests at once must not come before people who send one.
        Under load, an honest client's next request may arrive before its connection is read again, which looks the same. The lock
        is therefore not held while the request is worked on, which may be an event stream, and only its own network waits.
        """
        lock = self._paces.setdefault(self._client(request), asyncio.Lock())
        async with lock:
            await asyncio.sleep(_PACE)

    def enter(self, request: Request) -> None:
        """Start a request, now or soon, or answer 503.

        Health checks are always let in: they take no time, and without them a load balancer would send all clients elsewhere.
        """
        if request.path in self._health:
            request.start()
            return
        client = self._client(request)
        if not (self._is_free(client) or self._is_free_for_operators(request) or self._displace(client)):
            request.answer_busy()
            return
        request.client = client
        self._by_client[client] += 1
        # A signed-in user is known by name, even behind the same address as a crowd.
        name = self._people.name_of(request.headers)
        turn = client if name is None else f"user {name}"
        if self._turns.is_modest(turn):
            self._modest[request] = time.monotonic()
        self._turns.add(turn, request)

    def is_hurried(self) -> bool:
        """Return whether a modest client's request has been in progress for a short time only: a crowd has to let it pass."""
        return bool(self._modest) and time.monotonic() - next(reversed(self._modest.values())) < _HURRY

    def leave(self, request: Request) -> None:
        """Forget a request: its handler has finished, or it was not let in."""
        self._modest.pop(request, None)
        client, request.client = request.client, None
        if client is None:
            return
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _number(self) -> int:
        return self._by_client.total() - self._load.streams

    def _is_free(self, client: str) -> bool:
        # Behind a unix socket or a proxy that is not trusted, the address is not known: everybody would be one client.
        is_modest = client == UNIX or self._by_client[client] < self._limits.requests_of_client
        return is_modest and self._number() < self._limits.requests

    def _is_free_for_operators(self, request: Request) -> bool:
        return self._people.is_operator(request.headers) and self._number() < self._limits.requests_with_operators

    def _displace(self, client: str) -> bool:
        """Refuse a waiting request of the client with the most, in favour of one with fewer. Return whether there was one."""
        displaced = self._turns.take_back(self._by_client[client] + 2)
        if displaced is None:
            return False
        self.leave(displaced)
        displaced.answer_busy()
        return True

    def is_secure(self, request: Request) -> bool:
        """Return whether the client uses https, to us or to a trusted proxy."""
        return self._limits.is_secure or self._proxies.origin(self._peer(request), "http", request.headers).secure

    def _client(self, request: Request) -> str:
        return network_of(self._proxies.origin(self._peer(request), "http", request.headers).ip)

    @staticmethod
    def _peer(request: Request) -> str:
        is_unix = getattr(request.context, "address_family", None) == getattr(socket, "AF_UNIX", None)
        return UNIX if is_unix else getattr(request.context, "remote_ip", "")
