"""The kit can fail: for each check a document store with a fault that the check finds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from support import document_checks as contract
from support.document_makers import MemoryMaker

from tornado_sessions.server.documents import MAX_PAGE, Document, LogEntry, LogQuery, NameTaken, Tallies
from tornado_sessions.server.documents.memory import MemoryDocuments


class Edited(MemoryDocuments):
    """Changes what is put before it is stored."""

    def edit(self, kind: str, document: Document) -> Document:
        return document

    def tags(self, tags: Sequence[str]) -> Sequence[str]:
        return tags

    def names(self, names: Sequence[str], document: Document) -> Sequence[str]:
        return names

    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        edited = self.edit(kind, document)
        return await super().put(kind, edited, tags=self.tags(tags), names=self.names(names, document))


class StoresText(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        return document._replace(body=document.body.decode("utf8", "replace").encode())


class InventsDocuments(MemoryDocuments):
    async def get(self, kind: str, key: str) -> Document | None:
        return await super().get(kind, key) or Document(key, 1, b"")


class CreatesTwice(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        if document.revision == 1:
            self.data.documents.pop((kind, document.key), None)
        return document


class IgnoresRevisions(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        stored = self.data.documents.get((kind, document.key))
        if stored is not None and document.revision > 1:
            self.data.documents[kind, document.key] = stored._replace(revision=document.revision - 1)
        return document


class AcceptsBothWriters(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        await super().put(kind, document, tags=tags, names=names)
        return bool(document.revision == self.data.documents[kind, document.key].revision)


class RevivesRemoved(Edited):
    def edit(self, kind: str, document: Document) -> Document:
        return document if (kind, document.key) in self.data.documents else document._replace(revision=1)


class RemovesAnyRevision(MemoryDocuments):
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        return await super().delete(kind, key)


class IgnoresNames(Edited):
    def names(self, names: Sequence[str], document: Document) -> Sequence[str]:
        return ()


class KnowsItsOwnNamesOnly(Edited):
    """Does not see the names that other processes gave."""

    def names(self, names: Sequence[str], document: Document) -> Sequence[str]:
        return [f"{name} {id(self)}" for name in names]


class KeepsOldNames(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        stored = self.data.documents.get((kind, document.key))
        return await super().put(kind, document, tags=tags, names=[*names, *(stored.names if stored else ())])


class MixesKinds(MemoryDocuments):
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        kinds = {each for each, _ in self.data.documents if each.startswith(kind)}
        return [found for each in kinds for found in await super(MixesKinds, self).page(each, tag=tag, after=after)]


class PagesOverlap(MemoryDocuments):
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        found = await super().page(kind, tag=tag, after=after, limit=limit)
        return [*(await super().page(kind, tag=tag, limit=1)), *found] if found and after else found


class KeepsOldTags(MemoryDocuments):
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        stored = self.data.documents.get((kind, document.key))
        return await super().put(kind, document, tags=[*tags, *(stored.tags if stored else ())], names=names)


class HidesDamaged(MemoryDocuments):
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        return [found for found in await super().page(kind, tag=tag, after=after, limit=limit) if not found.damage]


class LeavesGaps(MemoryDocuments):
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        self.data.last = max(self.data.last, number - 1)
        return await super().append(number, body, at=at, tags=tags)


class WritesOverEntries(MemoryDocuments):
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        self.data.last = min(self.data.last, number - 1)
        return await super().append(number, body, at=at, tags=tags)


class EditedQueries(MemoryDocuments):
    """Changes what is asked for."""

    def edit(self, query: LogQuery) -> LogQuery:
        raise NotImplementedError

    async def entries(self, query: LogQuery) -> list[LogEntry]:
        return await super().entries(self.edit(query))


class PagesOfTheLogOverlap(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(before=query.before + 1 if query.before not in (None, 1) else query.before)


class LooksAtOneTag(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(tags=query.tags[:1])


class LeavesOutTheEnds(EditedQueries):
    def edit(self, query: LogQuery) -> LogQuery:
        return query._replace(since=query.since + 0.5 if query.since is not None else None)


class OutcomesChange(MemoryDocuments):
    async def complete(self, number: int, outcome: bytes) -> None:
        if number in self.data.log:
            self.data.log[number] = self.data.log[number]._replace(outcome=outcome)


class ForgetsEverything(MemoryDocuments):
    async def forget(self, before: float, limit: int) -> int:
        old = [number for number, entry in self.data.log.items() if entry.at < before][:limit]
        for number in old:
            del self.data.log[number]
        return len(old)


class SkipsDamagedEntries(MemoryDocuments):
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        return [entry for entry in await super().entries(query) if not entry.damage]


class Overwrites(MemoryDocuments):
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        self.data.tallies.update(tallies)


class IgnoresTheNames(MemoryDocuments):
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        return await super().tallies(minutes)


class ShowsDamagedCounts(MemoryDocuments):
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        return dict(self.data.tallies)


class ForgetsWhenClosed(MemoryDocuments):
    async def close(self) -> None:
        self.data.documents.clear()


BROKEN: list[tuple[type[MemoryDocuments], Any]] = [
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
    (PagesOverlap, contract.check_pages_lose_and_double_nothing),
    (KeepsOldTags, contract.check_a_tag_lists_its_documents_and_follows_a_change),
    (HidesDamaged, contract.check_a_damaged_document_costs_one_document),
    (LeavesGaps, contract.check_entries_are_numbered_without_a_gap),
    (WritesOverEntries, contract.check_one_of_two_entries_gets_a_number),
    (PagesOfTheLogOverlap, contract.check_the_log_is_read_page_by_page_from_its_end),
    (LooksAtOneTag, contract.check_entries_are_found_by_all_their_tags),
    (LeavesOutTheEnds, contract.check_entries_are_found_by_their_time),
    (OutcomesChange, contract.check_an_outcome_is_written_once),
    (ForgetsEverything, contract.check_the_log_is_forgotten_from_its_old_end),
    (SkipsDamagedEntries, contract.check_a_damaged_entry_costs_one_entry),
    (Overwrites, contract.check_counts_of_all_processes_add_up),
    (IgnoresTheNames, contract.check_counts_are_of_their_minutes_and_names),
    (ShowsDamagedCounts, contract.check_a_damaged_count_costs_one_count),
    (ForgetsWhenClosed, contract.check_open_and_close_twice_are_harmless),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
@pytest.mark.gen_test
async def test_a_check_finds_the_fault_that_it_is_for(broken: type[MemoryDocuments], check: Any) -> None:
    maker = MemoryMaker(broken)
    with pytest.raises((AssertionError, NameTaken)):
        await check(maker)
    await maker.close()


def test_every_check_has_a_store_that_it_catches() -> None:
    assert [check for _, check in BROKEN] == list(contract.DOCUMENT_CHECKS)
