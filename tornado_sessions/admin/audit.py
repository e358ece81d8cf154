"""``Audit``: who ended what, when and why. The entry is written before the act, so no act is without a trace.

It must not know pages, nor how sessions are ended: it is given what to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tornado_sessions.admin.stores import AdminStore, Entry
from tornado_sessions.lifecycle import Moment
from tornado_sessions.record import Facts

__all__ = ["Actor", "Audit"]

_LONGEST_REASON = 500


class Actor(NamedTuple):
    """Who acts: a user, ``token NAME`` or ``cli``; from which address."""

    name: str
    ip: str = ""


class Audit:
    """The audit log.

    Args:
        store: where it is kept.
        clock: the time in UTC seconds.
    """

    def __init__(self, store: AdminStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def open(self) -> None:
        """Open the store. Raises ``StoreUnavailable``."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def ended(self, actor: Actor, act: str, target: str, reason: str, run: Callable[[], Awaitable[int]]) -> int:
        """Write who is about to end what, do it, then write how many sessions that ended.

        Raises:
            StoreUnavailable: the entry could not be written, and then nothing was done; or the act itself failed.
        """
        entry = Entry(
            at=self._clock(), actor=actor.name, ip=actor.ip, act=act, target=target, reason=reason[:_LONGEST_REASON]
        )
        number = await self._store.append(entry)
        ended = await run()
        await self._store.complete(number, ended)
        return ended

    async def suspect(self, session: Facts, moment: Moment) -> None:
        """Write that a secret which was rotated away came back: a sign of theft. Fits ``Sessions.on_theft``."""
        actor, act = session.user or "", "old token presented"
        entry = Entry(at=moment.now, actor=actor, ip=moment.ip, act=act, target=session.handle, ended=0)
        await self._store.append(entry)

    async def entries(self, before: int | None = None, limit: int = 50) -> list[Entry]:
        """The newest entries, or those before the one with id ``before``."""
        return await self._store.entries(before, limit)
