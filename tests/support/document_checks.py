"""The checks of ``DocumentStore``: each is one promise, and takes a maker of stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from support.document_makers import DocumentMaker
from support.waiting import wait_until

from tornado_sessions.server.documents import Count, Document, DocumentStore, Log, LogQuery, NameTaken, Total

__all__ = ["DOCUMENT_CHECKS"]

#: A minute of the year 2027, in UTC seconds // 60.
MINUTE = 30_000_000
ODD = b"\x00\xff\nline\n" + "Größe 会话".encode()


async def put(store: DocumentStore, key: str, revision: int = 1, body: bytes = b"{}", **links: list[str]) -> bool:
    return await store.put("thing", Document(key, revision, body), **links)


async def keys(store: DocumentStore, tag: str = "", kind: str = "thing") -> list[str]:
    return [document.key for document in await store.page(kind, tag=tag)]


async def written(log: Log, *times: float, tags: Sequence[str] = ()) -> list[int]:
    """Entries written at these times. Returns their numbers."""
    made = [await log.append(lambda number, _, at=at: (b"%f %d" % (at, number), tags)) for at in times]  # type: ignore[misc]
    return [int(entry.key) for entry in made]


async def numbers(log: Log, query: LogQuery = LogQuery()) -> list[int]:  # noqa: B008 - it never changes
    return [int(entry.key) for entry in await log.entries(query)]


async def forget(log: Log, before: float) -> int:
    """Forget what was written before a time. Returns the number of entries."""
    last = await log.outdated(before)
    return await log.forget(last) if last is not None else 0


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
    except NameTaken as error:
        return error.name in names
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
    """Pages follow the code points of the keys, in either direction, whatever is added behind them meanwhile."""
    store, names = await maker.open(), ["A", "a", "aa", "b", "z", "ä", "会"]
    for key in reversed(names):
        assert await put(store, key, tags=["red"])
    for tag, backwards in (("", False), ("red", False), ("", True), ("red", True)):
        found, after, passed = list[str](), "", "会会" if backwards else "0"
        while page := await store.page("thing", tag=tag, after=after, limit=2, backwards=backwards):
            found += [document.key for document in page]
            after = found[-1]
            await put(store, passed, tags=["red"])
        assert found == (names[::-1] if backwards else names)
        await store.delete("thing", passed)
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


async def check_links_of_a_document_are_told(maker: DocumentMaker) -> None:
    """A document can be copied with its tags and names."""
    one, other = await maker.open(), await maker.open()
    assert await put(one, "a", tags=["red:x", "big"], names=["x@y", "first"])
    tags, names = await other.links("thing", "a")
    assert (sorted(tags), sorted(names)) == (["big", "red:x"], ["first", "x@y"])
    assert [list(words) for words in await other.links("thing", "b")] == [[], []]


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
    """Each entry is made of its number and the entry before it, whichever process wrote that."""
    one, other = [maker.log_of(await maker.open()) for _ in range(2)]
    bodies = [b""]
    for log in (one, other, other, one):
        entry = await log.append(lambda number, last: (b"1 %d %s" % (number, last.body if last else b""), ()))
        bodies.append(b"1 %d %s" % (len(bodies), bodies[-1]))
        assert (entry.key, entry.body) == (f"{len(bodies) - 1:016}", bodies[-1])
    assert await one.entries(LogQuery(limit=1)) == [entry]


async def check_writers_at_once_get_numbers_of_their_own(maker: DocumentMaker) -> None:
    """Nothing that two processes write at once is lost, and no number is used twice."""
    one, other = [maker.log_of(await maker.open()) for _ in range(2)]
    found = await asyncio.gather(*(written(log, 1.0) for log in (one, other) for _ in range(5)))
    assert sorted(number for each in found for number in each) == list(range(1, 11))
    assert await numbers(one) == list(range(10, 0, -1))


async def check_the_log_is_read_page_by_page_from_its_end(maker: DocumentMaker) -> None:
    """Pages lose and double nothing."""
    log, found, before = maker.log_of(await maker.open()), list[int](), None
    await written(log, *range(1, 8))
    while page := await numbers(log, LogQuery(before=before, limit=3)):
        found += page
        before = page[-1]
    assert found == [7, 6, 5, 4, 3, 2, 1]


async def check_entries_are_found_by_their_tags(maker: DocumentMaker) -> None:
    """A query with a tag finds the entries that have it."""
    log = maker.log_of(await maker.open())
    for tags in (["red"], ["red", "big"], ["big"], ["redder"], ["big", "red"]):
        await written(log, 1.0, tags=tags)
    assert await numbers(log, LogQuery(tag="red")) == [5, 2, 1]
    assert await numbers(log, LogQuery(tag="red", before=5, limit=1)) == [2]
    assert await numbers(log, LogQuery(tag="blue")) == []


async def check_entries_are_found_by_their_time(maker: DocumentMaker) -> None:
    """Both ends of a span of time are included, and clocks that differ lose no entry."""
    log = maker.log_of(await maker.open())
    await written(log, 1e6, 2e6, 3e6 + 60, 3e6, 4e6, 5e6, tags=["red"])
    assert await numbers(log, LogQuery(since=3e6)) == [6, 5, 4, 3]
    assert await numbers(log, LogQuery(since=3e6, until=4e6)) == [5, 4, 3]
    assert await numbers(log, LogQuery(since=3e6, until=3e6)) == [4]
    assert await numbers(log, LogQuery(until=3e6, tag="red", limit=1)) == [4]
    assert await numbers(log, LogQuery(since=6e6)) == []


async def check_numbers_of_a_removed_end_are_not_used_again(maker: DocumentMaker) -> None:
    """Entries that were removed from the end leave a gap, if the writer knows how far the log had come."""
    log = maker.log_of(await maker.open())
    await written(log, 1.0, 2.0)
    last: list[Document | None] = []

    def make(number: int, before: Document | None) -> tuple[bytes, Sequence[str]]:
        last.append(before)
        return b"3 %d" % number, ()

    assert int((await log.append(make, above=5)).key) == 6
    assert last == [None]
    assert int((await log.append(make, above=5)).key) == 7
    assert await numbers(maker.log_of(await maker.open())) == [7, 6, 2, 1]


async def check_the_log_is_forgotten_from_its_old_end(maker: DocumentMaker) -> None:
    """Entries of before a time go, with their tags; the newest stays, and the numbers go on."""
    log = maker.log_of(await maker.open())
    await written(log, *range(1, 6), tags=["red"])
    assert await forget(log, 4.0) == 3
    assert await forget(log, 4.0) == 0
    assert await numbers(log, LogQuery(tag="red")) == await numbers(log) == [5, 4]
    assert await forget(log, 100.0) == 1
    assert await numbers(log) == [5]
    assert await written(maker.log_of(await maker.open()), 6.0) == [6]


async def check_a_damaged_entry_costs_one_entry(maker: DocumentMaker) -> None:
    """It comes as damaged with whichever query may mean it; the log goes on behind it, and forgets it with its neighbours."""
    log = maker.log_of(await maker.open())
    await written(log, *range(1, 5), tags=["red"])
    for number in (2, 4):
        maker.damage_document("log", f"{number:016}")
    for query in (LogQuery(), LogQuery(tag="red"), LogQuery(since=1.0, until=9.0)):
        found = [(int(entry.key), bool(entry.damage)) for entry in await log.entries(query)]
        assert found == [(4, True), (3, False), (2, True), (1, False)]
    log = maker.log_of(await maker.open())
    assert await written(log, 5.0) == [5]
    assert await forget(log, 4.0) == 3
    assert await numbers(log) == [5, 4]


# --- counts ----------------------------------------------------------------------------------------------------------


async def check_counts_of_all_processes_add_up(maker: DocumentMaker) -> None:
    """Nothing that is added at the same time is lost, and a process sees at once what it has counted itself."""
    one, other = [maker.counters_of(await maker.open()) for _ in range(2)]
    for _ in range(3):
        for counters in (one, other):
            counters.add(MINUTE, "sign-ins", 2)
            counters.add(MINUTE + 60, "failures of 192.0.2.7")
        await asyncio.gather(one.flush(0), other.flush(0))
    one.add(MINUTE, "sign-ins")
    assert await one.tallies(range(MINUTE, MINUTE + 61)) == {
        (MINUTE, "sign-ins"): 13,
        (MINUTE + 60, "failures of 192.0.2.7"): 6,
    }
    assert await other.tallies(range(MINUTE, MINUTE + 1)) == {(MINUTE, "sign-ins"): 12}
    assert await other.tallies(range(MINUTE + 1, MINUTE + 60)) == {}


async def check_old_counts_are_forgotten(maker: DocumentMaker) -> None:
    """Hours of before a minute go when a new hour begins."""
    store = await maker.open()
    counters = maker.counters_of(store)
    for hour in range(3):
        counters.add(MINUTE + 60 * hour, "a")
        await counters.flush(MINUTE + 60)
    assert len(await store.page("tally")) == 2
    assert await counters.tallies(range(MINUTE, MINUTE + 180)) == {(MINUTE + 60, "a"): 1, (MINUTE + 120, "a"): 1}


async def check_a_damaged_count_costs_one_count(maker: DocumentMaker) -> None:
    """It is left out, and the others are still added to; of a damaged hour, the counts start again."""
    store = await maker.open()
    counters = maker.counters_of(store)
    counters.add(MINUTE, "a", 2)
    counters.add(MINUTE, "b", 3)
    await counters.flush(0)
    stored = (await store.page("tally"))[0]
    await store.put("tally", Document(stored.key, 2, stored.body.replace(b":2", b':"many"')))
    assert await counters.tallies(range(MINUTE, MINUTE + 1)) == {(MINUTE, "b"): 3}
    counters.add(MINUTE, "b")
    await counters.flush(0)
    assert (await counters.tallies(range(MINUTE, MINUTE + 1)))[MINUTE, "b"] == 4
    maker.damage_document("tally", stored.key)
    counters.add(MINUTE, "b")
    await counters.flush(0)
    assert await maker.counters_of(store).tallies(range(MINUTE, MINUTE + 1)) == {(MINUTE, "b"): 1}


async def count(store: DocumentStore, key: str, amount: int, now: float, seconds: float = 60) -> Total:
    return (await store.count([Count(key, amount, seconds)], now))[0]


async def check_a_count_grows_until_its_time_has_passed(maker: DocumentMaker) -> None:
    """Its time runs from the first change; other processes see the same, and after it the count is zero."""
    one, other = await maker.open(), await maker.open()
    now = time.time()
    assert (await count(one, "a", 2, now)).amount == 2
    grown = await count(other, "a", 3, now + 10)
    assert grown.amount == 5
    assert abs(grown.ends_at - (now + 60)) < 12  # Redis counts down by its own clock
    assert (await count(one, "a", 0, now)).amount == 5
    assert (await count(one, "b", 1, now, 0.05)).amount == 1
    await asyncio.to_thread(wait_until, lambda: time.time() > now + 0.1, "the end of a count")
    assert (await count(one, "b", 0, now + 2)).amount == 0
    assert (await count(other, "b", 1, now + 2)).amount == 1


async def check_a_count_is_never_negative(maker: DocumentMaker) -> None:
    """Taking back more than there is leaves zero."""
    store, now = await maker.open(), time.time()
    assert (await count(store, "a", -3, now)).amount == 0
    assert (await count(store, "a", 2, now)).amount == 2
    assert (await count(store, "a", -3, now)).amount == 0


async def check_reading_a_count_creates_none(maker: DocumentMaker) -> None:
    """An amount of zero only reads."""
    one, other, now = await maker.open(), await maker.open(), time.time()
    assert (await count(one, "a", 0, now, 60)).amount == 0
    assert abs((await count(other, "a", 1, now, 600)).ends_at - now - 600) < 2


async def check_counts_of_processes_at_once_lose_nothing(maker: DocumentMaker) -> None:
    """Each of many changes at once sees a total of its own, and a call answers in the order of its counts."""
    stores, now = (await maker.open(), await maker.open()), time.time()
    await asyncio.gather(*(count(stores[number % 2], "new", 1, now) for number in range(10)))
    assert (await count(stores[0], "new", 0, now)).amount == 10
    assert (await count(stores[0], "a", 1, now)).amount == 1
    found = await asyncio.gather(*(count(stores[number % 2], "a", 1, now) for number in range(29)))
    assert sorted(total.amount for total in found) == list(range(2, 31))
    keys = [Count("Größe 会话", 1, 60), Count("a", 0, 60), Count("b", 2, 60), Count("c", 0, 60)]
    assert [total.amount for total in await stores[1].count(keys, now)] == [1, 30, 2, 0]
    assert await stores[1].count([], now) == []


async def check_ended_counts_are_removed(maker: DocumentMaker) -> None:
    """A flood of keys does not stay in the store."""
    store, now = await maker.open(), time.time()
    for number in range(30):
        await count(store, f"{number}", 1, now)
    for number in range(30):
        await count(store, "another", 1, now + 100 + number)
    assert maker.stored_counts() <= 1


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
    check_links_of_a_document_are_told,
    check_a_damaged_document_costs_one_document,
    check_entries_are_numbered_without_a_gap,
    check_writers_at_once_get_numbers_of_their_own,
    check_the_log_is_read_page_by_page_from_its_end,
    check_entries_are_found_by_their_tags,
    check_entries_are_found_by_their_time,
    check_numbers_of_a_removed_end_are_not_used_again,
    check_the_log_is_forgotten_from_its_old_end,
    check_a_damaged_entry_costs_one_entry,
    check_counts_of_all_processes_add_up,
    check_old_counts_are_forgotten,
    check_a_damaged_count_costs_one_count,
    check_a_count_grows_until_its_time_has_passed,
    check_a_count_is_never_negative,
    check_reading_a_count_creates_none,
    check_counts_of_processes_at_once_lose_nothing,
    check_ended_counts_are_removed,
    check_open_and_close_twice_are_harmless,
)
