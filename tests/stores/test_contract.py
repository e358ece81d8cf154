"""Every check of the contract on every store."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.amount import amount
from support.kits import REPEATED, runs_of
from support.makers import MemoryMaker, make
from support.urls import BACKENDS, KINDS

from tornado_sessions.stores import Store
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.stores.mongo import MongoStore
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.stores.sqlite import SQLiteStore
from tornado_sessions.testing import (
    STORE_CHECKS,
    StoreMaker,
    UrlMaker,
    damage,
    directions,
    ending,
    everybody,
    finding,
    saving,
    swapping,
)
from tornado_sessions.testing.faults import CuttingStore, FailingStore, SlowStore, WrappedStore
from tornado_sessions.testing.maker import NOW

#: Left to `make test-long` on stores that only repeat another one.
SLOW = [
    *(check for check in STORE_CHECKS if check.__module__ == damage.__name__),
    everybody.check_a_slow_clock_ends_everybody,
]
#: Hundreds of sessions each; the MongoDB server of the tests takes seconds for them.
SLOW_ON_MONGO = [
    everybody.check_a_slow_clock_ends_everybody,
    everybody.check_the_ended_hide_nobody_who_was_spared,
    everybody.check_the_ended_hide_nobody_before_they_are_swept,
    finding.check_a_prefix_is_found_without_regard_to_case,
    finding.check_many_of_one_moment_are_paged_in_every_order,
    directions.check_many_of_one_moment_are_paged_back,
    finding.check_the_dead_do_not_hide_the_living,
]


def is_slow(kind: str, check: Callable[..., Any]) -> bool:
    """Whether `make test` leaves this to `make test-long`."""
    return (kind in REPEATED and check in SLOW) or (kind.startswith("mongo_") and check in SLOW_ON_MONGO)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every store, or the one that ``--store-url`` names."""
    if "maker" in metafunc.fixturenames:
        kinds = ["url"] if metafunc.config.getoption("--store-url") else KINDS
        metafunc.parametrize(("maker", "check"), runs_of(STORE_CHECKS, kinds, is_slow), indirect=["maker"])


@pytest.fixture
def maker(request: pytest.FixtureRequest, tmp_path: Path, io_loop: Any) -> Iterator[StoreMaker]:
    made = make(request.param, request, tmp_path)
    # Each way of damage has its own test of what is read; a quarter of the ways is a sample for the kit.
    made.damages = amount(made.damages[::4], made.damages)
    request.node.user_properties.append(("damages", len(made.damages)))
    yield made
    io_loop.run_sync(made.close)


@pytest.mark.gen_test(timeout=60)
async def test_store(check: Callable[[StoreMaker], Awaitable[None]], maker: StoreMaker) -> None:
    await check(maker)


def test_no_check_is_left_out() -> None:
    modules = (saving, ending, finding, directions, everybody, damage, swapping)
    written = [name for module in modules for name in vars(module) if name.startswith("check_")]
    assert sorted(check.__name__ for check in STORE_CHECKS) == sorted(written)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("chosen", [None, NOW + 50], ids=["everybody", "all but one"])
@pytest.mark.gen_test(timeout=110)
async def test_thousands_of_ended_sessions_hide_nobody(
    chosen: float | None, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    maker = make(kind, request, tmp_path)
    try:
        usual = 150 if kind.startswith("mongo") else 1500
        await everybody.assert_hidden(maker, amount(usual, 50_000), chosen)
    finally:
        await maker.close()


class WrappedMaker(MemoryMaker):
    """Stores behind a wrapper that adds no fault."""

    async def open(self) -> Store:
        return WrappedStore(await super().open())


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.gen_test(timeout=20)
async def test_a_wrapper_passes_everything_on(check: Callable[[StoreMaker], Awaitable[None]], tmp_path: Path) -> None:
    maker = WrappedMaker(tmp_path)
    await check(maker)
    await maker.close()


STORES = [
    MemoryStore,
    SQLiteStore,
    RedisStore,
    MongoStore,
    DualStore,
    WrappedStore,
    FailingStore,
    CuttingStore,
    SlowStore,
]


@pytest.mark.parametrize("store", STORES)
def test_parameters_have_the_names_of_the_contract(store: type[Store]) -> None:
    """Whoever calls by keyword may change the store."""
    promised = [name for name in vars(Store) if not name.startswith("_") and callable(getattr(Store, name))]
    assert "swap" in promised
    for name in promised:
        expected, found = (inspect.signature(getattr(each, name)).parameters for each in (Store, store))
        shapes = [[(each.name, each.kind, each.default) for each in given.values()] for given in (expected, found)]
        assert shapes[0] == shapes[1], name


@pytest.mark.parametrize("store", STORES)
def test_every_store_swaps_and_whatever_joins_or_wraps_one_passes_all_on(store: type[Store]) -> None:
    """What the base class answers itself is easily forgotten."""
    assert store.swap is not Store.swap
    if store in (DualStore, WrappedStore):
        assert store.diagnose is not Store.diagnose


@pytest.mark.parametrize("kind", ["redis", "mongo_motor"])
@pytest.mark.parametrize("check", STORE_CHECKS[:3] + STORE_CHECKS[-3:], ids=lambda check: check.__name__)
@pytest.mark.gen_test
async def test_a_url_is_all_that_the_kit_needs(
    kind: str, check: Callable[[StoreMaker], Awaitable[None]], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("redis" if kind == "redis" else "mongo")
    maker = UrlMaker(server.url + ("?prefix={id}:" if kind == "redis" else "/t{id}"))
    await check(maker)
    await maker.close()
