"""Verify the audit log: ``look`` compares its end with the signed heads, ``verify`` walks the whole chain.

It must not know actions, and it changes nothing. It has more than 300 lines because both share the rules of a whole chain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.documents import DocumentStore, Log, LogQuery
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit_head import Head, HeadKeeper, Place, Witness
from tornado_sessions.server.operations.entries import (
    AuditQuery,
    DamagedEntry,
    Entry,
    hash_of,
    is_same,
    outcome_tag,
    read_entry,
    tags_of,
)

__all__ = ["CHANGED", "VERIFIED", "Checker", "Look", "Verification"]

#: The number of entries that the dashboard verifies; the command verifies all.
VERIFIED = 10_000
_PAGE = 500
#: Each entry has one of these.
_ESSENTIAL = {AuditQuery().of_log.tag, outcome_tag()}
#: Kinds of documents that are made only after an entry has recorded it.
_RECORDED = ("token", "job")
_MAX_FAULTS = 20

#: A fault that also occurs if an old key was removed from the list too early.
CHANGED = N_("Entry %s was changed, or written with a secret that this server does not have.")
_FORGED = {
    Place.STORE: N_("The signed head of the audit log was changed, or replaced by an older copy."),
    Place.FILE: N_("The file with the head of the audit log was changed."),
}
_SHORT = {
    Place.STORE: N_("The newest entries are missing: the signed head names entry %s, the log ends with entry %s."),
    Place.FILE: N_(
        "The newest entries are missing: the file beside the secret records entry %s, but the log ends with entry %s."
    ),
    Place.MEMORY: N_("The newest entries are missing: this process knows entry %s, the log ends with entry %s."),
}
_OTHER = {
    Place.STORE: N_("Entry %s is not the one that the signed head names."),
    Place.FILE: N_("Entry %s differs from the one recorded in the file beside the secret."),
    Place.MEMORY: N_("Entry %s is not the one that this process knows."),
}


class Look(NamedTuple):
    """The end of the log, compared with the heads.

    Attributes:
        number, hash: of the newest entry; 0 and empty for an empty log.
        kept: the number of entries that should exist.
        faults: a message for each fault of the end.
        altered: a message for the newest entry that records an earlier fault; empty if there is none.
        heads: the genuine heads.
    """

    number: int
    hash: str
    kept: int
    faults: list[Message]
    altered: list[Message]
    heads: list[Head]

    @property
    def all_faults(self) -> list[Message]:
        """The faults of the end, and those that entries record."""
        return [*self.faults, *self.altered]


class Verification(NamedTuple):
    """The result of verifying the chain.

    Attributes:
        entries: the number of verified entries.
        faults: a message for each changed or missing entry, at most twenty.
        head: the hash of the newest entry; pass it to a later ``verify`` to detect deleted entries.
        number: the number of the newest entry.
        knows_head: whether the given hash is in the chain; ``None`` if it may be older than the verified entries.
    """

    entries: int
    faults: list[Message]
    head: str
    number: int
    knows_head: bool | None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found to be changed or missing."""
        return not self.faults and self.knows_head is not False


