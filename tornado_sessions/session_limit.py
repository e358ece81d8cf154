"""Limit the sessions per user to n: refuse the newest sign-in, or end the oldest session.

The store keeps one small value per user: the list of the user's admitted sessions, oldest first. A sign-in takes a place in
that list with a compare-and-set *before* its session is stored, and confirms the place afterwards. So every stored session of
the user is in the list or is about to end, and the list never has more than n entries, even if sign-ins race in several
processes. It must not know cookies or how a sign-in is stored.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from tornado_sessions.errors import SessionError, StoreError, StoreUnavailable, TooManySessions
from tornado_sessions.record import Cause, SessionSummary, Swapped, Tombstone
from tornado_sessions.registry import SessionRegistry

__all__ = ["SessionLimit", "SignInUndone"]

# Maximum attempts at one compare-and-set; one fails only if another sign-in of the same user succeeded.
_MAX_ATTEMPTS = 100
#: Seconds for which an unconfirmed place counts: its session is about to be stored, or its process died. Longer than any
#: call of a store takes, plus the difference of clocks.
RESERVED = 600.0
#: Seconds for which the store keeps a user's list after the last sign-in. A missing list is built from the live sessions.
_KEPT = 86400.0


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """One admitted session. ``reserved_at`` is in UTC seconds; ``None`` once the session is stored and confirmed."""

    handle: str
    reserved_at: float | None


_decoder = msgspec.msgpack.Decoder(list[_Place])


class Place:
    """A place held for a sign-in. Set ``is_needed`` to false if the session was not stored after all."""

    is_needed = True


class SignInUndone(StoreUnavailable):
    """The store failed in the middle of a sign-in, and the new session was ended."""


class SessionLimit:
    """Enforces the maximum number of sessions per user.

    Args:
        registry: finds and ends sessions.
    """

    def __init__(self, registry: SessionRegistry) -> None:
        self._registry = registry
        self._max = registry.config.max_sessions_per_user
        self._refuses = registry.config.when_exceeded == "refuse"

    @asynccontextmanager
    async def place(self, user: str, handle: str) -> AsyncGenerator[Place, None]:
        """Hold a place while the session of a sign-in is stored; then end the user's oldest sessions beyond the limit.

        An error or ``is_needed = False`` returns the place.

        Args:
            user: id of the user who signs in.
            handle: of the new session.

        Raises:
            TooManySessions: the configuration refuses another session of this user.
            SignInUndone: the store failed after it had stored the session, and the session was ended.
            StoreUnavailable: the store failed; the user is not signed in.
        """
        place = Place()
        if self._max is None:
            yield place
            return
        over = await self._reserve(user, handle, self._max)
        is_stored = False
        try:
            yield place
            is_stored = place.is_needed
        # Also after a cancellation; otherwise the place would block another sign-in for RESERVED seconds.
        finally:
            if not is_stored:
                await self._give_back(user, handle)
        if not is_stored:
            return
        try:
            await self._confirm(user, handle, over)
        except StoreError as error:
            # The user sees an error, so undo the sign-in; the unconfirmed session might also exceed the limit.
            with suppress(SessionError):
                await self._registry.destroy_many([handle], cause=Cause.EVICTED, by=user)
            await self._give_back(user, handle)
            raise SignInUndone(error.backend, error.why) from error

    async def _give_back(self, user: str, handle: str) -> None:
        """Return a place, if the store allows it; a place that stays reserved is free after ``RESERVED``."""
        with suppress(SessionError):
            await self._update(user, lambda places: [place for place in places if place.handle != handle])

    async def _confirm(self, user: str, handle: str, over: list[str]) -> None:
        """Keep the place of a stored session, and end the sessions that lost theirs."""
        confirmed = await self._update(
            user, lambda places: [_Place(handle, None) if place.handle == handle else place for place in places]
        )
        if all(place.handle != handle for place in confirmed):
            # At least n newer sign-ins came in between, and this session has already lost its place to them.
            over = [*over, handle]
        if over:
            await self._registry.destroy_many(over, cause=Cause.EVICTED, by=user)

    async def _reserve(self, user: str, handle: str, most: int) -> list[str]:
        """Take a place. Return the handles that lose theirs."""
        stored = (await self._swap(user, None, None)).value
        for _ in range(_MAX_ATTEMPTS):
            taken = [place for place in await self._taken(user, _read(stored)) if place.handle != handle]
            if self._refuses and len(taken) >= most:
                raise TooManySessions(user, most)
            # Drop the oldest places to make room. Their sessions end only after the new session is stored.
            free = max(0, len(taken) - most + 1)
            places = [*taken[free:], _Place(handle, self._registry.clock())]
            swapped = await self._swap(user, stored, msgspec.msgpack.encode(places))
            if swapped.done:
                return [place.handle for place in taken[:free]]
            stored = swapped.value
        raise self._too_busy()

    async def _taken(self, user: str, places: list[_Place]) -> list[_Place]:
        """Return the places of live sessions and of sessions that are about to be stored, oldest first."""
        live = await self._live(user)
        listed = {place.handle for place in places}
        # Sessions without a place started before the limit was configured. They count as the oldest.
        others = sorted(live.values(), key=lambda facts: (facts.signed_in_at or 0.0, facts.handle))
        before = [_Place(facts.handle, None) for facts in others if facts.handle not in listed]
        # A place without a live session is rare: a sign-in in progress, a crash, or a session that has ended.
        return before + [place for place in places if place.handle in live or await self._is_reserved(place)]

    async def _is_reserved(self, place: _Place) -> bool:
        if place.reserved_at is None or abs(self._registry.clock() - place.reserved_at) >= RESERVED:
            return False
        # A tombstone means the session was stored and has ended, by a sign-out or because its confirmation failed.
        return not isinstance(await self._registry.inspect(place.handle), Tombstone)

    async def _update(self, user: str, change: Callable[[list[_Place]], list[_Place]]) -> list[_Place]:
        """Change the list of places and return it, retrying while other sign-ins change it."""
        stored = (await self._swap(user, None, None)).value
        for _ in range(_MAX_ATTEMPTS):
            places = change(_read(stored))
            swapped = await self._swap(user, stored, msgspec.msgpack.encode(places) if places else None)
            if swapped.done:
                return places
            stored = swapped.value
        raise self._too_busy()

    async def _swap(self, user: str, expected: bytes | None, value: bytes | None) -> Swapped:
        return await self._registry.swap(f"places of {user}", expected, value, self._registry.clock() + _KEPT)

    def _too_busy(self) -> StoreUnavailable:
        return StoreUnavailable(self._registry.store.backend, "too many sign-ins of one user at once")

    async def _live(self, user: str) -> dict[str, SessionSummary]:
        """Return the live sessions of a user, by handle."""
        found: dict[str, SessionSummary] = {}
        cursor: str | None = None
        while True:
            page = await self._registry.find(user=user, limit=500, cursor=cursor)
            found.update((item.handle, item) for item in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return found


def _read(stored: bytes | None) -> list[_Place]:
    """Decode the stored list. An unreadable list counts as missing: it is rebuilt from the live sessions."""
    if stored is None:
        return []
    try:
        return _decoder.decode(stored)
    except msgspec.DecodeError:
        return []
