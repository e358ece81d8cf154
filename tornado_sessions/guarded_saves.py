"""``GuardedSaves``: save changes that must not undo another request's. After a conflict, the change is planned again.

It must not know cookies, or what a request carried: ``saving`` plans a request's changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.change import Delta, apply_change
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import SessionGone, StoreUnavailable
from tornado_sessions.record import Change, Conflict, Create, Outcome, Record
from tornado_sessions.request import PendingSave
from tornado_sessions.session import Session

__all__ = ["Answer", "GuardedSaves", "stored_record"]

Answer: TypeAlias = Outcome | Conflict

# Attempts at one change before the store counts as too busy. Within one process, the lock below keeps it to three.
_ATTEMPTS = 100


class GuardedSaves:
    """Saves changes of stored sessions. ``save`` sends one to the store; ``backend`` is the store's name in messages."""

    def __init__(
        self,
        save: Callable[[Create | Change], Awaitable[Answer]],
        codec: Codec,
        backend: str,
        clock: Callable[[], float],
    ) -> None:
        self._save = save
        self._codec = codec
        self._backend = backend
        self._clock = clock
        # After a conflict, the requests of this process take turns; otherwise n concurrent ones would need n² attempts.
        # By handle: the lock, and the number of requests that hold it or wait for it.
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    def is_busy(self, handle: str) -> bool:
        """Return whether requests of this process take turns at this session."""
        return handle in self._turns

    async def save(
        self,
        session: Session,
        pending: PendingSave | None,
        again: Callable[[], PendingSave | None],
        forget: str | None = None,
    ) -> PendingSave | None:
        """Save a change. After a conflict, rebase the session on the stored record and plan the change again.

        Args:
            session: the changed session; marked as saved afterwards.
            pending: the change to save.
            again: plans the change again, from the session's new base.
            forget: a key that is decoded again at its next use.

        Returns:
            The change that was saved; ``None`` if nothing was left to save.

        Raises:
            SessionGone: the session has ended.
            StoreUnavailable: the store failed, or a hundred attempts conflicted with other requests.
        """
        if pending is None:
            return None
        handle = pending.change.handle
        # The first attempt waits for no turn unless others do.
        if not self.is_busy(handle) and self.is_saved(session, pending, await self._save(pending.change), forget):
            return pending
        return await self.save_in_turn(session, handle, again, forget)

    async def save_in_turn(
        self, session: Session, handle: str, again: Callable[[], PendingSave | None], forget: str | None = None
    ) -> PendingSave | None:
        """Save a change that conflicted with another request, as ``save`` does, one request of this process after the other."""
        async with self._turn(handle):
            for _ in range(_ATTEMPTS):
                # The conflict has rebased the session on the stored record; perhaps nothing is left to save.
                pending = again()
                if pending is None or self.is_saved(session, pending, await self._save(pending.change), forget):
                    return pending
        raise StoreUnavailable(self._backend, "too many concurrent requests change the session")

    @asynccontextmanager
    async def _turn(self, handle: str) -> AsyncIterator[None]:
        lock, waiting = self._turns.get(handle, (asyncio.Lock(), 0))
        self._turns[handle] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(handle)
            if waiting > 1:
                self._turns[handle] = lock, waiting - 1

    @staticmethod
    def is_saved(session: Session, pending: PendingSave, answer: Answer, forget: str | None = None) -> bool:
        """Mark a successful save. After a conflict, rebase the session and return false. Raises ``SessionGone``."""
        change = pending.change
        if isinstance(answer, Conflict):
            session.rebase(answer.record)
            return False
        if answer is Outcome.GONE or session.record is None or isinstance(change, Create):
            raise SessionGone(change.handle)
        session.mark_saved(apply_change(change, session.record), pending.delta, forget=forget)
        return True

    async def transform(
        self, session: Session, key: str, function: Callable[[JSONValue], JSONValue], default: JSONValue
    ) -> JSONValue:
        """Replace one value by ``function(value)``, provided that no other request has changed it since. Return the new value.

        Implements ``Session.transform``.
        """
        now = self._clock()

        def others() -> PendingSave | None:
            """Plan the session's other changes. They are saved first, so the function sees them."""
            record, delta = stored_record(session), session.delta()
            return PendingSave(lifecycle.write(record, self.sealed(record, delta), now), delta) if delta else None

        def result() -> PendingSave:
            """Call the function and plan its result, guarded by the value it was given."""
            record, delta = stored_record(session), session.delta()
            stored = record.data.get(key)
            seen = default
            # Decoded again for each attempt, because the function may change the value in place.
            if stored is not None:
                seen = self._codec.decode(record.handle, self._codec.unseal(record.handle, key, stored))
            new = self._codec.seal(record.handle, key, self._codec.encode(key, function(seen)))
            sealed = self.sealed(record, delta)
            guarded = Delta(set={**sealed.set, key: new}, expect={**sealed.expect, key: stored})
            return PendingSave(lifecycle.write(record, guarded, now), delta)

        await self.save(session, others(), others)
        await self.save(session, result(), result, forget=key)
        value: JSONValue = session[key]
        return value

    def sealed(self, record: Record, delta: Delta) -> Delta:
        """Return a delta with encrypted values, or unchanged if there is no key."""
        if not self._codec.encrypts:
            return delta
        return msgspec.structs.replace(delta, set=self._codec.seal_all(record.handle, delta.set))


def stored_record(session: Session) -> Record:
    """Return the record of a session. The caller knows that the session is stored."""
    assert session.record is not None  # noqa: S101 - for the type checker
    return session.record