class Checker:
    """Verifies a log. Each coroutine may raise ``StoreUnavailable``.

    Args:
        log: the entries.
        heads: the heads.
        keys: the keys of the entries' hashes.
        documents: has what the log must have recorded.
    """

    def __init__(self, log: Log, heads: HeadKeeper, keys: Sequence[bytes], documents: DocumentStore) -> None:
        self._documents = documents
        self._log = log
        self._heads = heads
        self._keys = keys

    async def look(self) -> Look:
        """Compare the newest entry with the heads: a few reads, however long the log is."""
        found = await self._look()
        # A process that starts a log writes its head first. It may have done so between the two reads.
        return await self._look() if found.faults else found

    async def _look(self) -> Look:
        witnesses = await self._heads.witnesses()
        newest = await self._log.newest()
        last = read_entry(newest) if newest is not None else Entry(at=0.0, actor="", act="")
        heads = [witness.head for witness in witnesses if witness.head is not None]
        faults = [Message(_FORGED[witness.place]) for witness in witnesses if witness.is_forged]
        stored = witnesses[0]
        is_used = last.id > 0 or any(head.number for head in heads)
        if stored.head is None and not stored.is_forged and is_used:
            faults.append(Message(N_("The signed head of the audit log is missing.")))
        if stored.head is not None and last.id - stored.head.number > stored.head.tolerance:
            faults.append(
                _fault(N_("The signed head of the audit log is %s entries old."), last.id - stored.head.number)
            )
        forgotten = max((head.forgotten for head in heads), default=0)
        if not is_used and stored.head is None:
            faults += await self._traces()
        for witness in witnesses:
            faults += await self._contradiction(witness, last, forgotten)
        tag = AuditQuery(act=Action.AUDIT_ALTERED).of_log.tag
        altered = [_recorded(read_entry(entry)) for entry in await self._log.entries(LogQuery(tag=tag, limit=1))]
        return Look(last.id, last.hash, last.id - forgotten, list(dict.fromkeys(faults)), altered, heads)

    async def _traces(self) -> list[Message]:
        """Return a fault if there is what an empty log without a head should have recorded: then all of it was removed."""
        for kind in _RECORDED:
            if await self._documents.page(kind, limit=1):
                return [Message(N_("The audit log is empty, but there are API tokens or jobs: it was removed."))]
        return []

    async def _contradiction(self, witness: Witness, last: Entry, forgotten: int) -> list[Message]:
        head = witness.head
        if head is None or head.number == 0:
            return []
        if head.number > last.id:
            return [_fault(_SHORT[witness.place], head.number, last.id)]
        if head.number == last.id:
            named = last
        else:
            found = await self._log.get(head.number)
            if found is None:
                missing = [_fault(N_("Entry %s is missing."), head.number)]
                return missing if head.number > forgotten else []
            named = read_entry(found)
        is_right = isinstance(named, DamagedEntry) or is_same(named.hash, head.hash)
        return [] if is_right else [_fault(_OTHER[witness.place], head.number)]

    async def verify(
        self, head: str = "", most: int | None = None, advanced: Callable[[int], object] = lambda _: None
    ) -> Verification:
        """Verify the chain, starting with its newest entry.

        Args:
            head: the ``Verification.head`` of an earlier call, which must still be in the chain; empty to skip this check.
            most: stop after the page that reaches this number of entries; ``None`` verifies all.
            advanced: called after each page with its number of entries.
        """
        look = await self.look()
        walk = _Walk(self._keys, head)
        hidden: list[int] = []
        async for page in self._pages(look.number):
            walk.add(page)
            hidden += await self._hidden(page, every_tag=most is None)
            advanced(len(page))
            if most is not None and walk.checked >= most:
                # A head that was not found may belong to an older entry, so it is not a fault.
                walk.knows_head = walk.knows_head or None
                break
        else:
            walk.reached_start()
        # Read what was forgotten last: old entries may have been removed during the walk.
        start = await self._start()
        unlisted = [
            _fault(N_("Entry %s is missing in lists."), number) for number in hidden if number > start.forgotten
        ]
        faults = dict.fromkeys([*look.faults, *walk.faults, *walk.missing(start), *unlisted])
        return Verification(walk.checked, list(faults)[:_MAX_FAULTS], look.hash, look.number, walk.knows_head)

    async def _hidden(self, page: Sequence[Entry], *, every_tag: bool) -> list[int]:
        """Return the entries that have lost a tag by which lists find them, or by which an action finds its outcome.

        Tags are not signed: removing them hides an entry and leaves the chain whole. Those of each user and action are
        many, so only a verification of everything asks for them.
        """
        expected: dict[str, list[int]] = {}
        for entry in page:
            if not isinstance(entry, DamagedEntry):
                tags = tags_of(entry)
                for tag in tags if every_tag else _ESSENTIAL.intersection(tags):
                    expected.setdefault(tag, []).append(entry.id)
        hidden: set[int] = set()
        # Damaged entries still have their tags, which nobody knows: they are found between the others.
        damaged = sum(isinstance(entry, DamagedEntry) for entry in page)
        for tag, numbers in expected.items():
            query = LogQuery(before=page[0].id + 1, tag=tag, limit=len(numbers) + damaged)
            found = {int(document.key) for document in await self._log.entries(query)}
            hidden.update(number for number in numbers if number not in found)
        return sorted(hidden, reverse=True)

    async def _pages(self, newest: int) -> AsyncIterator[list[Entry]]:
        before = newest + 1
        while page := await self._log.entries(LogQuery(before=before, limit=_PAGE)):
            yield list(map(read_entry, page))
            before = int(page[-1].key)

    async def _start(self) -> Head:
        """Return the head that has forgotten most."""
        heads = (witness.head for witness in await self._heads.witnesses())
        return max((head for head in heads if head is not None), key=lambda head: head.forgotten, default=Head())


