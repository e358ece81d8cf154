"""The number of buckets is that of the data: every process uses the same, and another is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.amount import amount, only_long
from support.makers import RedisMaker
from support.redis_servers import Valkey, ValkeyCluster
from support.redis_stores import Open, ask, fresh, opened

from tornado_sessions.errors import ConfigError, StoreMismatch
from tornado_sessions.query import Query, Sort
from tornado_sessions.stores import open_store
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.testing import STORE_CHECKS, StoreMaker
from tornado_sessions.testing.maker import NOW, create, end

__all__ = ["opened"]


@pytest.mark.parametrize("buckets", [64, *(pytest.param(number, marks=only_long) for number in (1, 7))])
@pytest.mark.parametrize(
    "check",
    # Every sixth one in each run: the kit as a whole runs with the usual number.
    [
        pytest.param(check, marks=() if n % 6 == 0 else only_long, id=check.__name__)
        for n, check in enumerate(STORE_CHECKS)
    ],
)
@pytest.mark.gen_test(timeout=60)
async def test_the_kit_holds_for_any_number_of_buckets(
    check: Callable[[StoreMaker], Awaitable[None]], buckets: int, redis: Valkey
) -> None:
    maker = RedisMaker(redis.url, [redis])
    maker.url += f"&buckets={buckets}"
    # Damage is the same in every bucket, and slow.
    maker.damages = amount((), maker.damages)
    try:
        await check(maker)
    finally:
        await maker.close()


@pytest.mark.parametrize("buckets", [1, 16, 64, 256])
@pytest.mark.gen_test(timeout=60)
async def test_lists_counts_and_ends_of_all_are_those_of_one_set(
    redis_cluster: ValkeyCluster, opened: Open, buckets: int
) -> None:
    store = await opened(f"{fresh(redis_cluster.url)}&buckets={buckets}")
    made = [create(f"h{n:03}", user=f"user{n % 9}", last_seen_at=NOW + n) for n in range(120)]
    await store.save(made)
    keys = {store.keys.session(item.handle).partition(":s:")[0] for item in made}
    assert len(keys) > min(buckets, 120) / 3
    for sort in Sort:
        rows: list[Any] = []
        cursor = None
        while cursor is not None or not rows:
            page = await store.find(Query(now=NOW, sort=sort, limit=50, cursor=cursor))
            rows, cursor = rows + page.items, page.next_cursor
        assert sorted(row.handle for row in rows) == [item.handle for item in made]
    assert [row.handle for row in (await store.find(Query(now=NOW, limit=1))).items] == ["h119"]
    assert (await store.count(Query(now=NOW))) == (120, True)
    assert (await store.count(Query(now=NOW, user="user1"))) == (14, True)
    assert len(await store.destroy_user("user1", end(NOW))) == 14
    await store.end_all(None, end(NOW + 200))
    assert (await store.count(Query(now=NOW + 200))) == (0, True)
    assert await store.expire(NOW + 200, 60) == 106


@pytest.mark.parametrize("value", ["0", "257", "-1", "1.5", "many", "", "9" * 5000])
def test_other_numbers_are_refused_by_the_url(value: str) -> None:
    with pytest.raises(ConfigError, match="buckets must be a whole number from 1 to 256"):
        open_store(f"redis://h?buckets={value}")


@pytest.mark.gen_test
async def test_another_number_than_that_of_the_data_is_refused(redis: Valkey, opened: Open) -> None:
    url = fresh(redis.url)
    await (await opened(f"{url}&buckets=4")).save([create("h1")])
    for other in ("", "&buckets=5", "&buckets=64"):
        with pytest.raises(StoreMismatch, match="spread over 4 buckets, but the URL says") as caught:
            await opened(url + other)
        assert "migrate" in str(caught.value)
    assert (await (await opened(f"{url}&buckets=4")).count(Query(now=NOW))).total == 1


@pytest.mark.parametrize("kind", ["redis", "redis_cluster"])
@pytest.mark.gen_test
async def test_of_servers_that_start_at_once_on_an_empty_store_one_number_wins(
    kind: str, request: pytest.FixtureRequest
) -> None:
    for _ in range(10):
        url = fresh(request.getfixturevalue(kind).url)
        stores = [RedisStore.from_url(f"{url}&buckets={number}") for number in (2, 3, 2, 3)]
        results = await asyncio.gather(*(store.open() for store in stores), return_exceptions=True)
        assert [result is None for result in results] in ([True, False] * 2, [False, True] * 2)
        assert {type(result) for result in results if result is not None} == {StoreMismatch}
        for store in stores:
            await store.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("stored", [None, b"16"])
async def test_data_of_the_first_layout_is_refused(redis: Valkey, opened: Open, stored: bytes | None) -> None:
    """It has a number of buckets and no layout, or neither."""
    url = fresh(redis.url)
    store = await opened(url)
    await store.save([create("h1")])
    await ask(store, "DEL", store.keys.buckets)
    if stored is not None:
        await ask(store, "SET", store.keys.buckets, stored)
    for call in (lambda: opened(url), lambda: store.expire(NOW, 60)):
        with pytest.raises(StoreMismatch, match=r"written by an earlier version.*use another prefix"):
            await call()


@pytest.mark.gen_test
async def test_a_number_that_was_removed_or_damaged_is_found_by_the_next_prune(redis: Valkey, opened: Open) -> None:
    store = await opened(f"{fresh(redis.url)}&buckets=4")
    for key in [*store.keys.not_before, store.keys.buckets]:
        await ask(store, "DEL", key)
    await store.expire(NOW, 60)
    assert await ask(store, "GET", store.keys.buckets) == b"2/4"
    for damage in ("x", "", "9" * 5000, "é", "2/", "2/x", "2/" + "9" * 5000, "3/4"):
        await ask(store, "SET", store.keys.buckets, damage)
        with pytest.raises(StoreMismatch, match="damaged number of buckets"):
            await store.expire(NOW, 60)


@pytest.mark.gen_test
async def test_a_server_that_refuses_writes_at_the_start_is_claimed_before_the_first_session(opened: Open) -> None:
    server = Valkey("--min-replicas-to-write", "1")
    try:
        url = fresh(server.url)
        one, two = await opened(f"{url}&buckets=4"), await opened(f"{url}&buckets=5")
        server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        assert [str(answer) for answer in await one.save([create("h1")])] == ["saved"]
        assert [type(answer) for answer in await two.save([create("h2")])] == [StoreMismatch]
    finally:
        server.stop()
