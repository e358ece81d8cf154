"""What ended in one of two stores stays ended: through ``dual://``, on every pair of back ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from support.amount import amount, only_long
from support.makers import make
from support.pairs import BornInTheFallback, PairMaker, is_live
from support.urls import BACKENDS

from tornado_sessions.query import Count, Query
from tornado_sessions.record import Outcome
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.testing import damage, everybody
from tornado_sessions.testing.maker import NOW, change, create, end

#: Primary and fallback.
PAIRS = list(itertools.product(BACKENDS, repeat=2))
#: A pair with SQLite and one with each server in either place stand for all of them in `make test`.
_USUAL = [pair for pair in PAIRS if "memory" not in pair and not ("mongo_motor" in pair and "redis" not in pair)]
#: For the kit's checks, each of them once is enough.
_CHECKED = [("sqlite", "redis"), ("redis", "mongo_motor")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        pairs = [pair for pair in PAIRS if "unlike" not in metafunc.fixturenames or pair[0] != pair[1]]
        usual = _CHECKED if "unlike" in metafunc.fixturenames else _USUAL
        metafunc.parametrize("pair", [_param(pair, usual) for pair in pairs], indirect=True)


def _param(pair: tuple[str, ...], usual: Sequence[tuple[str, ...]]) -> ParameterSet:
    is_long = pair not in usual
    return pytest.param(pair, id="-".join(pair), marks=[only_long] if is_long else [])


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[PairMaker]:
    folders = [tmp_path / name for name in ("primary", "fallback")]
    for folder in folders:
        folder.mkdir()
    makers = [make(kind, request, folder) for kind, folder in zip(request.param, folders, strict=True)]
    made = PairMaker(makers[0], makers[1], BornInTheFallback)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def unlike(pair: PairMaker) -> PairMaker:
    """Two of different kinds."""
    return pair


@pytest.mark.gen_test(timeout=30)
async def test_whoever_ended_in_the_old_store_stays_ended(pair: PairMaker) -> None:
    dual = await pair.open()
    await dual.fallback.save([create(f"h{n}", created_at=NOW + n, last_seen_at=NOW + n) for n in range(5)])
    ended_at = await dual.fallback.end_all(None, end(NOW))
    for _ in range(3):
        loaded = await dual.load([f"h{n}" for n in range(5)], NOW + 9)
        assert loaded.not_before == ended_at
        assert [await is_live(dual, f"h{n}", NOW + 9) for n in range(5)] == [False] * 5
    assert await dual.save([change("h1", now=NOW + 9, set={"a": b"2"})]) == [Outcome.GONE]
    for store in (dual, dual.primary):
        assert (await store.find(Query(now=NOW + 9))).items == []
        assert [await is_live(store, f"h{n}", NOW + 9) for n in range(5)] == [False] * 5


@pytest.mark.gen_test(timeout=30)
async def test_an_old_process_ends_those_who_moved_as_well(pair: PairMaker) -> None:
    dual = await pair.open()
    await dual.fallback.save([create("moved"), create("old")])
    await dual.primary.save(
        [create("new", created_at=NOW + 1, last_seen_at=NOW + 1), create("later", created_at=NOW + 9)]
    )
    assert await is_live(dual, "moved", NOW + 2)
    assert await is_live(dual.primary, "moved", NOW + 2)
    await dual.fallback.end_all(NOW + 5, end(NOW + 5))
    assert await dual.save([change("moved", now=NOW + 6, set={"a": b"2"})]) == [Outcome.GONE]
    assert [item.handle for item in (await dual.find(Query(now=NOW + 9))).items] == ["later"]
    assert await dual.count(Query(now=NOW + 9)) == Count(1, exact=True)
    for store in (dual, dual.primary):
        lives = [await is_live(store, handle, NOW + 9) for handle in ("moved", "old", "new", "later")]
        assert lives == [False, False, False, True]
    assert await dual.expire(NOW + 9, 60) == 3
    assert await pair.raw_handles() == {"later"}


@pytest.mark.gen_test(timeout=30)
async def test_both_are_ended_by_the_fastest_clock_of_either(pair: PairMaker) -> None:
    dual = await pair.open()
    await dual.fallback.save([create("old", created_at=NOW + 300, last_seen_at=NOW + 300)])
    await dual.primary.save([create("new", created_at=NOW + 3, last_seen_at=NOW + 3)])
    not_before = await dual.end_all(None, end(NOW))
    assert NOW + 300 < not_before < NOW + 301
    for store in (dual.primary, dual.fallback, dual):
        assert (await store.load([], NOW)).not_before == not_before
    assert await dual.save([create("back", created_at=not_before, last_seen_at=not_before)]) == [Outcome.SAVED]
    assert [item.handle for item in (await dual.find(Query(now=NOW + 310))).items] == ["back"]


# What hides what is each store's own affair; lists of both are merged in the same way whatever they are.
EVERYBODY = [
    # It stores three thousand sessions; test_contract runs it on every store.
    pytest.param(each, marks=[only_long] if each is everybody.check_a_slow_clock_ends_everybody else [])
    for name, each in vars(everybody).items()
    if name.startswith("check_") and "hide" not in name
]


@pytest.mark.parametrize("check", EVERYBODY, ids=lambda check: check.__name__)
@pytest.mark.gen_test(timeout=60)
async def test_two_real_stores_end_everybody_as_one(check: Any, unlike: PairMaker) -> None:
    await check(unlike)


DAMAGE = [
    damage.check_one_damaged_of_ten_is_loaded_as_damaged,
    damage.check_one_damaged_of_ten_costs_a_batch_one_answer,
    damage.check_one_damaged_of_ten_is_a_row_of_the_list,
    damage.check_a_damaged_one_is_ended_by_its_handle,
    damage.check_everybodys_end_reaches_past_a_damaged_one,
    damage.check_a_damaged_tombstone_is_a_row_of_the_list,
]


@pytest.mark.parametrize(
    ("kind", "joined"),
    [
        ("sqlite", DualStore),
        ("sqlite", BornInTheFallback),
        *(
            pytest.param(kind, joined, marks=only_long)
            for kind, joined in [
                ("redis", DualStore),
                ("redis", BornInTheFallback),
                ("mongo_motor", DualStore),
                ("mongo_motor", BornInTheFallback),
            ]
        ),
    ],
)
@pytest.mark.parametrize("check", DAMAGE, ids=lambda check: check.__name__)
@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_session_of_either_store_costs_one(
    check: Any, joined: type[DualStore], kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    whole, damaged = make("memory", request, tmp_path), make(kind, request, tmp_path)
    damaged.damages = amount(damaged.damages[::3], damaged.damages)
    pair = PairMaker(whole, damaged, joined) if joined is BornInTheFallback else PairMaker(damaged, whole, joined)
    try:
        await check(pair)
    finally:
        await pair.close()
