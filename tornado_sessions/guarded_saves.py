"""Changes that must not undo another's: saved with a guard, and drafted anew where another change came in between.

It must not know cookies, requests or what is drafted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec

from tornado_sessions import lifecycle
from tornado_sessions.change import apply_change
from tornado_sessions.codec import Codec, JSONValue
from tornado_sessions.errors import SessionGone, StoreUnavailable
from tornado_sessions.lifecycle import Delta
from tornado_sessions.record import Change, Conflict, Create, Outcome, Record
from tornado_sessions.request import PendingSave
from tornado_sessions.session import Session

__all__ = ["Answer", "AtomicSaves", "base"]

Answer: TypeAlias = Outcome | Conflict

# Attempts at one change before the store counts as too busy; the lock below keeps it at three in one process.
_ATTEMPTS = 100


class AtomicSaves:
    """Saves drafts of sessions.

    Args:
        save: sends one change to the store.
        codec: of the values.
        backend: the store's name, for messages.
        clock: the time in UTC seconds.
    """

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
        # Who met a conflict takes turns with the others of this process: otherwise n at once would need n² attempts.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def save(
        self,
        session: Session,
        draft: PendingSave | None,
        again: Callable[[], PendingSave | None],
        forget: str | None = None,
    ) -> PendingSave | None:
        """Save a draft; where another change came in between, take what is stored and draft ``again``.

        Args:
            session: whose draft it is; it is settled afterwards.
            draft: what to save.
            again: makes the draft anew from what the session is based on by then.
            forget: a key whose value is to be read again.

        Returns:
            What was saved; ``None`` when nothing was left to save.

        Raises:
            SessionGone: the session ended meanwhile.
            StoreUnavailable: it failed, or others were faster a hundred times.
        """
        if draft is None:
            return None
        handle = draft.change.handle
        # The first attempt waits for nobody, unless others wait already.
        if handle not in self._locks and self._settled(session, draft, await self._save(draft.change), forget):
            return draft
        async with self._locks.setdefault(handle, asyncio.Lock()):
            for _ in range(_ATTEMPTS):
                draft = again()
                if draft is None or self._settled(session, draft, await self._save(draft.change), forget):
                    return draft
        raise StoreUnavailable(self._backend, "the session is changed by too many requests at once")

    @staticmethod
    def _settled(session: Session, draft: PendingSave, answer: Answer, forget: str | None) -> bool:
        """Settle what was saved; false after a conflict, with the session based on what is stored now."""
        change = draft.change
        if isinstance(answer, Conflict):
            session.rebase(answer.record)
            return False
        if answer is Outcome.GONE or session.record is None or isinstance(change, Create):
            raise SessionGone(change.handle)
        session.mark_saved(apply_change(change, session.record), draft.delta, forget=forget)
        return True

    async def transform(
        self, session: Session, key: str, function: Callable[[JSONValue], JSONValue], default: JSONValue
    ) -> JSONValue:
        """Replace one value by ``function`` of it, stored only if it is still the one that ``function`` saw.

        Returns the value stored. Raises ``SessionGone``; ``NotStorable`` when the function returned what is not JSON.
        """
        now = self._clock()

        def pending() -> PendingSave | None:
            """What else is pending; it goes first, so that the function sees it."""
            record, delta = base(session), session.delta()
            return PendingSave(lifecycle.write(record, self.sealed(record, delta), now), delta) if delta else None

        def make() -> PendingSave:
            """The function's result, with the value that it saw as the guard."""
            record, delta = base(session), session.delta()
            stored = record.data.get(key)
            seen = default
            if stored is not None:
                seen = self._codec.decode(record.handle, self._codec.unseal(record.handle, key, stored))
            new = self._codec.seal(record.handle, key, self._codec.encode(key, function(seen)))
            sealed = self.sealed(record, delta)
            guarded = Delta(set={**sealed.set, key: new}, expect={**sealed.expect, key: stored})
            return PendingSave(lifecycle.write(record, guarded, now), delta)

        await self.save(session, pending(), pending)
        await self.save(session, make(), make, forget=key)
        stored: JSONValue = session[key]
        return stored

    def sealed(self, record: Record, delta: Delta) -> Delta:
        """The same delta with its values as the store gets them."""
        values = self._codec.seal_all(record.handle, delta.set)
        return delta if values is delta.set else msgspec.structs.replace(delta, set=values)


def base(session: Session) -> Record:
    """What is stored of a session that is."""
    assert session.record is not None  # noqa: S101 - for the type checker: only stored sessions are changed
    return session.record
