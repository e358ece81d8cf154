"""At most n sessions per user: refuse the newest sign-in, or end the oldest session.

It must not know cookies or how a sign-in is stored. Processes decide together by one small value per user in the store, the list
of the user's admitted sessions, oldest first. A sign-in takes its place in that list with one compare-and-set *before* its session
is stored, and confirms the place afterwards. So at any time every stored session of the user is in the list or is about to be
ended, and the list never has more than n entries, however many sign-ins race in however many processes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from tornado_sessions.errors import SessionError, StoreError, StoreUnavailable, TooManySessions
from tornado_sessions.record import Cause, SessionSummary, Swapped, Tombstone
from tornado_sessions.registry import SessionRegistry

__all__ = ["SessionLimit", "SignInUndone"]

# Attempts at one compare-and-set; each fails only because another sign-in of the same user succeeded.
_ATTEMPTS = 100
#: Seconds for which a place counts that was taken and not confirmed: its session is about to be stored, or its process died. Longer
#: than any store call takes and than clocks differ.
RESERVED = 600.0
#: Seconds for which the store keeps a user's list after the last sign-in. Without the list it is made from the live sessions.
_KEPT = 86400.0


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """One admitted session; ``reserved_at`` (UTC seconds) until its session is stored, then ``None``."""

    handle: str
    reserved_at: float | None


_decoder = msgspec.msgpack.Decoder(list[_Place])


class Place:
    """A place held for a sign-in; ``is_needed`` is false where its session was not stored after all."""

    is_needed = True


class SignInUndone(StoreUnavailable):
    """The store failed in the middle of a sign-in, so the new session was ended again."""


class SessionLimit:
    """The limit of each user's sessions.

    Args:
        directory: where sessions are found and ended.
    """

    def __init__(self, directory: SessionRegistry) -> None:
        self._directory = directory
        self._most = directory.config.max_sessions_per_user
        self._refuses = directory.config.when_exceeded == "refuse"

    @asynccontextmanager
    async def place(self, user: str, handle: str) -> AsyncGenerator[Place, None]:
        """Hold a place for a sign-in while its session is stored; afterwards the user's oldest sessions beyond the limit end.

        An error, and ``is_needed = False``, give the place back.

        Args:
            user: who signs in.
            handle: of the session with which.

        Raises:
            TooManySessions: the configuration refuses another session of this user.
            SignInUndone: the store failed after it had stored the session, which was ended again.
            StoreUnavailable: the store failed; nobody was signed in.
        """
        place = Place()
        if self._most is None:
            yield place
            return
        over = await self._reserve(user, handle, self._most)
        is_stored = False
        try:
            yield place
            is_stored = place.is_needed
        finally:
            if not is_stored:
                await self._give_back(user, handle)
        if not is_stored:
            return
        try:
            await self._confirm(user, handle, over)
        except StoreError as error:
            # Whoever signs in hears that it failed, so it must not have happened; nor may there be a session too many.
            with suppress(SessionError):
                await self._directory.destroy_many([handle], cause=Cause.EVICTED, by=user)
            await self._give_back(user, handle)
            raise SignInUndone(error.backend, error.why) from error

    async def _give_back(self, user: str, handle: str) -> None:
        """Best effort: a place that stays reserved is free again after a while."""
        with suppress(SessionError):
            await self._update(user, lambda places: [place for place in places if place.handle != handle])

    async def _confirm(self, user: str, handle: str, over: list[str]) -> None:
        """The session is stored: keep its place, and end the sessions that lost theirs."""
        confirmed = await self._update(
            user, lambda places: [_Place(handle, None) if place.handle == handle else place for place in places]
        )
        if all(place.handle != handle for place in confirmed):
            # As many newer sign-ins were faster, so this session is one of the oldest already.
            over = [*over, handle]
        if over:
            await self._directory.destroy_many(over, cause=Cause.EVICTED, by=user)

    async def _reserve(self, user: str, handle: str, most: int) -> list[str]:
        """Take a place. Returns the handles that lose theirs."""
        stored = (await self._swap(user, None, None)).value
        for _ in range(_ATTEMPTS):
            taken = [place for place in await self._taken(user, _read(stored)) if place.handle != handle]
            if self._refuses and len(taken) >= most:
                raise TooManySessions(user, most)
            free = max(0, len(taken) - most + 1)
            places = [*taken[free:], _Place(handle, self._directory.clock())]
            swapped = await self._swap(user, stored, msgspec.msgpack.encode(places))
            if swapped.done:
                return [place.handle for place in taken[:free]]
            stored = swapped.value
        raise self._too_busy()

    async def _taken(self, user: str, places: list[_Place]) -> list[_Place]:
        """The places that count: of live sessions, and of those that are about to be stored."""
        live = await self._live(user)
        listed = {place.handle for place in places}
        # Sessions without a place were signed in before there was a limit; they count, as the oldest.
        others = sorted(live.values(), key=lambda facts: (facts.signed_in_at or 0.0, facts.handle))
        before = [_Place(facts.handle, None) for facts in others if facts.handle not in listed]
        return before + [place for place in places if place.handle in live or await self._is_reserved(place)]

    async def _is_reserved(self, place: _Place) -> bool:
        if place.reserved_at is None or abs(self._directory.clock() - place.reserved_at) >= RESERVED:
            return False
        # Stored and ended already, by a sign-out or because the store failed before the place was confirmed.
        return not isinstance(await self._directory.inspect(place.handle), Tombstone)

    async def _update(self, user: str, change: Callable[[list[_Place]], list[_Place]]) -> list[_Place]:
        """Change the list of places, whatever it has become by now. Returns it."""
        stored = (await self._swap(user, None, None)).value
        for _ in range(_ATTEMPTS):
            places = change(_read(stored))
            swapped = await self._swap(user, stored, msgspec.msgpack.encode(places) if places else None)
            if swapped.done:
                return places
            stored = swapped.value
        raise self._too_busy()

    async def _swap(self, user: str, expected: bytes | None, value: bytes | None) -> Swapped:
        return await self._directory.swap(f"places of {user}", expected, value, self._directory.clock() + _KEPT)

    def _too_busy(self) -> StoreUnavailable:
        return StoreUnavailable(self._directory.store.backend, "too many sign-ins of one user at once")

    async def _live(self, user: str) -> dict[str, SessionSummary]:
        """The live sessions of a user, by handle."""
        found: dict[str, SessionSummary] = {}
        cursor: str | None = None
        while True:
            page = await self._directory.find(user=user, limit=500, cursor=cursor)
            found.update((item.handle, item) for item in page.items)
            cursor = page.next_cursor
            if cursor is None:
                return found


def _read(stored: bytes | None) -> list[_Place]:
    """The list as it is stored; one that cannot be read counts as none, and is made from the live sessions."""
    if stored is None:
        return []
    try:
        return _decoder.decode(stored)
    except msgspec.DecodeError:
        return []
