"""The kit can fail: for each check a document store, a log or counters with a fault that the check finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support import document_checks as contract
from support.document_makers import MemoryMaker

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents import (
    MAX_PAGE,
    Count,
    Counters,
    Document,
    DocumentStore,
    Links,
    Log,
    LogQuery,
    NameTaken,
    Tallies,
    Total,
)
from tornado_sessions.server.documents.log import Make
from tornado_sessions.server.documents.memory import MemoryDocuments


class Edited(MemoryDocuments):
    """Changes what is put before it is stored."""

    def edit(self, kind: str, document: Document) -> Document:
        return document

    def names(self, names: Sequence[str]) -> Sequence[str]:
        return names

    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        return await super().put(kind, self.edit(kind, document), tags=tags, names=self.names(names))


class StoresText(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        return document._replace(body=document.body.decode("utf8", "replace").encode())


class InventsDocuments(MemoryDocuments):
    async def get(self, kind: str, key: str) -> Document | None:
        return await super().get(kind, key) or Document(key, 1, b"")


class CreatesTwice(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        if document.revision == 1:
            self.data.pop((kind, document.key), None)
        return document


class IgnoresRevisions(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        stored = self.data.get((kind, document.key))
        if stored is not None and document.revision > 1:
            self.data[kind, document.key] = stored._replace(revision=document.revision - 1)
        return document


class AcceptsBothWriters(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        await super().put(kind, document, tags=tags, names=names)
        return bool(document.revision == self.data[kind, document.key].revision)


class RevivesRemoved(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        return document if (kind, document.key) in self.data else document._replace(revision=1)


class RemovesAnyRevision(MemoryDocuments):
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        return await super().delete(kind, key)


class IgnoresNames(Edited):
    def names(self, names: Sequence[str]) -> Sequence[str]:
        return ()


class KnowsItsOwnNamesOnly(Edited):
    """Does not see the names that other processes gave."""

    def names(self, names: Sequence[str]) -> Sequence[str]:
        return [f"{name} {id(self)}" for name in names]


class KeepsOldNames(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        stored = self.data.get((kind, document.key))
        return await super().put(kind, document, tags=tags, names=[*names, *(stored.names if stored else ())])


class MixesKinds(MemoryDocuments):
    async def page(self, kind: str, **given: Any) -> list[Document]:
        kinds = {each for each, _ in self.data if each.startswith(kind)}
        return [found for each in kinds for found in await super(MixesKinds, self).page(each, **given)]


class LooksForwardOnly(MemoryDocuments):
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        return await super().page(kind, tag=tag, after=after, limit=limit)


class KeepsOldTags(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        stored = self.data.get((kind, document.key))
        return await super().put(kind, document, tags=[*tags, *(stored.tags if stored else ())], names=names)


class TellsNoNames(MemoryDocuments):
    async def links(self, kind: str, key: str) -> Links:
        return (await super().links(kind, key))._replace(names=())


class HidesDamaged(MemoryDocuments):
    async def page(self, kind: str, **given: Any) -> list[Document]:
        return [found for found in await super().page(kind, **given) if not found.damage]


class ForgetsWhenClosed(MemoryDocuments):
    async def close(self) -> None:
        self.data.clear()


class CountsForever(MemoryDocuments):
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        return await super().count([count._replace(seconds=1e6) for count in counts], now)


class CountsBelowZero(MemoryDocuments):
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        found = await super().count(counts, now)
        return [total._replace(amount=total.amount or min(0, count.amount)) for total, count in zip(found, counts)]  # noqa: B905


class CreatesWhatIsRead(MemoryDocuments):
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        await super().count([count._replace(amount=1) for count in counts if not count.amount], now)
        return await super().count(counts, now)


class LosesCountsAtOnce(MemoryDocuments):
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        before = [self.data.counts.get(count.key, Total(0, now)).amount for count in counts]
        await asyncio.sleep(0)
        found = await super().count(counts, now)
        return [total._replace(amount=seen + count.amount) for seen, total, count in zip(before, found, counts)]  # noqa: B905


class KeepsEndedCounts(MemoryDocuments):
    def _sweep(self, now: float) -> None:
        pass


class LeavesGaps(Log):
    async def append(self, make: Make, above: int = 0) -> Document:
        return await super().append(lambda number, last: make(2 * number, last), above)


class BelievesItsMemory(Log):
    """Takes the last entry that it wrote itself for the last one."""

    seen: Document | None = None

    async def append(self, make: Make, above: int = 0) -> Document:
        number = int(self.seen.key) + 1 if self.seen is not None else 1
        body, tags = make(number, self.seen)
        self.seen = Document(f"{number:016}", 1, body)
        await self._documents.put(self._kind, self.seen, tags=tags)
        return self.seen


class EditedQueries(Log):
    """Changes what is asked for."""

    def edit(self, query: LogQuery) -> LogQuery:
        raise NotImplementedError

    async def entries(self, query: LogQuery) -> list[Document]:
        return await super().entries(self.edit(query))


class PagesOverlap(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(
            before=query.before + 1 if query.before is not None and query.before > 1 else query.before
        )


class IgnoresTags(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(tag="")


class LeavesOutTheEnds(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(since=query.since + 0.5 if query.since is not None else None)


class UsesNumbersAgain(Log):
    async def append(self, make: Make, above: int = 0) -> Document:
        return await super().append(make)


class ForgetsTheNewest(Log):
    async def outdated(self, before: float) -> Document | None:
        old = [entry for entry in await self._documents.all(self._kind) if (self._time_of(entry) or 0) < before]
        return old[-1] if old else None


class SkipsDamagedEntries(Log):
    async def entries(self, query: LogQuery) -> list[Document]:
        return [entry for entry in await super().entries(query) if not entry.damage]


class Overwrites(Counters):
    async def _add(self, hour: int, counts: Tallies) -> bool:
        await self._documents.delete(self._kind, f"{hour:010}")
        return await super()._add(hour, counts)


class ForgetsNothing(Counters):
    async def flush(self, forget_before: int) -> None:
        await super().flush(0)


class AddsToDamaged(Counters):
    async def _add(self, hour: int, counts: Tallies) -> bool:
        found = await self._documents.get(self._kind, f"{hour:010}")
        if found is not None and b"many" in found.body:
            raise StoreUnavailable("counters", "damaged")
        return await super()._add(hour, counts)


STORES: list[tuple[type[MemoryDocuments], Any]] = [
    (StoresText, contract.check_a_document_comes_back_as_it_was_stored),
    (InventsDocuments, contract.check_an_unknown_document_is_nothing),
    (CreatesTwice, contract.check_a_document_is_created_once),
    (IgnoresRevisions, contract.check_a_change_needs_the_revision_before),
    (AcceptsBothWriters, contract.check_one_of_two_writers_wins),
    (RevivesRemoved, contract.check_a_removed_document_stays_removed),
    (RemovesAnyRevision, contract.check_one_revision_alone_is_removed),
    (IgnoresNames, contract.check_a_name_belongs_to_one_document),
    (KnowsItsOwnNamesOnly, contract.check_one_of_two_at_once_gets_the_name),
    (KeepsOldNames, contract.check_a_name_that_is_given_up_is_free),
    (MixesKinds, contract.check_kinds_share_nothing),
    (LooksForwardOnly, contract.check_pages_lose_and_double_nothing),
    (KeepsOldTags, contract.check_a_tag_lists_its_documents_and_follows_a_change),
    (TellsNoNames, contract.check_links_of_a_document_are_told),
    (HidesDamaged, contract.check_a_damaged_document_costs_one_document),
]
LOGS: list[tuple[type[Log], Any]] = [
    (LeavesGaps, contract.check_entries_are_numbered_without_a_gap),
    (BelievesItsMemory, contract.check_writers_at_once_get_numbers_of_their_own),
    (PagesOverlap, contract.check_the_log_is_read_page_by_page_from_its_end),
    (IgnoresTags, contract.check_entries_are_found_by_their_tags),
    (LeavesOutTheEnds, contract.check_entries_are_found_by_their_time),
    (UsesNumbersAgain, contract.check_numbers_of_a_removed_end_are_not_used_again),
    (ForgetsTheNewest, contract.check_the_log_is_forgotten_from_its_old_end),
    (SkipsDamagedEntries, contract.check_a_damaged_entry_costs_one_entry),
]
COUNTERS: list[tuple[type[Counters], Any]] = [
    (Overwrites, contract.check_counts_of_all_processes_add_up),
    (ForgetsNothing, contract.check_old_counts_are_forgotten),
    (AddsToDamaged, contract.check_a_damaged_count_costs_one_count),
]
COUNTS: list[tuple[type[MemoryDocuments], Any]] = [
    (CountsForever, contract.check_a_count_grows_until_its_time_has_passed),
    (CountsBelowZero, contract.check_a_count_is_never_negative),
    (CreatesWhatIsRead, contract.check_reading_a_count_creates_none),
    (LosesCountsAtOnce, contract.check_counts_of_processes_at_once_lose_nothing),
    (KeepsEndedCounts, contract.check_ended_counts_are_removed),
]
BROKEN = [
    *((MemoryMaker(store), check) for store, check in STORES),
    *((MemoryMaker(log=log), check) for log, check in LOGS),
    *((MemoryMaker(counters=counters), check) for counters, check in COUNTERS),
    *((MemoryMaker(store), check) for store, check in COUNTS),
    (MemoryMaker(ForgetsWhenClosed), contract.check_open_and_close_twice_are_harmless),
]


@pytest.mark.parametrize(("maker", "check"), BROKEN, ids=[check.__name__ for _, check in BROKEN])
@pytest.mark.gen_test
async def test_a_check_finds_the_fault_that_it_is_for(maker: MemoryMaker, check: Any) -> None:
    with pytest.raises((AssertionError, NameTaken, StoreUnavailable)):
        await check(maker)
    await maker.close()


def test_every_check_has_a_store_that_it_catches() -> None:
    assert [check for _, check in BROKEN] == list(contract.DOCUMENT_CHECKS)


@pytest.mark.gen_test
async def test_a_time_is_found_in_a_long_log_without_reading_it() -> None:
    """However old the entries are that are asked for, the walk begins beside them."""
    reads = 0

    class Counted(MemoryDocuments):
        async def get(self, kind: str, key: str) -> Document | None:
            nonlocal reads
            reads += 1
            return await super().get(kind, key)

        async def page(self, kind: str, **given: Any) -> list[Document]:
            nonlocal reads
            reads += 1
            return await super().page(kind, **given)

    store: DocumentStore = Counted()
    for number in range(1, 5001):
        await store.put("log", Document(f"{number:016}", 1, b"%d" % (number * 3600)))
    await store.delete("log", f"{2500:016}")
    maker = MemoryMaker()
    log = maker.log_of(store)
    found = await log.entries(LogQuery(until=40 * 3600.0, limit=10))
    assert [int(entry.key) for entry in found] == list(range(40, 30, -1))
    assert reads < 20
