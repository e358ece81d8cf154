"""``Waiting``: calls that wait in a bounded number of places, and which of them is next.

When a group has no free place, the last in order loses its own, so a flood can take places only from itself and from those that
have used more. It must not know what the calls wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count

from tornado_sessions.server.accounts.client import Client

__all__ = ["Place", "Rank", "Waiting"]

#: The order of calls: lower ones are first.
Rank = tuple[float, ...]


class Place:
    """The place of one call.

    Attributes:
        groups: the groups it belongs to.
        order: its rank, then its arrival, the newest first.
        called: its result is set when it is the call's turn; its exception when the place was lost.
    """

    def __init__(self, groups: frozenset[str], order: Rank) -> None:
        self.groups = groups
        self.order = order
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Waiting:
    """The calls that wait.

    Args:
        lost: makes the error of a call that loses its place.
    """

    def __init__(self, lost: type[Exception]) -> None:
        self._lost = lost
        self._places: list[Place] = []
        self._arrivals = count()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._places)

    @contextmanager
    def place(self, rank: Rank, limits: Mapping[str, int], client: Client) -> Iterator[Place]:
        """Take a place until the end of the block.

        Args:
            rank: the order of the call; of the same rank, the newest is first.
            limits: the maximum number of places of each group that the call belongs to.
            client: the place is lost when it disconnects.
        """
        # Newest first, because more wait than can be served: the oldest clients give up soon, and an owner who comes last does
        # not wait behind the first attempts of hundreds of addresses.
        place = Place(frozenset(limits), (*rank, -next(self._arrivals)))
        self._places.append(place)
        client.on_leave(lambda: self._lose(place))
        for group, limit in limits.items():
            rivals = self._of(group)
            if len(rivals) > limit:
                self._lose(max(rivals, key=lambda rival: rival.order))
        if self._is_closed:
            self._lose(place)
        try:
            yield place
        finally:
            if place in self._places:
                self._places.remove(place)
            # Without this, asyncio logs an error that was not awaited.
            if place.called.done():
                place.called.exception()

    def first(self, group: str) -> Place | None:
        """Return the place that is next in a group, or ``None``."""
        return min(self._of(group), key=lambda place: place.order, default=None)

    def call(self, place: Place) -> None:
        """Tell a call that it is its turn. It no longer waits."""
        self._places.remove(place)
        place.called.set_result(None)

    def close(self) -> None:
        """Make every waiting call lose its place, and every later one at once."""
        self._is_closed = True
        for place in tuple(self._places):
            self._lose(place)

    def _of(self, group: str) -> list[Place]:
        return [place for place in self._places if group in place.groups]

    def _lose(self, place: Place) -> None:
        if place in self._places:
            self._places.remove(place)
            place.called.set_exception(self._lost())
