"""``Census``: exact totals of the live sessions, and the users, networks, devices and places with the most of them.

One process at a time walks through all sessions, under a lease, and stores the result for all processes. The walk takes a fifth
of the time of one core, so its result is a few seconds old with 20,000 sessions and a few minutes with a million; each result
has its time. It must not know pages. It has more than 300 lines because the walk and the figures that it fills are one algorithm.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from functools import lru_cache
from ipaddress import ip_address, ip_network

import msgspec

from tornado_sessions.background import BackgroundLoop, OutageLog
from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.proxies import plain_address
from tornado_sessions.query import Sort
from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.places import Place
from tornado_sessions.server.operations.tops import MAX_TOPS, Tops, TopsHistory, overwrite
from tornado_sessions.stores.matching import device_of

__all__ = ["SHARE", "Census", "Figures", "network_of"]

_KIND, _LATEST = "census", "latest"
_PAGE = 500
#: Sessions counted between two chances for other tasks to run.
_SLICE = 100
#: Seconds between two walks, at least: while their results are asked for, and otherwise.
_SOON, _LATER = 2.0, 60.0
#: The share of one core that a walk takes, and the share of all walks together while nobody asks for their results.
SHARE, _IDLE_SHARE = 0.2, 0.05
#: Seconds between two extensions of the lease.
_RENEW_INTERVAL = 2.0
#: Maximum number of different networks that are counted at once. Beyond it those with the fewest sessions are dropped.
_MAX_NETWORKS = 50_000
#: A user with sessions in this many countries, all used within this many seconds, is listed; at most this many users are.
_COUNTRIES, _AT_ONCE, _MAX_ROAMING = 3, 3600.0, 100


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one walk. Sessions that are created, used or end during the walk may be missing.

    Attributes:
        id: the key of its document.
        at: when the walk started, in UTC seconds.
        work: the seconds that it worked, without pauses.
        signed_in, visitors: the numbers of sessions with and without a user.
        people: the number of different users.
        tops: the users, networks, devices and places with the most sessions.
        roaming: users whose sessions came from several countries within the last hour, and the number of countries.
    """

    id: str = _LATEST
    at: float
    work: float
    signed_in: int
    visitors: int
    people: int
    tops: Tops
    roaming: list[tuple[str, int]] = []

    @property
    def active(self) -> int:
        """The number of all live sessions."""
        return self.signed_in + self.visitors


