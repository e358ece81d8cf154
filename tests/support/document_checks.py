"""The checks of ``DocumentStore``: each is one promise, and takes a maker of stores."""

from __future__ import annotations

import asyncio

from support.document_makers import DocumentMaker

from tornado_sessions.server.documents import Document, DocumentStore, LogQuery, NameTaken

__all__ = ["DOCUMENT_CHECKS"]

#: A minute of the year 2027, in UTC seconds // 60.
MINUTE = 30_000_000
ODD = b"\x00\xff\nline\n" + "Größe 会话".encode()


async def put(store: DocumentStore, key: str, revision: int = 1, body: bytes = b"{}", **links: list[str]) -> bool:
    return await store.put("thing", Document(key, revision, body), **links)


async def keys(store: DocumentStore, tag: str = "", kind: str = "thing") -> list[str]:
    return [document.key for document in await store.page(kind, tag=tag)]


async def log_of(store: DocumentStore, count: int, **given: list[str]) -> None:
    """Entries 1 to ``count``, written at as many seconds."""
    for number in range(1, count + 1):
        assert await store.append(number, b"%d" % number, at=float(number), **given)


async def numbers(store: DocumentStore, query: LogQuery = LogQuery()) -> list[int]:  # noqa: B008 - it never changes
    return [entry.number for entry in await store.entries(query)]


# --- documents -------------------------------------------------------------------------------------------------------


async def check_a_document_comes_back_as_it_was_stored(maker: DocumentMaker) -> None:
    """Any bytes under any key are the same for another process."""
    one, other = await maker.open(), await maker.open()
    for key in ("a", "Größe 会话", "with space:and;more{}", "ⓐ" * 100):
        assert await put(one, key, 1, ODD)
        assert await other.get("thing", key) == Document(key, 1, ODD)


async def check_an_unknown_document_is_nothing(maker: DocumentMaker) -> None:
    """What is not there is neither found, listed nor removed."""
    store = await maker.open()
    assert await store.get("thing", "a") is None
    assert await store.page("thing") == []
    assert not await store.delete("thing", "a")


async def check_a_document_is_created_once(maker: DocumentMaker) -> None:
    """Revision 1 is stored only where there is none."""
    store = await maker.open()
    assert await put(store, "a", 1, b"first")
    assert not await put(store, "a", 1, b"second")
    assert await store.get("thing", "a") == Document("a", 1, b"first")


async def check_a_change_needs_the_revision_before(maker: DocumentMaker) -> None:
    """Neither an old nor a future revision is written over the stored one."""
    store = await maker.open()
    assert not await put(store, "a", 2)
    assert await put(store, "a", 1)
    assert await put(store, "a", 2, b"second")
    assert not await put(store, "a", 2, b"late")
    assert not await put(store, "a", 4, b"early")
    assert await store.get("thing", "a") == Document("a", 2, b"second")


async def check_one_of_two_writers_wins(maker: DocumentMaker) -> None:
    """Of two processes that write the same revision at once, one does."""
    one, other = await maker.open(), await maker.open()
    for revision in range(1, 6):
        done = await asyncio.gather(put(one, "a", revision, b"one"), put(other, "a", revision, b"other"))
        assert sorted(done) == [False, True]
        found = await one.get("thing", "a")
        assert found is not None
        assert (found.revision, found.body) == (revision, b"one" if done[0] else b"other")


async def check_a_removed_document_stays_removed(maker: DocumentMaker) -> None:
    """A change that comes late brings nothing back; the key is free for a new document."""
    store = await maker.open()
    assert await put(store, "a", 1, tags=["red"], names=["x"])
    assert await store.delete("thing", "a")
    assert not await store.delete("thing", "a")
    assert not await put(store, "a", 2)
    assert await store.get("thing", "a") is None
    assert await put(store, "a", 1)


async def check_one_revision_alone_is_removed(maker: DocumentMaker) -> None:
    """A removal that names a revision spares a later one."""
    store = await maker.open()
    assert await put(store, "a", 1)
    assert await put(store, "a", 2)
    assert not await store.delete("thing", "a", 1)
    assert await store.delete("thing", "a", 2)
    assert await store.get("thing", "a") is None


async def taken(store: DocumentStore, key: str, revision: int, *names: str) -> bool:
    try:
        assert await put(store, key, revision, names=list(names))
    except NameTaken:
        return True
    return False


