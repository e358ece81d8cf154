"""``Audit``: who did what, when and why, in a chain of entries that nobody can change unnoticed.

It must not know pages, nor how sessions are ended: it is given what to run.

An entry is written before its action runs, so that no action is without a trace: if the process dies in between, an entry without
an outcome remains. Each entry's hash is an HMAC over its text and the hash of the entry before; whoever changes, removes or inserts
an entry in the store would have to know the server's secret to repair the chain behind it. The number of ended sessions is known
only later, so it is proved by a seal of its own. What the chain cannot show is that its newest entries were cut off: for that, an
operator keeps the newest hash elsewhere and gives it to ``verify`` later.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from tornado_sessions.messages import Message
from tornado_sessions.record import SessionSummary
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.documents import Document, DocumentStore, Log
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery, DamagedEntry, Entry, read_entry, tags_of, time_of
from tornado_sessions.server.roles import Role

__all__ = ["VERIFIED", "Actor", "Audit", "Verification"]

#: How many entries the dashboard verifies; the command verifies all.
VERIFIED = 10_000
#: Characters that are kept of a user, a target and a reason.
_MAX_TEXT = 500
_PAGE = 500
_MAX_FAULTS = 20
#: The fields that the hash of an entry covers, besides the hash before it.
_COVERED = ("id", "at", "actor", "user", "ip", "act", "target", "reason")


class Actor(NamedTuple):
    """The author of an entry: a user, ``token NAME`` or ``cli``; from which address, and with which rights."""

    name: str
    ip: str = ""
    role: Role = Role.ADMIN


class Verification(NamedTuple):
    """The result of verifying the chain.

    Attributes:
        entries: how many were verified.
        faults: a sentence for each entry that was changed or is missing, at most twenty.
        head: the hash of the newest entry; kept elsewhere, it shows later whether entries were cut off.
        knows_head: whether the given hash is in the chain; ``None`` when it may be older than what was verified.
    """

    entries: int
    faults: list[Message]
    head: str
    knows_head: bool | None


class Audit:
    """The audit log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: where it is kept.
        clock: the time in UTC seconds.
        keys: the server's secrets, the newest first; it hashes, the older ones verify entries from before a rotation.
    """

    def __init__(self, documents: DocumentStore, clock: Callable[[], float], keys: Sequence[str]) -> None:
        self._log = Log(documents, "audit", time_of)
        self._clock = clock
        self._keys = [hmac.digest(key.encode(), b"tornado_sessions audit", "sha256") for key in keys]

    # --- writing -------------------------------------------------------------------------------------------------

    async def note(
        self, actor: Actor, act: Action, *, user: str = "", target: str = "", reason: str = "", ended: int | None = None
    ) -> Entry:
        """Write one entry. After ``StoreUnavailable`` it may have been written or not."""
        entry = Entry(
            at=self._clock(),
            actor=actor.name,
            user=user[:_MAX_TEXT],
            ip=actor.ip,
            act=str(act),
            target=target[:_MAX_TEXT],
            reason=reason[:_MAX_TEXT],
            ended=ended,
        )
        return read_entry(await self._log.append(lambda number, last: self._linked(entry, number, last)))

    def _linked(self, entry: Entry, number: int, last: Document | None) -> tuple[bytes, list[str]]:
        """An entry with its number, chained to the last one, as it is stored."""
        previous = read_entry(last).hash if last is not None else ""
        linked = msgspec.structs.replace(entry, id=number, previous=previous)
        linked = msgspec.structs.replace(linked, hash=_hash(self._keys[0], linked))
        if linked.ended is not None:
            linked = msgspec.structs.replace(linked, seal=_seal(self._keys[0], linked, linked.ended))
        return msgspec.json.encode(linked), tags_of(linked)

    async def ended(
        self, actor: Actor, act: Action, target: str, reason: str, run: Callable[[], Awaitable[int]], user: str = ""
    ) -> int:
        """Write an entry, run its action, then add to the entry how many sessions that ended, and return it.

        Raises:
            StoreUnavailable: the entry could not be written, and nothing was done; or the action itself failed.
        """
        entry = await self.note(actor, act, user=user, target=target, reason=reason)
        ended = await run()
        await self.complete(entry, ended)
        return ended

    async def complete(self, entry: Entry, ended: int) -> None:
        """Add to an entry how many sessions its action ended. The first number stays."""
        done = msgspec.structs.replace(entry, ended=ended, seal=_seal(self._keys[0], entry, ended))
        await self._log.complete(entry.id, msgspec.json.encode(done), tags_of(entry))

    async def suspect(self, session: SessionSummary, request: RequestInfo) -> None:
        """Record that a secret came back which had been rotated away: a sign of theft. Fits ``Sessions.on_theft``."""
        user = session.user or ""
        await self.note(Actor(user, request.ip), Action.OLD_TOKEN_PRESENTED, user=user, target=session.handle, ended=0)

    # --- reading -------------------------------------------------------------------------------------------------

    async def entries(self, query: AuditQuery | None = None) -> list[Entry]:
        """Return entries, the newest first; damaged ones as ``DamagedEntry``."""
        return list(map(read_entry, await self._log.entries((query or AuditQuery()).of_log)))

    async def all(self, query: AuditQuery) -> AsyncIterator[list[Entry]]:
        """Yield every entry that matches, page by page, the newest first."""
        before = query.before
        while found := await self.entries(msgspec.structs.replace(query, before=before, limit=_PAGE)):
            yield found
            before = found[-1].id

    async def verify(
        self, head: str = "", most: int | None = None, advanced: Callable[[int], object] = lambda _: None
    ) -> Verification:
        """Verify the chain from its newest entry.

        Args:
            head: a hash that was noted earlier and must be found.
            most: about how many entries; ``None``: all.
            advanced: called after each page with the number of entries it had.
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
        return Verification(checked, faults[:_MAX_FAULTS], newest, knows_head)

    def _faults(self, entry: Entry, after: Entry | None) -> list[Message]:
        """What is wrong with an entry, and with its link to the one that follows it."""
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
        is_open = entry.ended is None and not entry.seal
        if not is_open and not any(_is_same(entry.seal, _seal(key, entry, entry.ended)) for key in self._keys):
            found.append(_fault("The outcome of entry %s was changed.", entry.id))
        return found

    async def forget(self, kept_for: float) -> int:
        """Remove entries older than ``kept_for`` seconds. Returns how many; the chain then begins at the oldest that stays."""
        removed = 0
        while step := await self._log.forget(self._clock() - kept_for):
            removed += step
        return removed


def _fault(text: str, *entries: int) -> Message:
    return Message(text, tuple(map(str, entries)))


def _is_same(stored: str, expected: str) -> bool:
    # As bytes: of two texts, compare_digest refuses letters outside ASCII.
    return hmac.compare_digest(stored.encode("utf-8", "replace"), expected.encode())


def _hash(key: bytes, entry: Entry) -> str:
    covered = [getattr(entry, name) for name in _COVERED]
    return hmac.new(key, msgspec.json.encode([entry.previous, *covered]), sha256).hexdigest()


def _seal(key: bytes, entry: Entry, ended: int | None) -> str:
    return hmac.new(key, msgspec.json.encode(["outcome", entry.hash, ended]), sha256).hexdigest()
