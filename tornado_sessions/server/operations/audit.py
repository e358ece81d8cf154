"""``Audit``: who did what, when and why, as a chain of entries that cannot be changed unseen.

It must not know pages, nor how sessions are ended: it is given what to do. The entry is written before the act, so no act is
without a trace. Each entry's hash is an HMAC over its text and the hash before it; what an act came to is sealed the same way.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from tornado_sessions.messages import Message
from tornado_sessions.record import SessionSummary
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.stores import AdminStore, AuditQuery, DamagedEntry, Entry
from tornado_sessions.server.roles import Role

__all__ = ["VERIFIED", "Actor", "Audit", "Verification"]

#: How many entries the dashboard verifies; the command verifies all.
VERIFIED = 10_000
_LONGEST = 500
_PAGE = 500
_FAULTS_TOLD = 20
#: What the chain covers of an entry, besides the hash before it.
_COVERED = ("id", "at", "actor", "user", "ip", "act", "target", "reason")


class Actor(NamedTuple):
    """Who acts: a user, ``token NAME`` or ``cli``; from which address, and with which rights."""

    name: str
    ip: str = ""
    role: Role = Role.ADMIN


class Verification(NamedTuple):
    """What a look at the chain found.

    Attributes:
        entries: how many were looked at.
        faults: a sentence for each entry that is not what it was, at most twenty.
        head: the hash of the newest entry; noted elsewhere, it shows later that nothing was cut off.
        knows_head: whether the hash that was asked for is in the chain; ``None`` when it may be older than what was looked at.
    """

    entries: int
    faults: list[Message]
    head: str
    knows_head: bool | None


class Audit:
    """The audit log.

    Args:
        store: where it is kept.
        clock: the time in UTC seconds.
        keys: what hashes are made with, the newest first; older ones verify entries of before a change of secrets.
    """

    def __init__(self, store: AdminStore, clock: Callable[[], float], keys: Sequence[str]) -> None:
        self._store = store
        self._clock = clock
        self._keys = [hmac.digest(key.encode(), b"tornado_sessions audit", "sha256") for key in keys]
        self._one_at_a_time = asyncio.Lock()
        self._last: tuple[int, str] | None = None

    async def open(self) -> None:
        """Open the store. Raises ``StoreUnavailable``."""
        await self._store.open()

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    # --- writing -------------------------------------------------------------------------------------------------

    async def note(
        self, actor: Actor, act: Action, *, user: str = "", target: str = "", reason: str = "", ended: int | None = None
    ) -> Entry:
        """Write one entry. Raises ``StoreUnavailable``, and then it may be there or not."""
        entry = Entry(
            at=self._clock(),
            actor=actor.name,
            user=user[:_LONGEST],
            ip=actor.ip,
            act=str(act),
            target=target[:_LONGEST],
            reason=reason[:_LONGEST],
            ended=ended,
        )
        async with self._one_at_a_time:
            return await self._append(entry)

    async def _append(self, entry: Entry) -> Entry:
        """Chain an entry to the last one, whichever process wrote that."""
        while True:
            if self._last is None:
                newest = await self._store.entries(AuditQuery(limit=1))
                self._last = (newest[0].id, newest[0].hash) if newest else (0, "")
            (number, previous), self._last = self._last, None
            linked = msgspec.structs.replace(entry, id=number + 1, previous=previous)
            digest = _hash(self._keys[0], linked)
            linked = msgspec.structs.replace(linked, hash=digest)
            if linked.ended is not None:
                linked = msgspec.structs.replace(linked, seal=_seal(self._keys[0], linked, linked.ended))
            if await self._store.append(linked):
                self._last = (linked.id, linked.hash)
                return linked

    async def ended(
        self, actor: Actor, act: Action, target: str, reason: str, run: Callable[[], Awaitable[int]], user: str = ""
    ) -> int:
        """Write who is about to end what, do it, then write how many sessions that ended.

        Raises:
            StoreUnavailable: the entry could not be written, and then nothing was done; or the act itself failed.
        """
        entry = await self.note(actor, act, user=user, target=target, reason=reason)
        ended = await run()
        await self.complete(entry, ended)
        return ended

    async def complete(self, entry: Entry, ended: int) -> None:
        """Say how many sessions an act has ended; what was said once stays."""
        await self._store.complete(entry.id, ended, _seal(self._keys[0], entry, ended))

    async def suspect(self, session: SessionSummary, request: RequestInfo) -> None:
        """Write that a secret which was rotated away came back: a sign of theft. Fits ``Sessions.on_theft``."""
        user = session.user or ""
        await self.note(Actor(user, request.ip), Action.OLD_TOKEN_PRESENTED, user=user, target=session.handle, ended=0)

    # --- reading -------------------------------------------------------------------------------------------------

    async def entries(self, query: AuditQuery | None = None) -> list[Entry]:
        """Entries, the newest first."""
        return await self._store.entries(query or AuditQuery())

    async def all(self, query: AuditQuery) -> AsyncIterator[list[Entry]]:
        """Every entry that matches, page by page, the newest first."""
        before = query.before
        while found := await self._store.entries(msgspec.structs.replace(query, before=before, limit=_PAGE)):
            yield found
            before = found[-1].id

    async def verify(
        self, head: str = "", most: int | None = None, advanced: Callable[[int], object] = lambda _: None
    ) -> Verification:
        """Look at the chain, from its newest entry.

        Args:
            head: a hash that was noted before, to be found again.
            most: about how many entries; ``None``: all.
            advanced: told after each page how many were looked at.
        """
        checked, faults, newest = 0, list[Message](), ""
        knows_head: bool | None = not head
        after: Entry | None = None
        async for page in self.all(AuditQuery()):
            for entry in page:
                newest = newest or entry.hash
                knows_head = knows_head or entry.hash == head
                faults += self._faults(entry, after)
                after = entry
            checked += len(page)
            advanced(len(page))
            if most is not None and checked >= most:
                knows_head = knows_head or None
                break
        return Verification(checked, faults[:_FAULTS_TOLD], newest, knows_head)

    def _faults(self, entry: Entry, after: Entry | None) -> list[Message]:
        """What is wrong with an entry and its link to the one that follows it."""
        found = []
        if after is not None and after.id != entry.id + 1:
            found.append(_fault("Entries %s to %s are missing.", entry.id + 1, after.id - 1))
        if isinstance(entry, DamagedEntry):
            # Its hash cannot be trusted either, so the entry behind it is not blamed for not following it.
            found.append(Message("Entry %s is damaged: %s", (str(entry.id), entry.why)))
            return found
        is_next = after is not None and after.id == entry.id + 1 and not isinstance(after, DamagedEntry)
        if after is not None and is_next and after.previous != entry.hash:
            found.append(_fault("Entry %s does not follow entry %s.", after.id, entry.id))
        if not any(_is_same(entry.hash, _hash(key, entry)) for key in self._keys):
            found.append(
                _fault("Entry %s was changed, or written with a secret that this server does not have.", entry.id)
            )
        sealed = entry.ended is None and not entry.seal
        if not sealed and not any(_is_same(entry.seal, _seal(key, entry, entry.ended)) for key in self._keys):
            found.append(_fault("The outcome of entry %s was changed.", entry.id))
        return found

    async def forget(self, kept_for: float) -> int:
        """Remove entries that are older than so many seconds. Returns how many; the chain begins at the oldest that stays."""
        removed = 0
        while step := await self._store.forget_entries(self._clock() - kept_for, _PAGE):
            removed += step
        return removed


def _fault(text: str, *entries: int) -> Message:
    return Message(text, tuple(map(str, entries)))


def _is_same(stored: str, expected: str) -> bool:
    # As bytes: of two texts, a stored one with other letters than ASCII would be an error.
    return hmac.compare_digest(stored.encode("utf-8", "replace"), expected.encode())


def _hash(key: bytes, entry: Entry) -> str:
    """The hash of an entry, which covers the one before it."""
    covered = [getattr(entry, name) for name in _COVERED]
    return hmac.new(key, msgspec.json.encode([entry.previous, *covered]), sha256).hexdigest()


def _seal(key: bytes, entry: Entry, ended: int | None) -> str:
    return hmac.new(key, msgspec.json.encode(["outcome", entry.hash, ended]), sha256).hexdigest()
