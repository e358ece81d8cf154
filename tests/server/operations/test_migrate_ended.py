"""What ended in the old store stays ended in the copy, and one damaged session costs one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.damageable import DamageableMaker
from support.makers import make
from support.pairs import Interrupted, is_live
from support.urls import BACKENDS

from tornado_sessions.query import Count, Query
from tornado_sessions.record import Cause, Outcome, Record, Tombstone
from tornado_sessions.server.operations.migrate import copy_sessions
from tornado_sessions.stores import Store
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing import Damage, StoreMaker
from tornado_sessions.testing.maker import NOW, change, create, end, make_record

#: Source and target.
PAIRS = list(itertools.product(BACKENDS, repeat=2))
LOGOUT = end(NOW + 1, cause=Cause.LOGOUT)


def nothing(_: int) -> None:
    """Told how many, and not interested."""


def now() -> float:
    return NOW + 2


@pytest.fixture
def makers(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[list[StoreMaker]]:
    folders = [tmp_path / name for name in ("source", "target")]
    for folder in folders:
        folder.mkdir()
    made = [make(kind, request, folder) for kind, folder in zip(request.param, folders, strict=True)]
    yield made
    for maker in made:
        io_loop.run_sync(maker.close)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "makers" in metafunc.fixturenames:
        metafunc.parametrize("makers", PAIRS, indirect=True, ids="-to-".join)


@pytest.mark.gen_test(timeout=30)
async def test_whoever_everybodys_end_reached_in_the_source_is_not_copied(makers: list[StoreMaker]) -> None:
    source, target = [await maker.open() for maker in makers]
    await source.save([create(f"h{n}", created_at=NOW + n, last_seen_at=NOW + n) for n in range(5)])
    assert await copy_sessions(source, target, nothing, now) == 5
    ended_at = await source.end_all(None, end(NOW))
    await source.save([create("back", created_at=ended_at, last_seen_at=ended_at, expires_at=NOW + 1800)])
    # Those copied by the first run end with the others.
    assert await copy_sessions(source, target, nothing, now) == 1
    assert (await target.load([], NOW)).not_before == ended_at
    assert [await is_live(target, f"h{n}", NOW + 9) for n in range(5)] == [False] * 5
    assert [item.handle for item in (await target.find(Query(now=NOW + 9))).items] == ["back"]
    assert await target.count(Query(now=NOW + 9)) == Count(1, exact=True)


@pytest.mark.gen_test(timeout=30)
async def test_everybodys_end_between_the_look_and_the_copy_reaches_the_copies(makers: list[StoreMaker]) -> None:
    source, target = await makers[0].open(), Interrupted(await makers[1].open())
    await source.save([create(f"h{n}", created_at=NOW + n, last_seen_at=NOW + n) for n in range(3)])
    target.meanwhile["before save"] = lambda: source.end_all(None, end(NOW))
    await copy_sessions(source, target, nothing, now)
    assert [await is_live(target.store, f"h{n}", NOW + 9) for n in range(3)] == [False] * 3
    assert (await target.store.find(Query(now=NOW + 9))).items == []


@pytest.fixture
def maker(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[StoreMaker]:
    made = make(request.param, request, tmp_path)
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("maker", ["sqlite", "redis", "mongo_motor"], indirect=True)
@pytest.mark.gen_test(timeout=60)
async def test_one_damaged_session_of_ten_costs_one(maker: StoreMaker) -> None:
    source, target = await maker.open(), MemoryStore()
    for number, damage in enumerate(way for way in maker.damages if not way.of_tombstone):
        handles = [f"r{number:03}n{place}" for place in range(10)]
        old = b"p" * 32
        await source.save([create(h, expires_at=NOW + 100 + n, previous_hash=old) for n, h in enumerate(handles)])
        await maker.damage(handles[4], damage)
        damaged: list[str] = []
        assert await copy_sessions(source, target, nothing, now, damaged.extend) == 9, damage
        # One that lost its place in the list is not met.
        is_lost = damage.field in ("live", "created_at", "expires_at")
        assert damaged == [handles[4]] or (is_lost and not damaged), (damage, damaged)
        found = (await target.load(handles, NOW + 3)).records
        assert [item is not None for item in found] == [place != 4 for place in range(10)], damage
        await source.destroy(handles, end(NOW + 3))


async def end_everybody(source: Store) -> None:
    await source.end_all(None, LOGOUT)


async def log_out(source: Store) -> None:
    await source.destroy(["h1"], LOGOUT)


async def log_out_unremembered(source: Store) -> None:
    await source.destroy(["h1"], end(NOW + 1, keep_until=NOW + 1))
    await source.expire(NOW + 1, 60)


async def end_and_sweep(source: Store) -> None:
    await source.end_all(None, LOGOUT)
    await source.expire(NOW + 1, 60)


#: The questions that a run over one page puts to the source, in their order: what is asked, and the how manieth of its kind.
QUESTIONS = [("load", 0), ("find", 0), ("load", 1), ("load", 2), ("find", 1), ("load", 3)]
# Whoever logs out after the list of the ended was read does so after the run.
RACES = [
    *((ends, question) for ends in (end_everybody, end_and_sweep) for question in QUESTIONS),
    *((log_out, question) for question in QUESTIONS[:-1]),
]


@pytest.mark.parametrize(("ends", "question"), RACES)
@pytest.mark.gen_test
async def test_who_ends_in_the_source_while_it_is_copied_is_out(
    ends: Callable[[Store], Any], question: tuple[str, int]
) -> None:
    source, target = Interrupted(MemoryStore()), MemoryStore()
    await source.save([create("h1"), create("h2", user="eve")])
    asked, number = question
    reached: list[int] = []

    async def count() -> None:
        """End it before the question of that number."""
        if len(reached) == number:
            await ends(source.store)
        reached.append(number)
        source.meanwhile[f"before {asked}"] = count

    source.meanwhile[f"before {asked}"] = count
    await copy_sessions(source, target, nothing, now)
    assert len(reached) > number
    assert not await is_live(target, "h1", NOW + 3)


@pytest.mark.parametrize("ends", [log_out, log_out_unremembered, end_everybody, end_and_sweep])
@pytest.mark.parametrize("when", ["before save", "after save"])
@pytest.mark.gen_test
async def test_who_ends_between_the_look_and_the_copy_is_out(ends: Callable[[Store], Any], when: str) -> None:
    source, target = MemoryStore(), Interrupted(MemoryStore())
    await source.save([create("h1")])
    target.meanwhile[when] = lambda: ends(source)
    await copy_sessions(source, target, nothing, now)
    assert not await is_live(target, "h1", NOW + 3)


@pytest.mark.gen_test
async def test_who_logs_out_and_is_soon_forgotten_while_being_copied_is_out() -> None:
    source, target = Interrupted(MemoryStore()), Interrupted(MemoryStore())
    await source.save([create("h1")])
    briefly = end(NOW + 1, keep_until=NOW + 3)
    target.meanwhile["after save"] = lambda: source.store.destroy(["h1"], briefly)

    async def forget_before_the_next() -> None:
        source.meanwhile["before find"] = lambda: source.store.expire(NOW + 4, 60)

    source.meanwhile["after find"] = forget_before_the_next
    await copy_sessions(source, target, nothing, now)
    assert not await is_live(target, "h1", NOW + 3)


@pytest.mark.gen_test
async def test_who_logged_out_between_two_runs_is_out() -> None:
    source, target = MemoryStore(), MemoryStore()
    await source.save([create("h1"), create("h2")])
    assert await copy_sessions(source, target, nothing, now) == 2
    await log_out(source)
    assert await copy_sessions(source, target, nothing, now) == 0
    found = (await target.load(["h1", "h2"], NOW + 3)).records
    assert [type(item) for item in found] == [Tombstone, Record]
    assert isinstance(found[0], Tombstone)
    assert found[0].ending == LOGOUT


@pytest.mark.gen_test
async def test_what_ended_in_the_target_is_not_copied_again() -> None:
    source, target = MemoryStore(), MemoryStore()
    await source.save([create("h1"), create("h2", created_at=NOW + 9, expires_at=NOW + 1800)])
    assert await copy_sessions(source, target, nothing, now) == 2
    await target.destroy(["h2"], LOGOUT)
    await target.end_all(NOW + 5, end(NOW + 5))
    assert await copy_sessions(source, target, nothing, now) == 0
    assert [await is_live(target, handle, NOW + 9) for handle in ("h1", "h2")] == [False, False]


@pytest.mark.gen_test
async def test_who_moved_to_the_target_and_is_used_there_is_left_alone() -> None:
    source, target = MemoryStore(), MemoryStore()
    await source.save([create("moved"), create("idle", expires_at=NOW + 10)])
    await copy_sessions(source, target, nothing, now)
    await DualStore(target, source).load(["moved"], NOW + 2)
    answers = await target.save([change(h, last_seen_at=NOW + 9, expires_at=NOW + 900) for h in ("moved", "idle")])
    assert answers == [Outcome.SAVED] * 2
    await source.expire(NOW + 11, 60)
    assert await copy_sessions(source, target, nothing, lambda: NOW + 12) == 0
    assert [await is_live(target, handle, NOW + 12) for handle in ("moved", "idle")] == [True, True]


@pytest.mark.gen_test
async def test_who_is_used_while_pages_are_copied_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tornado_sessions.server.operations.migrate._PAGE", 2)
    source, target = Interrupted(MemoryStore()), MemoryStore()
    await source.save([create(f"h{n}", last_seen_at=NOW - n, expires_at=NOW + 100 - n) for n in range(6)])

    async def use() -> None:
        """Every session is used once while pages are read; the one used last was the last in the list before."""
        await source.store.save(
            [change(f"h{n}", now=NOW + 3, last_seen_at=NOW + 3 + n, expires_at=NOW + 200 + n) for n in (5, 3, 1)]
        )

    source.meanwhile["after find"] = use
    assert await copy_sessions(source, target, nothing, now) == 6
    assert (await target.load(["h5"], NOW + 4)).records == [
        make_record("h5", last_seen_at=NOW + 8, expires_at=NOW + 205)
    ]


@pytest.mark.gen_test
async def test_the_damaged_are_skipped_and_reported() -> None:
    maker, target = DamageableMaker(), MemoryStore()
    source = await maker.open()
    await source.save([create("h1"), create("h2"), create("h3")])
    await source.destroy(["h3"], LOGOUT)
    await maker.damage("h2", Damage("", "all of it"))
    await maker.damage("h3", Damage("", "all of it", of_tombstone=True))
    skipped: list[str] = []
    assert await copy_sessions(source, target, nothing, now, skipped.extend) == 1
    assert await copy_sessions(source, target, nothing, now) == 0
    assert skipped == ["h2"]
    assert (await target.load(["h2", "h3"], NOW)).records == [None, None]