async def check_a_name_belongs_to_one_document(maker: DocumentMaker) -> None:
    """A document with another's name is not stored, in no process; its own name it keeps."""
    one, other = await maker.open(), await maker.open()
    assert not await taken(one, "a", 1, "x", "y")
    assert await taken(other, "b", 1, "z", "y")
    assert await other.get("thing", "b") is None
    assert not await taken(other, "b", 1, "z")
    assert await taken(other, "b", 2, "x")
    assert await one.get("thing", "b") == Document("b", 1, b"{}")
    assert not await taken(one, "a", 2, "x", "y")


async def check_one_of_two_at_once_gets_the_name(maker: DocumentMaker) -> None:
    """Two processes that want one name at once do not both get it."""
    one, other = await maker.open(), await maker.open()
    for name in ("x", "y", "z"):
        found = await asyncio.gather(taken(one, f"a{name}", 1, name), taken(other, f"b{name}", 1, name))
        assert sorted(found) == [False, True]


async def check_a_name_that_is_given_up_is_free(maker: DocumentMaker) -> None:
    """The names of before a change, and those of a removed document, are free."""
    store = await maker.open()
    assert not await taken(store, "a", 1, "x")
    assert not await taken(store, "a", 2, "y")
    assert not await taken(store, "b", 1, "x")
    assert await taken(store, "c", 1, "y")
    assert await store.delete("thing", "a")
    assert not await taken(store, "c", 1, "y")


async def check_kinds_share_nothing(maker: DocumentMaker) -> None:
    """Documents of another kind may have the same keys, names and tags."""
    store = await maker.open()
    for kind in ("thing", "thing2", "t"):
        assert await store.put(kind, Document("a", 1, kind.encode()), tags=["red"], names=["x"])
    assert await store.delete("thing", "a")
    for kind in ("thing2", "t"):
        assert await store.page(kind, tag="red") == await store.page(kind) == [Document("a", 1, kind.encode())]
    assert await store.page("thing") == []


async def check_pages_lose_and_double_nothing(maker: DocumentMaker) -> None:
    """Pages follow the code points of the keys, whatever is added before them meanwhile."""
    store, names = await maker.open(), ["A", "a", "aa", "b", "z", "ä", "会"]
    for key in reversed(names):
        assert await put(store, key, tags=["red"])
    for tag in ("", "red"):
        found, after = list[str](), ""
        while page := await store.page("thing", tag=tag, after=after, limit=2):
            found += [document.key for document in page]
            after = found[-1]
            await put(store, "0", tags=["red"])
        assert found == names
        await store.delete("thing", "0")
    assert [document.key for document in await store.all("thing")] == names


async def check_a_tag_lists_its_documents_and_follows_a_change(maker: DocumentMaker) -> None:
    """A tag lists the documents that have it now."""
    store = await maker.open()
    assert await put(store, "a", tags=["red", "big"])
    assert await put(store, "b", tags=["red"])
    assert await put(store, "c", tags=["redder"])
    assert (await keys(store, "red"), await keys(store, "big"), await keys(store)) == (
        ["a", "b"],
        ["a"],
        ["a", "b", "c"],
    )
    assert await put(store, "a", 2, tags=["blue"])
    assert (await keys(store, "red"), await keys(store, "big"), await keys(store, "blue")) == (["b"], [], ["a"])
    assert await store.delete("thing", "a")
    assert await keys(store, "blue") == []


async def check_a_damaged_document_costs_one_document(maker: DocumentMaker) -> None:
    """It is listed as damaged, keeps its name, is never written over, and can be removed with key, tags and names."""
    store = await maker.open()
    for key in ("a", "b", "c"):
        assert await put(store, key, tags=["red"], names=[f"name of {key}"])
    maker.damage_document("thing", "b")
    for found in (await store.page("thing"), await store.page("thing", tag="red")):
        assert [(document.key, bool(document.damage)) for document in found] == [
            ("a", False),
            ("b", True),
            ("c", False),
        ]
    damaged = await store.get("thing", "b")
    assert damaged is not None
    assert (damaged.damage != "", damaged.body) == (True, b"")
    assert not await put(store, "b", 1)
    assert await taken(store, "d", 1, "name of b")
    assert await store.delete("thing", "b")
    assert await put(store, "b", 1)
    assert not await taken(store, "d", 1, "name of b")
    assert (await keys(store), await keys(store, "red")) == (["a", "b", "c", "d"], ["a", "c"])


