"""One damaged row of SQLite costs that row: any type in any column, as an operator's tool or a failing disk leaves it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.amount import amount, in_turn
from support.sqlite_stores import opened

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Cause, Damaged, EventKind, Outcome, Record, Tombstone
from tornado_sessions.stores import Store
from tornado_sessions.stores.sqlite.columns import RECORD, TOMBSTONE
from tornado_sessions.testing.maker import NOW, change, create, end

#: As SQL, since Python cannot bind text that is not UTF-8.
VALUES = ["'x'", "x'ff'", "x''", "CAST(x'ff41' AS TEXT)", "7", "-1.5", "9e999", "-9e999", "1e300", "NULL"]
SOME = ["'x'", "x'ff'", "CAST(x'ff41' AS TEXT)", "9e999", "-9e999"]
FILTERS: list[dict[str, Any]] = [
    {},
    {"user": "ada"},
    {"users": ("ada", "bob")},
    {"user_prefix": "a"},
    {"ip": "192.0.2.1"},
    {"network": "192.0.2.0/24"},
    {"network": "0.0.0.0/0"},
    {"text": "h"},
    {"text": "ad"},
    {"device": "Firefox"},
    {"signed_in": True},
    {"signed_in": False},
    {"signed_in_since": NOW},
    {"idle_since": NOW + 100},
    {"created_until": NOW},
]
HANDLES = [f"h{number}" for number in range(10)]
OTHERS = [handle for handle in HANDLES if handle not in {"h4", "h5"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def ten() -> list[Any]:
    """Users and visitors in turn, two of them of one moment."""
    return [
        create(handle, user=("ada", None, "bob")[number % 3], signed_in_at=NOW if number % 3 != 1 else None,
               last_seen_at=NOW + number // 2, expires_at=NOW + 500 + number)
        for number, handle in enumerate(HANDLES)
    ]  # fmt: skip


def run(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = bytes
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def damage(path: Path, table: str, column: str, value: str, handle: str = "h4") -> bool:
    """Whether the column can hold that value."""
    try:
        run(path, f"UPDATE {table} SET {column} = {value} WHERE handle = ?", handle)
    except sqlite3.IntegrityError:
        return False
    return True


def damage_half(path: Path, table: str, column: str) -> None:
    """Another value in every second row; the odd ones stay whole."""
    for handle, value in zip(HANDLES[::2], SOME, strict=True):
        damage(path, table, column, value, handle)


async def walked(store: Store, limit: int, **asked: Any) -> list[Any]:
    """All pages together; fails when they never end."""
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(30):
        page = await store.find(Query(now=NOW + 10, limit=limit, cursor=cursor, **asked))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError(f"the list never ends: {asked}")


async def look_everywhere(store: Store, number: int, state: State = State.LIVE) -> list[Any]:
    """Every order and page size: nobody else is missing, nobody is there twice. Gives the plain list.

    Args:
        store: whose lists are read.
        number: of the case; several cases together meet every filter.
        state: of the sessions that are listed.
    """
    others = OTHERS if state is State.LIVE else HANDLES[1::2]
    for place, sort in enumerate(Sort if state is State.LIVE else [Sort.LAST_SEEN]):
        for limit in (1, 50):
            found = [item.handle for item in await walked(store, limit, sort=sort, state=state)]
            named = [handle for handle in found if handle]
            assert len(named) == len(set(named)), (sort, limit, found)
            assert set(others) <= set(found), (sort, limit, found)
        many, few = in_turn(FILTERS[::2], number, 3), in_turn(FILTERS[::5], number + place)
        for filters in many if sort is Sort.LAST_SEEN else few:
            seen = await walked(store, 2, sort=sort, state=state, **filters)
            whole = await walked(store, 50, sort=sort, state=state, **filters)
            assert {item.handle for item in seen} == {item.handle for item in whole}, (sort, filters)
    for filters in in_turn(FILTERS, 2 * number, 5):
        count = await store.count(Query(now=NOW + 10, state=state, **filters))
        assert count == (len(await walked(store, 50, state=state, **filters)), True), filters
    return await walked(store, 50, state=state)


@pytest.mark.parametrize("column", [*RECORD, "era"])
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_column_costs_one_session_in_loads_and_lists(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        [[before]] = run(path, f"SELECT {column} FROM sessions WHERE handle = 'h4'")
        row = run(path, "SELECT rowid FROM sessions WHERE handle = 'h4'")[0][0]
        for number, value in enumerate(VALUES):
            if not damage(path, "sessions", column, value):
                continue
            found = dict(zip(HANDLES, (await store.load(HANDLES, NOW + 10)).records, strict=True))
            assert all(isinstance(found[handle], Record) for handle in OTHERS), value
            shown = await look_everywhere(store, number)
            if isinstance(found["h4"], Damaged) and column != "era":
                assert [type(item) for item in shown if item.handle == "h4"] in ([Damaged], []), value
                assert found["h4"].why
                assert await store.save(
                    [change("h4", set={"a": b"2"}), create("h4"), change("h5", set={"a": b"2"})]
                ) == [
                    Outcome.GONE,
                    Outcome.GONE,
                    Outcome.SAVED,
                ]
                assert await store.take("h4", end(NOW + 10)) is None
            original = before.decode() if isinstance(before, bytes) and column != "private" else before
            run(path, f"UPDATE sessions SET {column} = ? WHERE rowid = ?", original, row)
        assert isinstance((await store.load(["h4"], NOW + 10)).records[0], Record)


@pytest.mark.parametrize("column", ["user", "ip", "user_agent"])
@pytest.mark.parametrize("value", ["x'ff'", "CAST(x'ff41' AS TEXT)"], ids=["no text", "no UTF-8"])
@pytest.mark.gen_test(timeout=60)
async def test_pages_of_every_size_show_the_same_in_every_order_and_filter(path: Path, column: str, value: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        assert damage(path, "sessions", column, value)
        for sort in Sort:
            for filters in FILTERS:
                whole = [item.handle for item in await walked(store, 50, sort=sort, **filters)]
                for limit in (1, 2):
                    assert [item.handle for item in await walked(store, limit, sort=sort, **filters)] == whole, filters


#: What each column must not hold, in types alone.
WRONG = {column: ["'x'", "x'ff'", "9e999"] for column in RECORD}
WRONG.update({column: ["x'ff'", "CAST(x'ff41' AS TEXT)"] for column in ("user", "ip", "user_agent")})
WRONG.update({"private": ["'x'", "x'ff'", "7"]})
del WRONG["handle"]


@pytest.mark.parametrize("column", WRONG)
@pytest.mark.gen_test(timeout=60)
async def test_a_session_with_a_damaged_column_is_shown_and_can_be_ended(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        for number, value in enumerate(WRONG[column]):
            handle = HANDLES[number]
            assert damage(path, "sessions", column, value, handle)
            [found] = (await store.load([handle], NOW + 10)).records
            assert isinstance(found, Damaged), value
            assert column in found.why
            for sort in Sort:
                listed = {item.handle: type(item) for item in await walked(store, 2, sort=sort)}
                assert listed[handle] is Damaged, (sort, value)
            assert (await store.count(Query(now=NOW + 10))) == (10 - number, True)
            assert await store.destroy([handle, "none"], end(NOW + 10)) == [handle]
            [ended] = (await store.load([handle], NOW + 10)).records
            assert isinstance(ended, Tombstone)
            assert ended.ending == end(NOW + 10)
            assert await store.destroy([handle], end(NOW + 11)) == []


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", ["user", "signed_in_at", "last_seen_at", "expires_at"])
@pytest.mark.gen_test(timeout=60)
async def test_several_of_the_same_damage_are_each_listed_once(path: Path, column: str, value: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        if not all(damage(path, "sessions", column, value, handle) for handle in ("h2", "h3", "h6", "h9")):
            return
        total = (await store.count(Query(now=NOW + 10))).total
        for sort in Sort:
            for limit in amount((1,), (1, 2, 50)):
                found = [item.handle for item in await walked(store, limit, sort=sort)]
                assert len(found) == len(set(found)) == total, (sort, limit, found)


@pytest.mark.gen_test
async def test_sessions_without_a_handle_are_sorted_beside_each_other(path: Path) -> None:
    """Two damaged rows may be equal in all that orders them, also where few rows are sorted in Python."""
    async with opened(path) as store:
        await store.save([create(handle, ip=f"192.0.2.{number}") for number, handle in enumerate(HANDLES)])
        for handle, value in zip(
            HANDLES[:6], ["NULL", "NULL", "x'ff'", "x'fe'", *("CAST(x'ff%02d' AS TEXT)",) * 2], strict=True
        ):
            damage(path, "sessions", "handle", value.replace("%02d", f"4{handle[1]}"), handle)
        for sort in Sort:
            for filters in ({}, {"user": "ada"}, {"users": ("ada", "bob")}):
                found = await walked(store, 50, sort=sort, **filters)
                assert len(found) == 10, (sort, filters)
                once = {item.handle for item in await walked(store, 1, sort=sort, **filters)}
                assert once == {"", *HANDLES[6:]}, (sort, filters)


@pytest.mark.parametrize("column", [column for column in WRONG if column != "user"])
@pytest.mark.gen_test
async def test_the_end_of_a_user_ends_what_is_damaged_of_his(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        damage(path, "sessions", column, "x'ff'", "h3")
        assert sorted(await store.destroy_user("ada", end(NOW + 10), "h0")) == ["h3", "h6", "h9"]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.gen_test
async def test_a_session_without_a_handle_is_ended_with_its_user_and_by_time(path: Path, value: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        damage(path, "sessions", "handle", value, "h3")
        damage(path, "sessions", "handle", value.replace("'x'", "'y'").replace("ff", "fe"), "h4")
        await store.destroy_user("ada", end(NOW + 10))
        assert run(path, "SELECT count(*) FROM sessions WHERE user = 'ada'") == [(0,)]
        await store.expire(NOW + 9999, 60)
        assert run(path, "SELECT count(*) FROM sessions") == [(0,)]


@pytest.mark.parametrize("column", [*RECORD, "era"])
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_column_never_stops_the_clean_up(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        damage_half(path, "sessions", column)
        for _ in range(10):
            await store.expire(NOW + 9999, 60, 2)
        # Nobody knows when those end whose expires_at is damaged, except that minus infinity is over.
        assert len(run(path, "SELECT 1 FROM sessions")) == (4 if column == "expires_at" else 0)
        ended = (await store.load(HANDLES[1::2], NOW + 9999)).records
        assert all(isinstance(item, Tombstone) for item in ended)


@pytest.mark.parametrize("column", [*RECORD, "era"])
@pytest.mark.gen_test(timeout=60)
async def test_the_end_of_everybody_ends_the_damaged_too(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        damage_half(path, "sessions", column)
        not_before = await store.end_all(None, end(NOW + 20))
        assert NOW + 20 <= not_before < NOW + 9999
        assert await store.save([create("new", created_at=not_before, last_seen_at=not_before)]) == [Outcome.SAVED]
        assert [item.handle for item in await walked(store, 1)] == ["new"]
        assert await store.count(Query(now=NOW + 10)) == (1, True)
        while await store.expire(NOW + 30, 60, 3):
            pass
        assert run(path, "SELECT handle FROM sessions") == [(b"new",)]


@pytest.mark.parametrize("column", TOMBSTONE)
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_tombstone_costs_one_row(path: Path, column: str) -> None:
    async with opened(path) as store:
        await store.save(ten())
        for late, handle in enumerate(HANDLES):
            await store.destroy([handle], end(NOW + late // 2, keep_until=NOW + 100))
        damage_half(path, "tombstones", column)
        found = (await store.load(HANDLES[1::2], NOW + 10)).records
        assert all(isinstance(item, Tombstone) for item in found)
        for item in (await store.load(HANDLES[::2], NOW + 10)).records:
            assert isinstance(item, Tombstone | Damaged) or column == "handle"
        await look_everywhere(store, TOMBSTONE.index(column), State.ENDED)
        assert await store.save([create("h5"), change("h4"), create("new")]) == [
            Outcome.GONE, Outcome.GONE, Outcome.SAVED,
        ]  # fmt: skip
        await store.expire(NOW + 150, 60)
        assert len(run(path, "SELECT 1 FROM tombstones")) == (4 if column == "keep_until" else 0)


@pytest.mark.parametrize("column", ["not_before", "cause", "ended_by", "reason", "action", "keep_until", "era"])
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_end_of_everybody_revives_and_ends_nobody(path: Path, column: str) -> None:
    # A wrong number is seen if no time is such a number, or where the sessions tell it as well, as they do the era.
    wrong = {"era": ["7"], "not_before": ["1e300", "-5.0"], "keep_until": ["1e300"]}
    for number, value in enumerate([*SOME, *wrong.get(column, [])]):
        file = path.with_name(f"{number}.db")
        async with opened(file) as store:
            await store.save(ten())
            not_before = await store.end_all(None, end(NOW + 20))
            late = {"created_at": not_before, "last_seen_at": not_before}
            await store.save([create("new", **late)])
            try:
                run(file, f"UPDATE ended_all SET {column} = {value}")
            except sqlite3.IntegrityError:
                continue
            loaded = await store.load(["h1", "new"], NOW + 21)
            ended, lives = loaded.records
            assert isinstance(lives, Record), value
            assert lives.created_at >= loaded.not_before, value
            assert isinstance(ended, Tombstone) or (
                isinstance(ended, Record) and ended.created_at < loaded.not_before
            ), value
            assert await store.save([change("h1", set={"a": b"2"}), change("new", set={"a": b"2"})]) == [
                Outcome.GONE,
                Outcome.SAVED,
            ], value
            assert await store.save([create("newer", **late)]) == [Outcome.SAVED], value
            assert await store.destroy(["h1"], end(NOW + 21)) == []
            while await store.expire(NOW + 21, 60, 3):
                pass
            assert sorted(run(file, "SELECT handle FROM sessions")) == [(b"new",), (b"newer",)], value
            assert {item.handle for item in await walked(store, 50)} == {"new", "newer"}, value
            assert (await store.count(Query(now=NOW + 21))).total == 2, value
            [buried] = (await store.load(["h1"], NOW + 21)).records
            assert isinstance(buried, Tombstone), value
            assert buried.ending.cause is Cause.OPERATOR
            # The next one works again, and repairs what was damaged.
            again = await store.end_all(None, end(NOW + 30))
            assert (await store.load([], NOW)).not_before == again >= NOW + 30
            assert await walked(store, 50) == []


@pytest.mark.gen_test(timeout=30)
async def test_a_damaged_event_costs_one_event(path: Path) -> None:
    async with opened(path) as store, aclosing(store.events()) as told:
        hearing = asyncio.ensure_future(anext(told))
        while not hearing.done():
            run(path, "INSERT INTO events (kind, handle, at) VALUES ('destroyed', 'w', 1.0)")
            await asyncio.wait([hearing], timeout=0.05)
        connection = sqlite3.connect(path)
        for column in ("kind", "handle", "at", "user", "cause", "ended_by"):
            for value in VALUES:
                fields = {"kind": "'destroyed'", "handle": "'bad'", "at": "1.0", column: value}
                if value != "NULL" or column in {"user", "cause", "ended_by"}:
                    names, values = ", ".join(fields), ", ".join(fields.values())
                    connection.execute(f"INSERT INTO events ({names}) VALUES ({values})")
        connection.execute("INSERT INTO events (kind, handle, at) VALUES ('expired', 'good', 1.0)")
        connection.commit()
        connection.close()
        heard = [hearing.result()]
        while heard[-1].handle != "good":
            heard.append(await asyncio.wait_for(anext(told), 5))
        assert heard[-1].kind is EventKind.EXPIRED
        assert "bad" in {event.handle for event in heard}
        await store.expire(NOW + 9999, 60)
        assert run(path, "SELECT count(*) FROM events") == [(0,)]


@pytest.mark.gen_test
async def test_a_handle_that_no_row_can_have_costs_the_others_nothing(path: Path) -> None:
    async with opened(path) as store:
        await store.save(ten())
        found = (await store.load(["\ud800", "h1"], NOW)).records
        assert [type(item) for item in found] == [type(None), Record]
        assert await store.save([change("\ud800"), change("h1", set={"a": b"2"})]) == [Outcome.GONE, Outcome.SAVED]
        assert await store.destroy(["\ud800", "h1"], end(NOW + 1)) == ["h1"]