class _Walk:
    """One way through the chain, from the newest entry to the oldest."""

    def __init__(self, keys: Sequence[bytes], head: str) -> None:
        self._keys = keys
        self._head = head
        self.checked = 0
        self.faults: list[Message] = []
        self.knows_head: bool | None = not head
        self._gaps: list[tuple[int, int]] = []
        self._before: Entry | None = None
        #: By entry, the hash that the next one names as the previous.
        self._named: dict[int, str] = {}

    def add(self, page: Sequence[Entry]) -> None:
        """Verify the next, older entries."""
        for entry in page:
            self.knows_head = self.knows_head or entry.hash == self._head
            self.faults += self._of_entry(entry)
            after, self._before = self._before, entry
            if after is None:
                continue
            if after.id != entry.id + 1:
                self._leave_gap(entry.id + 1, after)
            elif not self._is_link(entry, after):
                self.faults.append(_fault(N_("Entry %s does not follow entry %s."), after.id, entry.id))
        self.checked += len(page)

    def reached_start(self) -> None:
        """Note that there is no older entry."""
        if self._before is not None:
            self._leave_gap(1, self._before)

    @staticmethod
    def _is_link(entry: Entry, after: Entry) -> bool:
        return isinstance(entry, DamagedEntry) or isinstance(after, DamagedEntry) or after.previous == entry.hash

    def _leave_gap(self, first: int, after: Entry) -> None:
        self._gaps.append((first, after.id - 1))
        if not isinstance(after, DamagedEntry):
            self._named[after.id - 1] = after.previous

    def missing(self, start: Head) -> list[Message]:
        """Return a fault for each gap that the signed mark of forgotten entries does not cover."""
        faults = []
        for first, last in self._gaps:
            if last > start.forgotten:
                text = N_("Entries %s to %s are missing.")
                faults.append(_fault(text, max(first, start.forgotten + 1), last))
        named = self._named.get(start.forgotten)
        if named is not None and start.forgotten_hash and named != start.forgotten_hash:
            faults.append(_fault(N_("Entry %s does not follow the last removed entry."), start.forgotten + 1))
        return faults

    def _of_entry(self, entry: Entry) -> list[Message]:
        if isinstance(entry, DamagedEntry):
            # Its hash cannot be trusted either, so a mismatch is not reported as a fault of the next entry.
            return [Message(N_("Entry %s is damaged: %s"), (str(entry.id), entry.why))]
        if not any(is_same(entry.hash, hash_of(key, entry)) for key in self._keys):
            return [_fault(CHANGED, entry.id)]
        if entry.act == Action.AUDIT_ALTERED:
            # It stays a fault until retention removes it: what was put right since must not hide what happened.
            return [_recorded(entry)]
        return []


def _recorded(entry: Entry) -> Message:
    return Message(N_("Entry %s records that the log had been altered: %s"), (str(entry.id), entry.reason))


def _fault(text: str, *numbers: int) -> Message:
    return Message(text, tuple(map(str, numbers)))