class Census:
    """Counts all sessions repeatedly, in one process at a time.

    Args:
        sessions: the sessions to count.
        documents: stores the result.
        leases: chooses the process that counts.
        clock: the time in UTC seconds.

    Attributes:
        place: returns the place of an IP address as text.
        history: the tops of the last day.
        on_counted: called with the result of each walk of this process.
    """

    def __init__(
        self, sessions: Sessions, documents: DocumentStore, leases: Leases, clock: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._documents = documents
        self._leases = leases
        self._clock = clock
        self.history = TopsHistory(documents)
        self.place: Place = lambda _ip: ""
        self.on_counted: Callable[[Figures], object] = lambda _figures: None
        self._repeating = BackgroundLoop(self._repeat, _LATER / 4, "sessions are not counted")
        self._outage = OutageLog("sessions are not counted")
        self._walking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to count about once a minute."""
        self._repeating.start()

    async def close(self) -> None:
        """Stop; another process, or this one after its next start, begins a new walk."""
        await self._repeating.stop()
        if self._walking is not None:
            self._walking.cancel()
            await asyncio.gather(self._walking, return_exceptions=True)

    async def figures(self, wait: float = 0.3) -> Figures | None:
        """Return the latest result of any process. If it is old, start a walk and wait for it, at most ``wait`` seconds.

        For pages that people watch: as long as it is called, one walk follows another. ``known`` never starts one.

        Returns:
            ``None`` if there is no result yet.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        known = await self._read()
        if self._is_due(known, _SOON, SHARE):
            await asyncio.wait([self._start()], timeout=wait)
            known = await self._read()
        return known

    async def known(self) -> Figures | None:
        """Return the latest result of any process, about a minute old at most; ``None`` if there is none yet.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return await self._read()

    def _is_due(self, known: Figures | None, interval: float, share: float) -> bool:
        # A negative age means that the clock was set back.
        return known is None or not 0 <= self._clock() - known.at < max(interval, known.work / share)

    def _start(self) -> asyncio.Task[None]:
        if self._walking is None or self._walking.done():
            # Its own context: the task outlives the request that asks for its result.
            self._walking = asyncio.get_running_loop().create_task(self._walk_or_warn(), context=Context())
        return self._walking

    async def _repeat(self) -> None:
        if self._is_due(await self._read(), _LATER, _IDLE_SHARE):
            await asyncio.wait([self._start()])

    async def _read(self) -> Figures | None:
        found = await self._documents.get(_KIND, _LATEST)
        try:
            return found.read(Figures, "id") if found is not None else None
        except Unreadable:
            return None

    async def _walk_or_warn(self) -> None:
        try:
            await self._walk_alone()
        except SessionError as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    async def _walk_alone(self) -> None:
        lease = await self._leases.take(_KIND)
        if lease is None:
            return
        renewed, at = time.monotonic(), self._clock()
        walk = _Walk(self._sessions, self.place, at - _AT_ONCE)
        try:
            while await walk.step():
                if time.monotonic() - renewed < _RENEW_INTERVAL:
                    continue
                renewed, extended = time.monotonic(), await self._leases.renew(_KIND, lease)
                if extended is None:
                    return
                lease = extended
            figures = walk.figures(at)
            await overwrite(self._documents, _KIND, _LATEST, msgspec.json.encode(figures))
            await self.history.keep(at, figures.tops)
        finally:
            await self._leases.release(_KIND, lease)
        self.on_counted(figures)


class _Walk:
    """One walk through all sessions in the order of their users, so that those of a user follow one another."""

    def __init__(self, sessions: Sessions, place: Place, recent: float) -> None:
        self._sessions = sessions
        self._place = place
        #: Sessions that were used since then are those of now.
        self._recent = recent
        #: The countries of the current user's sessions of now.
        self._countries: set[str] = set()
        #: A heap of the users in most countries.
        self._roaming: list[tuple[int, str]] = []
        self._cursor: str | None = None
        self._work = 0.0
        self._signed_in = self._visitors = self._people = 0
        self._user, self._of_user = "", 0
        #: A heap of the users with the most sessions.
        self._users: list[tuple[int, str]] = []
        self._networks: Counter[str] = Counter()
        self._devices: Counter[str] = Counter()
        self._places: Counter[str] = Counter()

    async def step(self) -> bool:
        """Count one page, and pause in proportion to the time it took. Return whether more pages follow."""
        start = time.perf_counter()
        page = await self._sessions.find(sort=Sort.USER, limit=_PAGE, cursor=self._cursor)
        for first in range(0, len(page.items), _SLICE):
            for item in page.items[first : first + _SLICE]:
                self._add(item)
            await asyncio.sleep(0)
        if len(self._networks) > _MAX_NETWORKS:
            self._networks = Counter(dict(self._networks.most_common(_MAX_NETWORKS // 2)))
        self._cursor = page.next_cursor
        taken = time.perf_counter() - start
        self._work += taken
        if self._cursor is not None:
            # After each page: the list of an operator waits for one page of this walk at most.
            await asyncio.sleep(taken * (1 / SHARE - 1))
        return self._cursor is not None

    def _add(self, item: SessionSummary) -> None:
        if item.user is None:
            self._visitors += 1
        else:
            self._signed_in += 1
            if item.user != self._user:
                self._end_user()
                self._user = item.user
            self._of_user += 1
        if isinstance(item, Damaged):
            # It counts, because it can be ended, but its texts may be missing.
            return
        self._networks[network_of(item.ip)] += 1
        self._devices[device_of(item.user_agent)] += 1
        if place := self._place(item.ip):
            country = place.rpartition(",")[2].strip()
            self._places[country] += 1
            if item.user is not None and item.last_seen_at >= self._recent:
                self._countries.add(country)

    def _end_user(self) -> None:
        if not self._of_user:
            return
        self._people += 1
        _keep_most(self._users, (self._of_user, self._user), MAX_TOPS)
        self._of_user = 0
        if len(self._countries) >= _COUNTRIES:
            _keep_most(self._roaming, (len(self._countries), self._user), _MAX_ROAMING)
        self._countries.clear()

    def figures(self, at: float) -> Figures:
        self._end_user()
        users = [(user, number) for number, user in self._users]
        return Figures(
            at=at,
            work=self._work,
            signed_in=self._signed_in,
            visitors=self._visitors,
            people=self._people,
            roaming=[(user, number) for number, user in sorted(self._roaming, reverse=True)],
            tops=Tops(
                users=sorted(users, key=lambda top: (-top[1], top[0])),
                **{
                    name: _most(numbers)
                    for name, numbers in (
                        ("networks", self._networks),
                        ("devices", self._devices),
                        ("places", self._places),
                    )
                },
            ),
        )


def _keep_most(heap: list[tuple[int, str]], entry: tuple[int, str], most: int) -> None:
    """Add an entry to a heap, which keeps those with the largest numbers only."""
    (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, entry)


def _most(numbers: Counter[str]) -> list[tuple[str, int]]:
    del numbers[""]
    return sorted(numbers.most_common(MAX_TOPS), key=lambda top: (-top[1], top[0]))


def network_of(ip: str) -> str:
    """Return the /24 of an IPv4 address or the /48 of an IPv6 address; an empty string for other text."""
    # Neighbours share a network, so the cache is asked for the network rather than for each address.
    start, dot, last = ip.rpartition(".")
    return _network_of(f"{start}.0" if dot and last.isdigit() and ":" not in ip else ip)


@lru_cache(4096)
def _network_of(ip: str) -> str:
    try:
        address = ip_address(plain_address(ip[:64]))
    except ValueError:
        return ""
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
