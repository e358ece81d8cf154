"""What a session costs in the file: bytes, pages that change, and rows that are read."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.sqlite_stores import opened

from tornado_sessions.query import Direction, Page, Query, Sort
from tornado_sessions.record import Create, Tombstone
from tornado_sessions.stores import open_store
from tornado_sessions.stores.sqlite import lists
from tornado_sessions.testing.maker import NOW, change, create, end

AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def asked(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def shown(page: Page) -> Page:
    """The page with the handles of its sessions, because stores return records or summaries."""
    return page._replace(items=[item.handle for item in page.items])  # type: ignore[misc]


def some(count: int, seed: int = 1) -> list[Create]:
    """Sessions of users, some of whose names differ in case alone; many have been used at the same time."""
    chance = random.Random(seed)
    names = ["ann", "Anna", "ANTON", "bob", "Bo", None]
    return [
        create(
            f"h{number}{chance.getrandbits(100):025x}",
            user=(user := chance.choice(names)),
            signed_in_at=None if user is None else NOW - chance.randrange(5),
            created_at=NOW - 9,
            last_seen_at=NOW - chance.randrange(4),
            expires_at=NOW + 100 + chance.randrange(3),
            ip=f"192.0.2.{chance.randrange(4)}",
            user_agent=AGENT,
        )
        for number in range(count)
    ]


@pytest.mark.gen_test
async def test_a_session_takes_at_most_400_bytes_with_all_indexes(path: Path) -> None:
    async with opened(path) as store:
        made = some(3000)
        for start in range(0, len(made), 500):
            await store.save(made[start : start + 500])
        await store.close()
        assert path.stat().st_size / len(made) <= 400


@pytest.mark.gen_test
async def test_a_user_agent_is_stored_once_and_kept_as_long_as_a_session_or_tombstone_has_it(path: Path) -> None:
    async with opened(path) as store:
        agents = "SELECT text, uses FROM agents ORDER BY text"
        await store.save([create("h1", user_agent="a"), create("h2", user_agent="a"), create("h3", user_agent="b")])
        assert asked(path, agents) == [("a", 2), ("b", 1)]
        await store.save([change("h1", user_agent="c"), change("h2", user_agent="")])
        await store.expire(NOW + 2, 60.0)
        assert asked(path, agents) == [("", 1), ("b", 1), ("c", 1)]
        await store.destroy(["h1", "h3"], end(NOW + 2))
        await store.expire(NOW + 3, 60.0)
        assert asked(path, agents) == [("", 1), ("b", 1), ("c", 1)]
        [found] = (await store.load(["h3"], NOW + 3)).records
        assert isinstance(found, Tombstone)
        assert found.user_agent == "b"
        await store.expire(NOW + 99_999, 60.0)
        await store.expire(NOW + 999_999, 60.0)
        await store.expire(NOW + 999_999, 60.0)
        assert asked(path, agents) == []


@pytest.mark.parametrize(
    "given", [{"text": "AN"}, {"user_prefix": "An"}, {"users": ("ann", "Bo")}, {"text": "192.0.2.1"}], ids=str
)
@pytest.mark.gen_test
async def test_pages_read_through_the_indexes_are_those_of_the_whole_list(path: Path, given: dict[str, Any]) -> None:
    """In every order and direction, forwards and back, with many sessions at one place, and while expired ones wait."""
    async with opened(path) as store:
        memory = open_store("memory://")
        await memory.open()
        late = [create(f"late{n}", user="Annie", expires_at=NOW + 1) for n in range(20)]
        for each in (store, memory):
            await each.save([*some(150), *late])
        for sort in Sort:
            for direction in Direction:
                query = Query(now=NOW + 2, sort=sort, direction=direction, limit=7, **given)
                seen: list[Any] = []
                while True:
                    page, expected = await store.find(query), await memory.find(query)
                    assert shown(page) == shown(expected)
                    seen += page.items
                    if page.previous_cursor is not None:
                        back = msgspec.structs.replace(query, cursor=page.previous_cursor)
                        assert shown(await store.find(back)) == shown(await memory.find(back))
                    if page.next_cursor is None:
                        break
                    query = msgspec.structs.replace(query, cursor=page.next_cursor)
                assert (len(seen), True) == await store.count(query)
        await memory.close()


@pytest.mark.gen_test
async def test_sessions_that_wait_for_their_removal_are_not_counted_however_many_they_are(path: Path) -> None:
    async with opened(path) as store:
        await store.save([create(f"late{n}", user="ann", expires_at=NOW + 1) for n in range(499)])
        await store.save([create(f"h{n}", user="ann") for n in range(9)])
        for more in range(3):
            for given in ({"user": "ann"}, {"user_prefix": "an"}, {"text": "ANN"}):
                assert await store.count(Query(now=NOW + 2, **given)) == (9, True), (more, given)  # type: ignore[arg-type]
            await store.save([create(f"later{more}", user="ann", expires_at=NOW + 1)])


@pytest.mark.parametrize("given", [{"user": "ann"}, {"signed_in": False}, {"ip": "192.0.2.1"}], ids=str)
@pytest.mark.gen_test
async def test_a_count_reads_an_index_and_no_session(path: Path, given: dict[str, Any]) -> None:
    async with opened(path) as store:
        await store.save(some(50))
        connection = sqlite3.connect(path)
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        lists.count(connection, Query(now=NOW, **given))
        connection.set_trace_callback(None)
        plans = [row[3] for sql in statements[-1:] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        connection.close()
        assert [plan for plan in plans if "SEARCH sessions" in plan]
        assert not [plan for plan in plans if "SEARCH sessions" in plan and "COVERING" not in plan], plans


@pytest.mark.gen_test
async def test_all_old_rows_are_removed_however_small_the_steps_are(path: Path) -> None:
    """The events of an ending too, although each step looks at the first ones alone."""
    async with opened(path) as store:
        await store.save([create(f"h{n}", user="ann") for n in range(120)])
        assert len(await store.destroy_user("ann", end(NOW + 1))) == 120
        await store.save([create(f"late{n}", expires_at=NOW + 9) for n in range(120)])
        assert await store.expire(NOW + 10, 0.0, limit=70) == 70
        assert await store.expire(NOW + 10, 0.0) == 50
        while await store.expire(NOW + 200_000, 0.0):
            pass
        for table in ("sessions", "leftovers", "tombstones", "events", "agents", "ending_in"):
            assert asked(path, f"SELECT count(*) FROM {table}") == [(0,)], table