# --- the log ---------------------------------------------------------------------------------------------------------


async def check_entries_are_numbered_without_a_gap(maker: DocumentMaker) -> None:
    """Only the next number is written."""
    store = await maker.open()
    assert not await store.append(2, b"", at=1.0)
    assert await store.append(1, ODD, at=1.0, tags=["red"])
    assert not await store.append(1, b"other", at=1.0)
    assert not await store.append(3, b"", at=1.0)
    assert await store.append(2, b"", at=1.0)
    assert [(entry.number, entry.body) for entry in await store.entries(LogQuery())] == [(2, b""), (1, ODD)]


async def check_one_of_two_entries_gets_a_number(maker: DocumentMaker) -> None:
    """Of two processes that write the next entry at once, one does."""
    one, other = await maker.open(), await maker.open()
    for number in range(1, 6):
        done = await asyncio.gather(one.append(number, b"one", at=1.0), other.append(number, b"other", at=1.0))
        assert sorted(done) == [False, True]
        assert (await one.entries(LogQuery(limit=1)))[0].body == (b"one" if done[0] else b"other")


async def check_the_log_is_read_page_by_page_from_its_end(maker: DocumentMaker) -> None:
    """Pages lose and double nothing."""
    store, found, before = await maker.open(), list[int](), None
    await log_of(store, 7)
    while page := await numbers(store, LogQuery(before=before, limit=3)):
        found += page
        before = page[-1]
    assert found == [7, 6, 5, 4, 3, 2, 1]


async def check_entries_are_found_by_all_their_tags(maker: DocumentMaker) -> None:
    """A query with tags finds the entries that have all of them."""
    store = await maker.open()
    for number, tags in enumerate((["red"], ["red", "big"], ["big"], ["redder"], ["big", "red"]), 1):
        assert await store.append(number, b"", at=1.0, tags=tags)
    assert await numbers(store, LogQuery(tags=["red"])) == [5, 2, 1]
    assert await numbers(store, LogQuery(tags=["red", "big"])) == [5, 2]
    assert await numbers(store, LogQuery(tags=["red"], before=5, limit=1)) == [2]
    assert await numbers(store, LogQuery(tags=["blue"])) == []


async def check_entries_are_found_by_their_time(maker: DocumentMaker) -> None:
    """Both ends of a span of time are included."""
    store = await maker.open()
    await log_of(store, 6, tags=["red"])
    assert await numbers(store, LogQuery(since=3.0)) == [6, 5, 4, 3]
    assert await numbers(store, LogQuery(since=3.0, until=4.0)) == [4, 3]
    assert await numbers(store, LogQuery(until=2.0, tags=["red"], limit=1)) == [2]
    assert await numbers(store, LogQuery(since=7.0)) == []


async def check_an_outcome_is_written_once(maker: DocumentMaker) -> None:
    """The first outcome stays, and the entry with it; an entry that is not there gets none."""
    one, other = await maker.open(), await maker.open()
    await log_of(one, 2)
    await one.complete(1, b"first")
    await other.complete(1, b"second")
    await one.complete(3, b"early")
    await log_of_more(one, 3)
    found = [(entry.number, entry.body, entry.outcome) for entry in await other.entries(LogQuery())]
    assert found == [(3, b"3", b""), (2, b"2", b""), (1, b"1", b"first")]


async def log_of_more(store: DocumentStore, number: int) -> None:
    assert await store.append(number, b"%d" % number, at=float(number))


async def check_the_log_is_forgotten_from_its_old_end(maker: DocumentMaker) -> None:
    """Entries of before a time go in steps, with their tags and outcomes; the newest stays, and the numbers go on."""
    store = await maker.open()
    await log_of(store, 5, tags=["red"])
    await store.complete(1, b"done")
    assert await store.forget(4.0, 2) == 2
    assert await store.forget(4.0, 2) == 1
    assert await store.forget(4.0, 2) == 0
    assert await numbers(store, LogQuery(tags=["red"])) == await numbers(store) == [5, 4]
    assert await store.forget(100.0, 10) == 1
    assert await numbers(store) == [5]
    assert not await store.append(1, b"", at=1.0)
    assert await store.append(6, b"", at=6.0)


