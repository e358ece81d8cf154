"""The end of everybody on SQLite and in memory: at once, exact, and nothing ended is ever walked."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.amount import amount

from tornado_sessions.errors import StoreMismatch, StoreUnavailable
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Outcome, Record, Swapped, Tombstone
from tornado_sessions.stores import Store, open_store
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.stores.sqlite import lists
from tornado_sessions.testing.maker import NOW, change, create, end

FILTERS: list[dict[str, Any]] = [
    {},
    {"user": "ada"},
    {"users": ("ada", "bob")},
    {"user_prefix": "a"},
    {"ip": "192.0.2.1"},
    {"network": "192.0.2.0/24"},
    {"text": "ad"},
    {"handle": "mine"},
    {"device": "Firefox"},
    {"signed_in": True},
    {"signed_in_since": NOW},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, path: Path, io_loop: Any) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else open_store(f"sqlite:///{path}")
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


def at(moment: float, **fields: Any) -> dict[str, Any]:
    times = {"created_at": moment, "last_seen_at": moment, "signed_in_at": moment}
    return {**times, "user_agent": "Firefox/140", **fields}


async def shown(store: Store, **asked: Any) -> list[str]:
    return [item.handle for item in (await store.find(Query(**{"now": NOW + 50, **asked}))).items]


@pytest.mark.gen_test
async def test_everybody_ends_whatever_the_clocks_say(store: Store) -> None:
    await store.save([create("fast", **at(NOW + 300)), create("seen", last_seen_at=NOW + 400), create("slow")])
    not_before = await store.end_all(None, end(NOW + 10))
    assert NOW + 400 < not_before < NOW + 400.001
    assert await shown(store) == []
    assert (await store.count(Query(now=NOW + 50))) == (0, True)
    assert (await store.load([], NOW)).not_before == not_before
    # Somebody signs in at once: on a host with any clock, since the manager moves created_at to not_before.
    assert await store.save([create("early", **at(NOW + 20))]) == [Outcome.GONE]
    assert await store.save([create("new", **at(not_before))]) == [Outcome.SAVED]
    assert await shown(store) == ["new"]


@pytest.mark.gen_test
async def test_the_end_of_nobody_begins_now(store: Store) -> None:
    assert await store.end_all(None, end(NOW + 10)) == NOW + 10
    assert await store.end_all(None, end(NOW + 5)) == NOW + 10
    assert await store.end_all(NOW + 7, end(NOW + 7)) == NOW + 10


@pytest.mark.gen_test
async def test_an_exact_time_spares_who_came_later_in_lists_and_counts(store: Store) -> None:
    await store.save([create("old"), create("used", last_seen_at=NOW + 30)])
    await store.save([create("edge", **at(NOW + 10)), create("late", **at(NOW + 20))])
    assert await store.end_all(NOW + 10, end(NOW + 10)) == NOW + 10
    for sort in Sort:
        assert set(await shown(store, sort=sort)) == {"edge", "late"}, sort
    assert await store.count(Query(now=NOW + 50)) == (2, True)
    assert await store.save([change("late", now=NOW + 50, set={"a": b"2"}), change("used")]) == [
        Outcome.SAVED, Outcome.GONE,
    ]  # fmt: skip
    assert await store.end_all(NOW + 5, end(NOW + 5)) == NOW + 10
    assert await store.count(Query(now=NOW + 50)) == (2, True)
    # The second one comes before the first is swept.
    assert await store.end_all(NOW + 15, end(NOW + 15)) == NOW + 15
    assert await shown(store) == ["late"]
    assert [await store.expire(NOW + 50, 60, 2) for _ in range(3)] == [2, 1, 0]
    assert await shown(store) == ["late"]
    assert await store.destroy_user("ada", end(NOW + 50)) == ["late"]


@pytest.mark.gen_test
async def test_who_ended_hides_nobody_who_lives(store: Store) -> None:
    """The first page has the only living session, in every order and with every filter, before anything is removed."""
    # More than a page or a count may examine.
    many = amount(6_000, 30_000)
    for first in range(0, many, 3000):
        await store.save(
            [
                create(f"d{n:05}", **at(NOW + n / many, user="ada" if n % 2 else f"a{n}"))
                for n in range(first, first + 3000)
            ]
        )
    since = await store.end_all(None, end(NOW + 5))
    await store.save([create("mine", **at(since))])
    for sort in Sort:
        for filters in FILTERS:
            page = await store.find(Query(now=NOW + 50, sort=sort, **filters))
            assert [item.handle for item in page.items] == ["mine"], (sort, filters)
            assert page.next_cursor is None, (sort, filters)
    for filters in FILTERS:
        assert await store.count(Query(now=NOW + 50, **filters)) == (1, True), filters


@pytest.mark.gen_test
async def test_the_sweep_takes_all_and_says_how_they_ended(store: Store) -> None:
    await store.save([create(f"h{n}", last_seen_at=NOW + 1000 * (n % 2)) for n in range(7)])
    since = await store.end_all(None, end(NOW + 5))
    await store.save([create("new", **at(since))])
    assert [await store.expire(NOW + 50, 60, 3) for _ in range(4)] == [3, 3, 1, 0]
    found = (await store.load([f"h{n}" for n in range(7)], NOW + 50)).records
    assert all(isinstance(item, Tombstone) and item.ending.by == "root" for item in found)
    assert isinstance((await store.load(["new"], NOW + 50)).records[0], Record)
    assert len(await shown(store, state=State.ENDED)) == 7


@pytest.mark.gen_test
async def test_a_value_is_swapped_only_if_it_is_the_expected_one(store: Store) -> None:
    assert await store.swap("n", b"x", b"1", NOW + 9) == Swapped(False, None)
    assert await store.swap("n", None, b"1", NOW + 9) == Swapped(True, b"1")
    assert await store.swap("n", None, b"2", NOW + 9) == Swapped(False, b"1")
    assert await store.swap("n", b"1", b"2", NOW + 20) == Swapped(True, b"2")
    await store.expire(NOW + 10, 60)
    assert await store.swap("n", b"2", b"", NOW + 20) == Swapped(True, b"")
    assert await store.swap("n", b"", None, NOW + 20) == Swapped(True, None)
    assert await store.swap("n", None, None, NOW + 20) == Swapped(True, None)
    assert await store.swap("n", None, b"3", NOW + 20) == Swapped(True, b"3")
    await store.expire(NOW + 20, 60)
    assert await store.swap("n", b"3", b"4", NOW + 20) == Swapped(False, None)
    assert await shown(store) == []


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file with a hundred ended sessions and a living one, and one with twenty times as many."""

    async def fill(file: Path, many: int) -> None:
        opened = open_store(f"sqlite:///{file}")
        await opened.open()
        await opened.save([create(f"d{n:05}", **at(NOW + n / many, user="ada")) for n in range(many)])
        since = await opened.end_all(None, end(NOW + 5))
        await opened.save([create("mine", **at(since))])
        await opened.close()

    folder = tmp_path_factory.mktemp("ended")
    made = {folder / "few.db": 100, folder / "many.db": 2000}
    for file, many in made.items():
        asyncio.run(fill(file, many))
    return list(made)


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_sqlite_walks_no_ended_session(few_and_many: list[Path], sort: Sort, filters: dict[str, Any]) -> None:
    """Counted in steps of SQLite's machine: twenty times as many ended sessions cost a page and a count nothing."""
    steps: list[int] = []
    for file in few_and_many:
        connection = sqlite3.connect(file)
        query = Query(now=NOW + 50, sort=sort, **filters)
        lists.find(connection, query)
        ticks: list[int] = []
        connection.set_progress_handler(lambda ticks=ticks: ticks.append(1), 1)  # type: ignore[misc]
        lists.find(connection, query)
        lists.count(connection, query)
        connection.set_progress_handler(None, 1)
        connection.close()
        steps.append(len(ticks))
    assert steps[1] < steps[0] + 100, steps


@pytest.mark.gen_test
async def test_everybody_ends_in_a_full_database(path: Path) -> None:
    store: Any = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create(f"h{n}") for n in range(50)])

    def fill(connection: sqlite3.Connection) -> None:
        [[pages]] = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    await store.database.write(fill)
    filled = 0
    while filled < 1000:
        try:
            await store.database.write(
                lambda connection: connection.execute(
                    "INSERT INTO events (kind, handle, at) VALUES ('x', ?, 1.0)", ["y" * 99]
                )
            )
            filled += 1
        except StoreUnavailable:
            break
    assert filled < 1000
    assert await store.end_all(None, end(NOW + 5)) == NOW + 5
    assert await shown(store) == []
    await store.close()


@pytest.mark.gen_test
async def test_a_file_of_an_earlier_layout_is_refused_with_the_remedy(path: Path) -> None:
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    old.execute("INSERT INTO schema_versions VALUES ('sessions', 3)")
    old.commit()
    old.close()
    with pytest.raises(StoreMismatch, match="earlier version; move it away"):
        await open_store(f"sqlite:///{path}").open()
