"""What is special to SQLite: crashes, locks, full disks, foreign files, indexes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.amount import amount
from support.programs import PROGRAMS
from support.tried import Tried

from tornado_sessions.errors import ConfigError, StoreMismatch, StoreUnavailable
from tornado_sessions.query import Direction, Query, Sort, State
from tornado_sessions.record import Outcome, Rotation
from tornado_sessions.stores import open_store
from tornado_sessions.stores.cursor import END, Edge, SortKey, encode_edge
from tornado_sessions.stores.sqlite import lists
from tornado_sessions.stores.sqlite.columns import FACTS
from tornado_sessions.testing.maker import NOW, change, create, end

ROUNDS = amount(4, 50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.mark.gen_test(timeout=100)
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(path: Path, tried: Tried) -> None:
    url = f"sqlite:///{path}"
    written, lost = 0, 0
    for turn in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "crash_writer.py"), url, str(turn)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(20 + 7 * turn)]
        writer.kill()
        lines += writer.stdout.readlines()
        writer.stdout.close()
        writer.wait()
        told = [int(line) for line in lines if line.endswith("\n") and line.strip()]
        store = open_store(url)
        await store.open()
        found = (await store.load([f"h{turn}", *(f"h{turn}x{number}" for number in told)], NOW + 2)).records
        await store.close()
        written, lost = written + len(found), lost + found.count(None)
        assert int(getattr(found[0], "data", {})["n"]) >= told[-1]
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    tried("kill -9 of a process that writes to SQLite", times=ROUNDS, lost=lost)
    tried("acknowledged sessions read after these kills", times=written, lost=lost)
    assert lost == 0


@pytest.mark.gen_test
async def test_a_change_that_no_list_shows_writes_no_column_of_a_list(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    await store.open()
    made = create("h1")
    await store.save([made])
    other = sqlite3.connect(path)
    columns = ", ".join(name for name in FACTS if name != "handle")
    other.execute(
        f"CREATE TRIGGER refuse BEFORE UPDATE OF {columns} ON sessions BEGIN SELECT RAISE(ABORT, 'a column of a list'); END"
    )
    other.close()
    secret = made.record.secret_hash
    rotation = Rotation(
        expected_hash=secret, secret_hash=bytes(32), previous_hash=secret, rotated_at=NOW, confirmed_at=None, grace=9.0
    )
    for fields in ({"set": {"a": b"2"}}, {"delete": frozenset({"a"})}, {"clear": True}, {"rotation": rotation}):
        assert await store.save([change(**fields)]) == [Outcome.SAVED], fields
    # Several changes of one session in one call, one of which a list shows.
    with pytest.raises(StoreUnavailable, match="a column of a list"):
        await store.save([change(last_seen_at=NOW + 1), change(set={"a": b"3"})])
    await store.close()


@pytest.mark.gen_test
async def test_a_locked_file_is_unavailable_and_works_again_after(path: Path) -> None:
    store = open_store(f"sqlite:///{path}?busy_timeout=0.05")
    await store.open()
    await store.save([create("h1")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.save([change(set={"a": b"2"})])
    other.execute("ROLLBACK")
    other.close()
    assert await store.save([change(set={"a": b"3"})]) == [Outcome.SAVED]
    await store.close()


@pytest.mark.gen_test
async def test_a_full_disk_is_unavailable_and_loses_nothing(path: Path) -> None:
    store: Any = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create("h1")])
    await store.database.write(lambda connection: connection.execute("PRAGMA max_page_count = 40").fetchall())
    with pytest.raises(StoreUnavailable, match="full"):
        for number in range(100):
            await store.save([create(f"big{number}", data={"a": b"x" * 20000})])
    assert (await store.load(["h1"], NOW)).records[0] is not None
    await store.close()


@pytest.mark.gen_test
async def test_a_file_that_is_no_database_is_a_clear_mismatch(path: Path) -> None:
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 40)
    with pytest.raises(StoreMismatch, match=r"\.db: file is not a database"):
        await open_store(f"sqlite:///{path}").open()
    with pytest.raises(StoreUnavailable, match=f"{path.parent}: unable to open"):
        await open_store(f"sqlite:///{path.parent}").open()


@pytest.mark.gen_test
async def test_a_file_of_a_newer_version_is_a_clear_mismatch(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    await store.open()
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_versions SET version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreMismatch, match="newer"):
        await open_store(f"sqlite:///{path}").open()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://host/x", "sqlite:///x?fast=1", "sqlite:///:memory:"]
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)


FILTERS: list[dict[str, Any]] = [
    {},
    {"user": "ada"},
    {"ip": "192.0.2.1"},
    {"handle": "h1"},
    {"user": "ada", "ip": "192.0.2.1"},
    {"user": "ada", "handle": "h1"},
    {"text": "ad"},
]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.gen_test
async def test_a_list_reads_an_index_and_sorts_nothing(path: Path, filters: dict[str, Any], state: State) -> None:
    store: Any = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create(f"h{n}", last_seen_at=NOW + n) for n in range(50)])
    await store.close()
    connection = sqlite3.connect(path)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    edge = Edge(SortKey(0, "", 3.0 - NOW, "h3"), is_after=True)
    for direction in (None, Direction.ASCENDING):
        query = Query(now=NOW, state=state, direction=direction, **filters)
        for place in (edge, edge._replace(is_backwards=True)):
            lists.find(connection, msgspec.structs.replace(query, cursor=encode_edge(place, query)))
    connection.set_trace_callback(None)
    plans = [
        row[3]
        for statement in statements
        if statement.startswith("SELECT") and "ended_all" not in statement
        for row in connection.execute("EXPLAIN QUERY PLAN " + statement)
    ]
    connection.close()
    assert plans
    # A look-up of a few handles may be sorted; a walk through a list never is. What a subquery holds is bounded.
    small = "text" in filters
    assert not [plan for plan in plans if plan.startswith("SCAN") and "USING" not in plan and "subquery" not in plan]
    # The rows of one moment are sorted by handle.
    assert small or not [plan for plan in plans if "TEMP B-TREE" in plan and "RIGHT PART" not in plan]


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.gen_test
async def test_every_order_has_an_index(path: Path, sort: Sort) -> None:
    store: Any = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create(f"h{n}", user="ada" if n % 2 else None, last_seen_at=NOW + n) for n in range(50)])
    queries = []
    for query in [Query(now=NOW, sort=sort, direction=direction) for direction in Direction]:
        few = await store.find(msgspec.structs.replace(query, limit=3))
        many = await store.find(msgspec.structs.replace(query, limit=40))
        cursors = [None, few.next_cursor, many.next_cursor, encode_edge(END, query)]
        queries += [msgspec.structs.replace(query, cursor=cursor, device="Firefox") for cursor in cursors]
    await store.close()
    connection = sqlite3.connect(path)
    for query in queries:
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        lists.find(connection, query)
        connection.set_trace_callback(None)
        plans = [
            row[3]
            for statement in statements
            if "ORDER BY" in statement and "NOT INDEXED" not in statement
            for row in connection.execute("EXPLAIN QUERY PLAN " + statement)
        ]
        assert plans
        assert all(
            "INDEX" in plan
            or "USING INTEGER PRIMARY KEY" in plan
            or "USING ROWID" in plan
            or "RIGHT PART" in plan
            or "subquery" in plan.lower()
            or "CO-ROUTINE" in plan
            for plan in plans
        ), plans
        assert not [plan for plan in plans if "TEMP B-TREE" in plan and "RIGHT PART" not in plan], plans
    connection.close()


@pytest.mark.gen_test
async def test_the_total_is_counted_by_the_database_itself(path: Path) -> None:
    """Whatever is written, minute by minute, the sum is what a look at every row would say."""
    store: Any = open_store(f"sqlite:///{path}")
    await store.open()
    await store.save([create(f"h{n}", expires_at=NOW + 30 * n) for n in range(1, 60)])
    await store.save([change(f"h{n}", expires_at=NOW + 4000 + n, last_seen_at=NOW + 5) for n in range(10, 20)])
    await store.destroy(["h30", "h31"], end(NOW + 1))
    for later in (1, 61, 500, 1000, 4010, 9000):
        now = NOW + later
        shown = await store.find(Query(now=now, limit=500))
        assert await store.count(Query(now=now)) == (len(shown.items), True), later
        if later == 500:
            await store.expire(now, 60.0)
    await store.close()


@pytest.mark.gen_test
async def test_a_search_with_many_matches_reads_a_bounded_number_of_them(path: Path) -> None:
    """Counted in steps of SQLite's machine: five times as many matches beyond the bound cost a page nothing."""
    steps = []
    for number, many in enumerate((6_000, 30_000)):
        file = path.with_name(f"{number}.db")
        opened = open_store(f"sqlite:///{file}")
        await opened.open()
        for first in range(0, many, 3_000):
            some = range(first, first + 3_000)
            await opened.save([create(f"d{n:05}", user=f"user{n}", last_seen_at=NOW + n / many) for n in some])
        await opened.close()
        connection = sqlite3.connect(file)
        query = Query(now=NOW + 1, text="user")
        lists.find(connection, query)
        ticks: list[int] = []
        connection.set_progress_handler(lambda ticks=ticks: ticks.append(1), 100)  # type: ignore[misc]
        assert len(lists.find(connection, query).items) == 50
        connection.set_progress_handler(None, 1)
        connection.close()
        steps.append(len(ticks))
    assert steps[1] < 1.2 * steps[0], steps