async def check_a_damaged_entry_costs_one_entry(maker: DocumentMaker) -> None:
    """It comes as damaged with whichever query may mean it; the log goes on behind it, and forgets it with its neighbours."""
    store = await maker.open()
    await log_of(store, 4, tags=["red"])
    maker.damage_entry(2)
    maker.damage_entry(4)
    for query in (LogQuery(), LogQuery(tags=["red"]), LogQuery(since=1.0, until=9.0)):
        found = [(entry.number, bool(entry.damage)) for entry in await store.entries(query)]
        assert found == [(4, True), (3, False), (2, True), (1, False)]
    assert await store.append(5, b"", at=5.0)
    assert await store.forget(4.0, 10) == 3
    assert await numbers(store) == [5, 4]


# --- counts ----------------------------------------------------------------------------------------------------------


async def check_counts_of_all_processes_add_up(maker: DocumentMaker) -> None:
    """Nothing that is added at the same time is lost."""
    one, other = await maker.open(), await maker.open()
    added = {(MINUTE, "sign-ins"): 2, (MINUTE + 60, "sign-ins"): 1, (MINUTE, "failures of 192.0.2.7"): 3}
    await asyncio.gather(one.add(added, 0), other.add(added, 0), one.add({(MINUTE, "sign-ins"): 1}, 0), one.add({}, 0))
    assert await one.tallies(range(MINUTE, MINUTE + 61)) == {
        (MINUTE, "sign-ins"): 5,
        (MINUTE + 60, "sign-ins"): 2,
        (MINUTE, "failures of 192.0.2.7"): 6,
    }


async def check_counts_are_of_their_minutes_and_names(maker: DocumentMaker) -> None:
    """Only the minutes and names that are asked for come."""
    store = await maker.open()
    await store.add({(MINUTE + shift, name): 1 for shift in range(4) for name in ("a", "a b", "c")}, 0)
    assert set(await store.tallies(range(MINUTE + 1, MINUTE + 3), ["a", "c"])) == {
        (MINUTE + shift, name) for shift in (1, 2) for name in ("a", "c")
    }
    assert len(await store.tallies(range(MINUTE + 1, MINUTE + 3))) == 6
    assert await store.tallies(range(MINUTE + 9, MINUTE + 10)) == {}


async def check_a_damaged_count_costs_one_count(maker: DocumentMaker) -> None:
    """It is left out, and the others are still added to."""
    store = await maker.open()
    await store.add({(MINUTE, "a"): 2, (MINUTE, "b"): 3}, 0)
    maker.damage_tally(MINUTE, "a")
    assert await store.tallies(range(MINUTE, MINUTE + 1)) == {(MINUTE, "b"): 3}
    await store.add({(MINUTE, "b"): 1, (MINUTE, "a"): 1}, 0)
    assert (await store.tallies(range(MINUTE, MINUTE + 1)))[MINUTE, "b"] == 4


# --- both ends -------------------------------------------------------------------------------------------------------


async def check_open_and_close_twice_are_harmless(maker: DocumentMaker) -> None:
    """So is a store that is opened again."""
    store = await maker.open()
    await store.open()
    assert await put(store, "a")
    await store.close()
    await store.close()
    await store.open()
    assert await keys(store) == ["a"]


DOCUMENT_CHECKS = (
    check_a_document_comes_back_as_it_was_stored,
    check_an_unknown_document_is_nothing,
    check_a_document_is_created_once,
    check_a_change_needs_the_revision_before,
    check_one_of_two_writers_wins,
    check_a_removed_document_stays_removed,
    check_one_revision_alone_is_removed,
    check_a_name_belongs_to_one_document,
    check_one_of_two_at_once_gets_the_name,
    check_a_name_that_is_given_up_is_free,
    check_kinds_share_nothing,
    check_pages_lose_and_double_nothing,
    check_a_tag_lists_its_documents_and_follows_a_change,
    check_a_damaged_document_costs_one_document,
    check_entries_are_numbered_without_a_gap,
    check_one_of_two_entries_gets_a_number,
    check_the_log_is_read_page_by_page_from_its_end,
    check_entries_are_found_by_all_their_tags,
    check_entries_are_found_by_their_time,
    check_an_outcome_is_written_once,
    check_the_log_is_forgotten_from_its_old_end,
    check_a_damaged_entry_costs_one_entry,
    check_counts_of_all_processes_add_up,
    check_counts_are_of_their_minutes_and_names,
    check_a_damaged_count_costs_one_count,
    check_open_and_close_twice_are_harmless,
)
