"""Index entries on Redis share blocks: every list is complete and in order whatever was created, moved and ended before."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.amount import amount
from support.redis_servers import Valkey
from support.redis_stores import Open, ask, fresh, opened

from tornado_sessions.query import Direction, Query, Sort
from tornado_sessions.record import Create, Record
from tornado_sessions.stores.cursor import sort_key
from tornado_sessions.stores.redis import RedisStore
from tornado_sessions.stores.redis.agents import expand, shorten
from tornado_sessions.testing.maker import NOW, change, create, end, make_record

__all__ = ["opened"]

#: Those whose sessions are ended come first in the list of users.
USERS = ["\0", "\1", "a", "ada", "ada2", "b", "值", "u" * 300, None]


def record(chance: random.Random, handle: str) -> Record:
    """A session of one of few users and addresses; many have the same times."""
    at = NOW + chance.choice((0.0, 1.0, chance.random() * 100))
    address = f"192.0.2.{chance.randrange(4)}"
    signed_in_at = at if chance.random() < 0.9 else NOW
    user = chance.choice(USERS)
    return make_record(
        handle, user=user, ip=address, last_seen_at=at, signed_in_at=signed_in_at if user is not None else None
    )


async def rows(store: RedisStore, **fields: Any) -> list[str]:
    """The handles of all pages of a list."""
    found: list[str] = []
    cursor = None
    while True:
        query = Query(now=NOW + 200, limit=37, cursor=cursor, **fields)
        page = await store.find(query)
        found += [item.handle for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def check_lists(store: RedisStore, sessions: dict[str, Record]) -> None:
    """Compare each list, in both directions, with the sessions that there should be."""

    def handles(sort: Sort, items: list[Record]) -> list[str]:
        return [item.handle for item in sorted(items, key=lambda item: sort_key(item, sort))]

    everybody = list(sessions.values())
    for sort in Sort:
        assert await rows(store, sort=sort) == handles(sort, everybody)
    assert await rows(store, direction=Direction.ASCENDING) == handles(Sort.LAST_SEEN, everybody)[::-1]
    for user in USERS:
        theirs = [item for item in everybody if item.user == user]
        if user is not None:
            assert await rows(store, user=user) == handles(Sort.LAST_SEEN, theirs)
            assert (await store.count(Query(now=NOW + 200, user=user))).total == len(theirs)
    for number in range(4):
        there = [item for item in everybody if item.ip == f"192.0.2.{number}"]
        assert await rows(store, ip=f"192.0.2.{number}") == handles(Sort.LAST_SEEN, there)
    a = [item for item in everybody if item.user is not None and item.user.startswith("a")]
    assert sorted(await rows(store, user_prefix="a")) == sorted(item.handle for item in a)


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.gen_test(timeout=120)
async def test_lists_are_complete_after_any_changes(redis: Valkey, opened: Open, buckets: int) -> None:
    chance = random.Random(buckets)
    store = await opened(f"{fresh(redis.url)}&buckets={buckets}")
    sessions: dict[str, Record] = {}
    for round_ in range(amount(3, 30)):
        new = [record(chance, f"h{round_}x{number}") for number in range(250)]
        await store.save([Create(record=each) for each in new])
        sessions |= {each.handle: each for each in new}
        for handle in chance.sample(sorted(sessions), 120):
            seen = max(sessions[handle].last_seen_at, NOW + 100 * chance.random())
            ip = f"192.0.2.{chance.randrange(4)}"
            await store.save([change(handle, last_seen_at=seen, expires_at=seen + 1800, ip=ip)])
        for handle in await store.destroy(chance.sample(sorted(sessions), 60), end()):
            del sessions[handle]
        user = USERS[round_ % 3]
        assert user is not None
        for handle in await store.destroy_user(user, end()):
            assert sessions.pop(handle).user == user
        loaded = (await store.load(sorted(sessions), NOW + 200)).records
        sessions = {item.handle: item for item in loaded if isinstance(item, Record)}
        await check_lists(store, sessions)
        await store.expire(NOW + 2, 60)
        await check_lists(store, sessions)


@pytest.mark.gen_test
async def test_no_entry_is_left_of_ended_sessions(redis: Valkey, opened: Open) -> None:
    """Also of many sessions of a user, of which expire removes the entries."""
    store = await opened(fresh(redis.url))
    await store.save([Create(record=make_record(f"h{n}", last_seen_at=NOW + n)) for n in range(300)])
    assert len(await store.destroy_user("ada", end(NOW + 300))) == 300
    assert await rows(store) == []
    await store.expire(NOW + 301, 60)
    for keys in (store.keys.listings, store.keys.expiries):
        assert [await ask(store, "ZCARD", key) for key in keys] == [0] * len(keys)


@pytest.mark.gen_test
async def test_a_typical_session_takes_at_most_600_bytes_with_its_indexes(redis: Valkey, opened: Open) -> None:
    """On Valkey 9, with 60 more for the tables in which the server finds keys and expiries."""
    agent = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
    data = {"name": b'"ada"', "theme": b'"dark"'}
    store = await opened(f"{fresh(redis.url)}&buckets=1")
    made = [
        make_record(f"h{number:017d}", user=f"user{number}", ip=f"192.0.2.{number // 3}", user_agent=agent, data=data)
        for number in range(500)
    ]
    await store.save([Create(record=each) for each in made])
    keys = [*store.keys.listings, *store.keys.expiries, *map(store.keys.session, (each.handle for each in made))]
    sizes = [await ask(store, "MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys]
    assert sum(sizes) / len(made) < 540


AGENTS = {
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0": 10,
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36": 6,
    "curl/8.5.0": 10,
    "": 0,
    "\0": 2,
    "\0Mozilla/5.0 (": 15,
    "a\1b": 4,
    "\x1f\x16值": 6,
}


@pytest.mark.parametrize("agent", AGENTS, ids=ascii)
def test_every_user_agent_can_be_shortened(agent: str) -> None:
    stored = shorten(agent)
    assert expand(stored) == agent
    assert len(stored.encode()) == AGENTS[agent]


@pytest.mark.gen_test
async def test_users_end_one_after_the_other(redis: Valkey, opened: Open) -> None:
    """Also where the first block of all users is empty: these names are so long that each has its own block."""
    store = await opened(f"{fresh(redis.url)}&buckets=1")
    users = ["u" * 400 + str(number) for number in range(5)]
    await store.save([Create(record=make_record(user[-1], user=user)) for user in users])
    for user in users:
        assert (await store.count(Query(now=NOW, user_prefix=user))).total == 1
        assert await rows(store, user=user) == [user[-1]]
        assert await store.destroy_user(user, end()) == [user[-1]]


@pytest.mark.parametrize("kind", ["l", "u", "i"])
@pytest.mark.gen_test
async def test_a_long_damaged_block_costs_no_time(redis: Valkey, opened: Open, kind: str) -> None:
    """Also behind an entry: whoever looks for the next one from each byte takes minutes."""
    store = await opened(f"{fresh(redis.url)}&buckets=1")
    await store.save([create("h1"), create("h2")])
    for start in ("", "z\0\0\0\0\0\0\0\0h\0" * 2):
        await ask(store, "ZADD", store.keys.listings[0], 0, kind + start + "z" * 300_000)
    for sort in (Sort.LAST_SEEN, Sort.USER):
        assert await rows(store, sort=sort) == ["h1", "h2"]
    assert await rows(store, text="a") == ["h1", "h2"]
    assert (await store.count(Query(now=NOW, user_prefix="ad"))).total == 2
    assert sorted(await store.destroy_user("ada", end())) == ["h1", "h2"]
