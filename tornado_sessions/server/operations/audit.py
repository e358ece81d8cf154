"""``Audit``: the audit log, a hash chain that makes changes detectable.

An entry is written before its action runs, so every action leaves a trace: if the process dies in between, the entry remains
without an outcome. Each entry's hash is an HMAC over its fields and the previous hash; an attacker with access to the store needs
the server's secret to change, delete or insert an entry and repair the chain after it. The number of ended sessions is known only
later, so a separate HMAC, the seal, protects it. The chain alone cannot show that its newest entries were deleted: to detect that,
keep the newest hash elsewhere and pass it to ``verify`` later.

It must not know pages or how sessions are ended; callers pass the function to run.
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

#: The number of entries that the dashboard verifies; the command verifies all.
VERIFIED = 10_000
#: Maximum length of a stored user, target or reason, in characters.
_MAX_TEXT = 500
_PAGE = 500
_MAX_FAULTS = 20
#: The fields that an entry's hash covers, in addition to the previous hash.
_COVERED = ("id", "at", "actor", "user", "ip", "act", "target", "reason")


class Actor(NamedTuple):
    """The author of an entry.

    Attributes:
        name: a username, ``token NAME`` or ``cli``.
        ip: the client's IP address; empty for commands.
        role: the role whose permissions apply.
    """

    name: str
    ip: str = ""
    role: Role = Role.ADMIN


class Verification(NamedTuple):
    """The result of verifying the chain.

    Attributes:
        entries: the number of verified entries.
        faults: a message for each changed or missing entry, at most twenty.
        head: the hash of the newest entry; pass it to a later ``verify`` to detect deleted entries.
        knows_head: whether the given hash is in the chain; ``None`` if it may be older than the verified entries.
    """

    entries: int
    faults: list[Message]
    head: str
    knows_head: bool | None


class Audit:
    """The audit log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: stores the entries.
        clock: the time in UTC seconds.
        keys: the server's secrets, newest first. The newest hashes new entries; the older ones verify earlier entries.
    """

    def __init__(self, documents: DocumentStore, clock: Callable[[], float], keys: Sequence[str]) -> None:
        self._log = Log(documents, "audit", time_of)
        self._clock = clock
        self._keys = [hmac.digest(key.encode(), b"tornado_sessions audit", "sha256") for key in keys]

    # --- writing -------------------------------------------------------------------------------------------------

    async def note(
        self, actor: Actor, act: Action, *, user: str = "", target: str = "", reason: str = "", ended: int | None = None
    ) -> Entry:
        """Write one entry and return it. After ``StoreUnavailable`` it may or may not have been written."""
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
        """Number an entry, chain it to the last one, and return its stored form and its tags."""
        # Called again with another number and another last entry if a different process has written one in between.
        previous = read_entry(last).hash if last is not None else ""
        linked = msgspec.structs.replace(entry, id=number, previous=previous)
        linked = msgspec.structs.replace(linked, hash=_hash(self._keys[0], linked))
        if linked.ended is not None:
            linked = msgspec.structs.replace(linked, seal=_seal(self._keys[0], linked, linked.ended))
        return msgspec.json.encode(linked), tags_of(linked)

    async def ended(
        self, actor: Actor, act: Action, target: str, reason: str, run: Callable[[], Awaitable[int]], user: str = ""
    ) -> int:
        """Write an entry, run its action, and add the number of ended sessions to the entry. Return this number.

        Raises:
            StoreUnavailable: the entry could not be written and the action did not run, or the action itself failed.
        """
        entry = await self.note(actor, act, user=user, target=target, reason=reason)
        ended = await run()
        await self.complete(entry, ended)
        return ended

    async def complete(self, entry: Entry, ended: int) -> None:
        """Add to an entry the number of sessions that its action ended. A second call does not change the number."""
        done = msgspec.structs.replace(entry, ended=ended, seal=_seal(self._keys[0], entry, ended))
        await self._log.complete(entry.id, msgspec.json.encode(done), tags_of(entry))

    async def suspect(self, session: SessionSummary, request: RequestInfo) -> None:
        """Record that a client presented a rotated-out secret, a sign of theft. A callback for ``Sessions.on_theft``."""
        user = session.user or ""
        await self.note(Actor(user, request.ip), Action.OLD_TOKEN_PRESENTED, user=user, target=session.handle, ended=0)

    # --- reading -------------------------------------------------------------------------------------------------

    async def entries(self, query: AuditQuery | None = None) -> list[Entry]:
        """Return entries, newest first; damaged ones as ``DamagedEntry``."""
        return list(map(read_entry, await self._log.entries((query or AuditQuery()).of_log)))

    async def all(self, query: AuditQuery) -> AsyncIterator[list[Entry]]:
        """Yield all matching entries in pages, newest first."""
        before = query.before
        while found := await self.entries(msgspec.structs.replace(query, before=before, limit=_PAGE)):
            yield found
            before = found[-1].id

    async def verify(
        self, head: str = "", most: int | None = None, advanced: Callable[[int], object] = lambda _: None
    ) -> Verification:
        """Verify the chain, starting with its newest entry.

        Args:
            head: the ``Verification.head`` of an earlier call, which must still be in the chain; empty to skip this check.
            most: stop after the page that reaches this number of entries; ``None`` verifies all.
            advanced: called after each page with its number of entries.
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
                # A head that was not found may belong to an older entry, so it is not a fault.
                knows_head = knows_head or None
                break
        return Verification(checked, faults[:_MAX_FAULTS], newest, knows_head)

    def _faults(self, entry: Entry, after: Entry | None) -> list[Message]:
        """Return the faults of an entry and of its link to the next one."""
        found = []
        if after is not None and after.id != entry.id + 1:
            found.append(_fault("Entries %s to %s are missing.", entry.id + 1, after.id - 1))
        if isinstance(entry, DamagedEntry):
            # Its hash cannot be trusted either, so a mismatch is not reported as a fault of the next entry.
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
        """Delete entries older than ``kept_for`` seconds and return their number. The chain then starts at the oldest one left."""
        removed = 0
        while step := await self._log.forget(self._clock() - kept_for):
            removed += step
        return removed


def _fault(text: str, *entries: int) -> Message:
    return Message(text, tuple(map(str, entries)))


def _is_same(stored: str, expected: str) -> bool:
    # compare_digest accepts only ASCII text, and a damaged entry may contain anything.
    return hmac.compare_digest(stored.encode("utf-8", "replace"), expected.encode())


def _hash(key: bytes, entry: Entry) -> str:
    # A JSON list keeps the fields apart: text moved from the end of one field to the start of the next changes the hash.
    covered = [getattr(entry, name) for name in _COVERED]
    return hmac.new(key, msgspec.json.encode([entry.previous, *covered]), sha256).hexdigest()


def _seal(key: bytes, entry: Entry, ended: int | None) -> str:
    # The seal covers the entry's hash, so it cannot be copied to another entry.
    return hmac.new(key, msgspec.json.encode(["outcome", entry.hash, ended]), sha256).hexdigest()
