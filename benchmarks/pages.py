"""Measure the time of the dashboard's lists in each store, with few sessions and with many.

    python -m benchmarks.pages                          1,000 and 1,000,000 on SQLite and Redis, 1,000 and 100,000 on MongoDB
    python -m benchmarks.pages --stores sqlite --sizes 1000 20000

Each figure is the median of many calls of the store, in milliseconds, on an otherwise idle event loop. Redis and MongoDB
are the test servers, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.mongo_servers import Mongo
from support.redis_servers import Valkey

from tornado_sessions.query import Direction, Query, Sort
from tornado_sessions.record import Create, Record
from tornado_sessions.stores import Store, open_store
from tornado_sessions.stores.cursor import reverse_cursor
from tornado_sessions.testing.maker import NOW, end

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "curl/8.5.0",
]
HEAVY = 1_000


def records(count: int, now: float = NOW) -> Iterator[Create]:
    """Yield sessions of users and visitors from many networks, in the order of their use; one user has a thousand."""
    chance = random.Random(7)
    step = max(2, count // HEAVY)
    for number in range(count):
        seen = now - 1500 * (1 - number / count) - chance.random()
        user = "heavy" if number % step == 0 else f"user{chance.randrange(count // 3 + 1)}"
        yield Create(
            record=Record(
                handle=f"{chance.getrandbits(104):026x}",
                user=None if number % 5 == 4 and user != "heavy" else user,
                ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                user_agent=AGENTS[number % len(AGENTS)],
                created_at=seen - 3600,
                signed_in_at=None if number % 5 == 4 and user != "heavy" else seen - chance.random() * 3600,
                last_seen_at=seen,
                expires_at=seen + 7200,
                secret_hash=bytes(32),
                rotated_at=seen,
                confirmed_at=seen,
                absolute_at=seen + 40000,
                idle_timeout=7200.0,
                data={"notice": b'"hello"'},
            )
        )


async def fill(store: Store, count: int, now: float = NOW) -> list[str]:
    """Create sessions; return the handles of a thousand of them, or of all if there are fewer."""
    some: list[Create] = []
    handles: list[str] = []
    with tqdm(total=count, unit=" sessions", desc=store.backend, file=sys.stderr, mininterval=1) as bar:
        for number, item in enumerate(records(count, now)):
            some.append(item)
            if number % max(1, count // 1000) == 0:
                handles.append(item.record.handle)
            if len(some) == 500:
                await store.save(some)
                bar.update(500)
                some = []
        await store.save(some)
    return handles


def questions() -> dict[str, Query]:
    return {
        "first page, last seen": Query(now=NOW),
        "first page, signed in": Query(now=NOW, sort=Sort.SIGNED_IN),
        "first page, expires": Query(now=NOW, sort=Sort.EXPIRES),
        "first page, user": Query(now=NOW, sort=Sort.USER),
        "first page, user, Z to A": Query(now=NOW, sort=Sort.USER, direction=Direction.DESCENDING),
        "first page, longest unused": Query(now=NOW, direction=Direction.ASCENDING),
        "search without case": Query(now=NOW, text="USER123"),
        "search of an address": Query(now=NOW, text="10.0.1."),
        "search in vain": Query(now=NOW, text="nobody"),
        "signed in since 5 s": Query(now=NOW, signed_in_since=NOW - 5),
        "user": Query(now=NOW, user="heavy"),
        "user, by sign-in": Query(now=NOW, user="heavy", sort=Sort.SIGNED_IN),
        "user prefix": Query(now=NOW, user_prefix="user12"),
        "address": Query(now=NOW, ip="10.0.1.7"),
        "network /24": Query(now=NOW, network="10.0.1.0/24"),
        "visitors": Query(now=NOW, signed_in=False),
        "device (no index)": Query(now=NOW, device="Firefox"),
        "device without sessions": Query(now=NOW, device="Opera"),
        "user and network": Query(now=NOW, user="heavy", network="10.0.3.0/24"),
    }


async def timed(call: Callable[[], Awaitable[object]], times: int = 15) -> float:
    await call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


async def deep(store: Store, pages: int) -> str | None:
    cursor = None
    for _ in range(pages):
        cursor = (await store.find(Query(now=NOW, cursor=cursor, limit=500))).next_cursor
        if cursor is None:
            return None
    return cursor


async def measure(store: Store, size: int) -> dict[str, float]:
    await store.open()
    await fill(store, size)
    found = {name: await timed(lambda query=query: store.find(query)) for name, query in questions().items()}
    cursor = await deep(store, min(1_000, size // 600))
    found["a page deep inside"] = await timed(lambda: store.find(Query(now=NOW, cursor=cursor)))
    found["the page before it"] = await timed(
        lambda: store.find(Query(now=NOW, cursor=reverse_cursor(cursor) if cursor is not None else None))
    )
    found["count signed in since 5 s"] = await timed(lambda: store.count(Query(now=NOW, signed_in_since=NOW - 5)))
    found["total"] = await timed(lambda: store.count(Query(now=NOW)))
    found["count of a user"] = await timed(lambda: store.count(Query(now=NOW, user="heavy")))
    found["count of a device"] = await timed(lambda: store.count(Query(now=NOW, device="Firefox")))
    start = time.perf_counter()
    ended = len(await store.destroy_user("heavy", end(NOW)))
    found[f"end {HEAVY} of a user"] = 1000 * (time.perf_counter() - start) * HEAVY / max(1, ended)
    start = time.perf_counter()
    await store.end_all(NOW + 1, end(NOW + 1))
    found["end all sessions"] = 1000 * (time.perf_counter() - start)
    await store.close()
    return found


@contextmanager
def urls(names: list[str], folder: str) -> Iterator[dict[str, Callable[[int], str]]]:
    made: dict[str, Callable[[int], str]] = {}
    servers: list[Valkey | Mongo] = []
    if "memory" in names:
        made["memory"] = lambda _: "memory://"
    if "sqlite" in names:
        made["sqlite"] = lambda size: f"sqlite:///{folder}/{size}.db"
    if "redis" in names:
        redis = Valkey()
        servers.append(redis)
        made["redis"] = lambda size: f"{redis.url}?prefix=n{size}:"
    if "mongo" in names:
        mongo = Mongo()
        servers.append(mongo)
        made["mongo"] = lambda size: f"{mongo.url}/n{size}?driver=pymongo"
    try:
        yield made
    finally:
        for server in servers:
            server.stop()


async def main(stores: list[str], sizes: list[int]) -> None:
    columns: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, urls(stores, folder) as made:
        for name, url in made.items():
            for size in sizes:
                count = min(size, 100_000) if name == "mongo" else size
                columns[f"{name} {count:,}"] = await measure(open_store(url(count)), count)
    print("milliseconds, median".ljust(26), *(f"{name:>18}" for name in columns))
    for row in next(iter(columns.values())):
        print(f"{row:26}", *(f"{column[row]:18.2f}" for column in columns.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=["sqlite", "redis", "mongo"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 1_000_000])
    given = parser.parse_args()
    asyncio.run(main(given.stores, given.sizes))
