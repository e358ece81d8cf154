"""Records that a process remembers are those of the file: whatever changes them is seen by the next load."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sqlite_stores import opened

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import Damaged, Outcome, Record, Tombstone
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.maker import NOW, change, create, end


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


async def one(store: Store, handle: str = "h1", now: float = NOW + 1) -> Any:
    return (await store.load([handle], now)).records[0]


def by_hand(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    for statement in statements:
        connection.execute(statement)
    connection.close()


CHANGES: dict[str, tuple[Callable[[Store], Any], type]] = {
    "a value": (lambda store: store.save([change("h1", set={"a": b"2"})]), Record),
    "an end": (lambda store: store.destroy(["h1"], end(NOW + 1)), Tombstone),
    "the end of a user": (lambda store: store.destroy_user("ada", end(NOW + 1)), Tombstone),
    "a move": (lambda store: store.take("h1", end(NOW + 1)), Tombstone),
    "an expiry": (lambda store: store.expire(NOW + 99999, 60.0), Tombstone),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("who", ["this process", "another process"])
@pytest.mark.gen_test
async def test_every_change_is_seen_by_the_next_load(path: Path, kind: str, who: str) -> None:
    work, expected = CHANGES[kind]
    async with opened(path) as store, opened(path) as other:
        await store.save([create("h1"), create("h2", user="bob")])
        before = await one(store)
        assert await one(store) is before
        await work(store if who == "this process" else other)
        for reader in (store, other, store):
            found = await one(reader)
            assert isinstance(found, expected)
            assert found != before
        assert await store.save([change("h1", set={"b": b"3"})]) == [
            Outcome.SAVED if expected is Record else Outcome.GONE
        ]


@pytest.mark.gen_test
async def test_the_end_of_everybody_is_seen_by_the_next_load(path: Path) -> None:
    async with opened(path) as store, opened(path) as other:
        await store.save([create("h1")])
        for who in (store, other, store):
            since = await who.end_all(None, end(NOW + 9))
            for reader in (store, other):
                assert (await reader.load(["h1"], NOW + 1)).not_before == since
                assert await reader.save([change("h1", set={"a": b"9"})]) == [Outcome.GONE]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE sessions SET user = 'eve'", Record),
        ("UPDATE sessions SET private = 'x'", Damaged),
        ("UPDATE sessions SET era = 'x'", Damaged),
        ("DELETE FROM sessions", type(None)),
    ],
)
@pytest.mark.gen_test
async def test_what_another_program_does_is_seen_by_the_next_load(path: Path, statement: str, expected: type) -> None:
    async with opened(path) as store:
        await store.save([create("h1")])
        before = await one(store)
        by_hand(path, statement)
        found = await one(store)
        assert isinstance(found, expected)
        assert found != before


@pytest.mark.parametrize("damage", ["number = 'x'", "number = 9e999", "number = 9223372036854775807"])
@pytest.mark.gen_test
async def test_a_damaged_revision_makes_nobody_remember_what_is_gone(path: Path, damage: str) -> None:
    async with opened(path) as store, opened(path) as other:
        await store.save([create("h1"), create("h2")])
        await one(store)
        by_hand(path, f"UPDATE revision SET {damage}")
        assert isinstance(await one(store), Record)
        await other.save([change("h1", set={"a": b"5"})])
        assert (await one(store)).data["a"] == b"5"
        by_hand(path, "DELETE FROM revision")
        await other.destroy(["h1"], end(NOW + 1))
        assert isinstance(await one(store), Tombstone)


@pytest.mark.gen_test
async def test_what_expires_is_not_remembered_as_live(path: Path) -> None:
    async with opened(path) as store:
        await store.save([create("h1", expires_at=NOW + 100)])
        assert isinstance(await one(store, now=NOW + 99), Record)
        assert isinstance(await one(store, now=NOW + 100), Tombstone)


@pytest.mark.gen_test
async def test_a_change_that_is_rolled_back_is_not_remembered(path: Path) -> None:
    async with opened(path) as store:
        await store.save([create("h1", data={"a": b"1"})])
        # The lone surrogate makes SQLite refuse the batch; afterwards, each change is saved alone.
        answers = await store.save([change("h1", set={"a": b"2"}), create("h2", user="\ud800")])
        assert answers[0] is Outcome.SAVED
        assert isinstance(answers[1], Exception)
        assert (await one(store)).data["a"] == b"2"
        locked = sqlite3.connect(path, isolation_level=None)
        locked.execute("BEGIN IMMEDIATE")
        store_in_a_hurry = open_store(f"sqlite:///{path}?busy_timeout=0.01")
        locked.execute("ROLLBACK")
        await store_in_a_hurry.open()
        locked.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await store_in_a_hurry.save([change("h1", set={"a": b"3"})])
        assert (await one(store_in_a_hurry)).data["a"] == b"2"
        locked.execute("ROLLBACK")
        locked.close()
        await store_in_a_hurry.close()


@pytest.mark.gen_test
async def test_many_writers_and_readers_agree_at_every_moment(path: Path) -> None:
    """A load that starts after a save was answered never shows what was before it."""
    async with opened(path) as store, opened(path) as other:
        await store.save([create(f"h{n}", data={"n": b"0"}) for n in range(8)])
        known = dict.fromkeys([f"h{n}" for n in range(8)], 0)

        async def write(who: Store, handle: str) -> None:
            for number in range(1, 40):
                assert await who.save([change(handle, set={"n": b"%d" % number})]) == [Outcome.SAVED]
                known[handle] = number

        async def read(who: Store) -> None:
            for _ in range(150):
                least = dict(known)
                for record in (await who.load(list(least), NOW + 1)).records:
                    assert isinstance(record, Record)
                    assert int(record.data["n"]) >= least[record.handle]
                await asyncio.sleep(0)

        writers = [write(store if n % 2 else other, f"h{n}") for n in range(8)]
        await asyncio.gather(*writers, read(store), read(other))


@pytest.mark.parametrize("how", ["by user", "by handle"])
@pytest.mark.gen_test
async def test_many_sessions_end_at_once_and_their_rows_go_later(path: Path, how: str) -> None:
    async with opened(path) as store, opened(path) as other:
        await store.save([create(f"h{n:03}", expires_at=NOW + 60 * n + 99) for n in range(200)])
        await store.save([create("bob", user="bob", expires_at=NOW + 99999)])
        await other.load(["h001", "h002"], NOW + 1)
        ending = end(NOW + 1, keep_until=NOW + 9999)
        if how == "by user":
            ended = await store.destroy_user("ada", ending, "h007")
        else:
            ended = await store.destroy([f"h{n:03}" for n in range(200) if n != 7], ending)
        assert len(ended) == 199
        for who in (store, other):
            found = (await who.load(["h001", "h002", "h007"], NOW + 1)).records
            assert [type(item) for item in found] == [Tombstone, Tombstone, Record]
            assert await who.destroy_user("ada", end(NOW + 1), "h007") == []
            assert await who.destroy(["h001"], end(NOW + 1)) == []
            assert await who.take("h001", end(NOW + 1)) is None
            assert await who.save([change("h001"), create("h001"), change("h007")]) == [
                Outcome.GONE, Outcome.GONE, Outcome.SAVED,
            ]  # fmt: skip
        for left in (199, 99, 0):
            with_rows = sqlite3.connect(path)
            assert with_rows.execute("SELECT count(*) FROM leftovers").fetchone() == (left,)
            with_rows.close()
            for sort in Sort:
                page = await store.find(Query(now=NOW + 1, sort=sort))
                assert {item.handle for item in page.items} == {"h007", "bob"}
            for filters in ({}, {"user": "ada"}, {"text": "h0"}, {"ip": "192.0.2.1"}):
                listed = await store.find(Query(now=NOW + 1, **filters))  # type: ignore[arg-type]
                assert await store.count(Query(now=NOW + 1, **filters)) == (len(listed.items), True)  # type: ignore[arg-type]
            assert (await store.count(Query(now=NOW + 1, state=State.ENDED))).total == 199
            assert await store.expire(NOW + 2, 60.0, limit=100) == 0
        assert await store.count(Query(now=NOW + 1)) == (2, True)
