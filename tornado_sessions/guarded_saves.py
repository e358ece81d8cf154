"""``GuardedSaves``: changes that must not undo another request's; planned again where another one came in between.

It must not know cookies or requests, nor how a change is planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from weakref import WeakValueDictionary

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

# Attempts at one change before the store counts as too busy; the lock below keeps it at three within one process.
_ATTEMPTS = 100


class GuardedSaves:
    """Saves changes of stored sessions: ``save`` sends one to the store, ``backend`` names that in messages."""

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
        # After a conflict, the requests of this process take turns: otherwise n at once would need n² attempts.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def save(
        self,
        session: Session,
        pending: PendingSave | None,
        again: Callable[[], PendingSave | None],
        forget: str | None = None,
    ) -> PendingSave | None:
        """Save a change; after a conflict take what is stored now as the base and plan it again.

        Args:
            session: whose change it is; marked as saved afterwards.
            pending: what to save.
            again: plans the change from what the session is based on then.
            forget: a key whose value is to be read again.

        Returns:
            What was saved; ``None`` when nothing was left to save.

        Raises:
            SessionGone: the session has ended.
            StoreUnavailable: the store failed, or other requests were faster a hundred times.
        """
        if pending is None:
            return None
        handle = pending.change.handle
        # The first attempt takes no lock, unless others wait for it already.
        if handle not in self._locks and self._is_saved(session, pending, await self._save(pending.change), forget):
            return pending
        async with self._locks.setdefault(handle, asyncio.Lock()):
            for _ in range(_ATTEMPTS):
                pending = again()
                if pending is None or self._is_saved(session, pending, await self._save(pending.change), forget):
                    return pending
        raise StoreUnavailable(self._backend, "the session is changed by too many requests at once")

    @staticmethod
    def _is_saved(session: Session, pending: PendingSave, answer: Answer, forget: str | None) -> bool:
        """Mark what was saved; false after a conflict, with the session based on what is stored now."""
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
        """Replace one value by ``function`` of it, stored only if it is still the one that ``function`` saw.

        This is ``Session.transform``. Returns the value stored.
        """
        now = self._clock()

        def others() -> PendingSave | None:
            """The session's other changes. They are saved first, so that the function sees them."""
            record, delta = stored_record(session), session.delta()
            return PendingSave(lifecycle.write(record, self.sealed(record, delta), now), delta) if delta else None

        def result() -> PendingSave:
            """The function's result, with the value that it saw as the guard."""
            record, delta = stored_record(session), session.delta()
            stored = record.data.get(key)
            seen = default
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
        """Return a delta with its values as the store gets them: encrypted, if there is a key."""
        values = self._codec.seal_all(record.handle, delta.set)
        return delta if values is delta.set else msgspec.structs.replace(delta, set=values)


def stored_record(session: Session) -> Record:
    """Return the record of a session that is stored; the caller knows that it is."""
    assert session.record is not None  # noqa: S101 - for the type checker
    return session.record
