"""Measure what grows with the number of sessions, in each store.

    python -m benchmarks.scale                            1,000, 100,000 and 1,000,000; Redis also 3,000,000 if memory allows
    python -m benchmarks.scale --stores sqlite --sizes 1000 20000 --no-page

Each figure is the cost of one call or one session: CPU time of the process with all its threads and of the store's server, CPU
time of the event loop's thread, and elapsed time; the lower quartile of seven rounds. *Plain* rows do the same without us. Before
the loads, the store is opened again and remembers nothing. MongoDB is the server of the tests, which reads all sessions for every
list: it stops at 10,000. The 99th percentile of single loads is taken while 10,000 expired sessions are removed, or a tenth as
many as there are others (at most 100,000). A list that grows with what it finds is compared for equally many matches: the search
finds the sessions of 111 users.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import redis
from tqdm import tqdm

from benchmarks import page
from benchmarks.cost import Row, cost_of, measured
from benchmarks.pages import HEAVY, deep, fill, questions
from benchmarks.plain import flush_now, plain_redis, plain_sqlite
from benchmarks.results import circumstances, read_results, write_results
from benchmarks.servers import database_servers
from tornado_sessions.query import Query
from tornado_sessions.record import Create
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.maker import NOW, change, create, end

__all__ = ["main", "measure"]

#: The questions of the results page.
LISTS = ("first page, last seen", "first page, user", "user", "network /24", "visitors")
SIZES = [1_000, 100_000, 1_000_000]
#: Bytes of memory for each session that Redis may need, and the largest number that the MongoDB server of the tests can list.
REDIS_BYTES, MONGO_SIZE = 1_200, 10_000
#: Changes that arrive in one turn of the event loop.
TOGETHER = 32


async def _loads(store: Store, handles: Sequence[str]) -> dict[str, Row]:
    """Load sessions that nobody has loaded, then the same ones again."""
    rest = iter(handles)
    some = [next(rest) for _ in range(420)]
    one, again = iter(some), iter(some)
    return {
        "load one": await cost_of(lambda: store.load([next(one)], NOW), 60),
        "load 64, a session": await cost_of(lambda: store.load([next(rest) for _ in range(64)], NOW), 1, each=64),
        "load one again": await cost_of(lambda: store.load([next(again)], NOW), 60),
    }


async def _lists(store: Store, size: int) -> dict[str, Row]:
    rows = {name: await cost_of(partial(store.find, questions()[name])) for name in LISTS}
    # The start of the names of 111 users, in another case than theirs.
    text = f"USER{'123456'[: len(str(size // 4)) - 2]}"
    rows["search of a name"] = await cost_of(lambda: store.find(Query(now=NOW, text=text)))
    cursor = await deep(store, min(1_000, size // 600))
    rows["a deep page"] = await cost_of(lambda: store.find(Query(now=NOW, cursor=cursor)))
    rows["count of all"] = await cost_of(lambda: store.count(Query(now=NOW)))
    of_user = Query(now=NOW, user="heavy")
    total = (await store.count(of_user)).total
    rows[f"count {HEAVY:,} of a user, a session"] = await cost_of(lambda: store.count(of_user), each=max(1, total))
    return rows


def _new(chance: random.Random, size: int) -> Iterator[Create]:
    while True:
        user, ip = f"user{chance.randrange(size // 3)}", f"10.0.{chance.randrange(256)}.{chance.randrange(256)}"
        yield create(f"{chance.getrandbits(104):026x}", user=user, ip=ip)


async def _changes(store: Store, handles: Sequence[str], size: int) -> dict[str, Row]:
    chance = random.Random(3)
    new = _new(chance, size)

    def some() -> list[str]:
        return chance.sample(handles, TOGETHER)

    def touch(handle: str) -> Any:
        seen = NOW + chance.random()
        return change(handle, last_seen_at=seen, expires_at=seen + 7200)

    return {
        "save a value": await cost_of(lambda: store.save([change(some()[0], set={"notice": b"1"})]), 20),
        f"save {TOGETHER} values, a session": await cost_of(
            lambda: store.save([change(handle, set={"notice": b"2"}) for handle in some()]), 2, each=TOGETHER
        ),
        f"touch {TOGETHER}, a session": await cost_of(
            lambda: store.save([touch(handle) for handle in some()]), 2, each=TOGETHER
        ),
        "create one": await cost_of(lambda: store.save([next(new)]), 10),
        f"create {TOGETHER}, a session": await cost_of(
            lambda: store.save([next(new) for _ in range(TOGETHER)]), 2, each=TOGETHER
        ),
    }


async def _add_expired(store: Store, many: int) -> None:
    old = {"user": None, "created_at": NOW - 10_000, "last_seen_at": NOW - 10_000, "expires_at": NOW + 0.5}
    for start in range(0, many, 500):
        numbers = range(start, min(start + 500, many))
        await store.save([create(f"old{many}n{number}", absolute_at=NOW + 0.5, **old) for number in numbers])


async def _remove_expired(store: Store) -> None:
    while await store.expire(NOW + 1, 0):  # noqa: ASYNC110 - nobody else removes them
        await asyncio.sleep(0)


async def _prune(store: Store, size: int, handles: Sequence[str]) -> dict[str, Row]:
    """Remove expired sessions, first alone, then while others are loaded."""
    row: Row = {}
    await _add_expired(store, 2_000)
    with measured(row, 2_000):
        await _remove_expired(store)
    await _add_expired(store, max(10_000, min(100_000, size // 10)))
    task, taken = asyncio.create_task(_remove_expired(store)), []
    while not task.done():
        start = time.perf_counter()
        await store.load([random.choice(handles)], NOW + 1)
        taken.append(1000 * (time.perf_counter() - start))
        await asyncio.sleep(0.001)
    await task
    return {
        "prune, a session": row,
        "load while others are pruned, 99th percentile, ms": {"value": sorted(taken)[int(0.99 * (len(taken) - 1))]},
    }


async def _endings(store: Store) -> dict[str, Row]:
    of_user: Row = {}
    of_all: Row = {}
    total = (await store.count(Query(now=NOW, user="heavy"))).total
    with measured(of_user, total / HEAVY):
        await store.destroy_user("heavy", end(NOW))
    with measured(of_all):
        await store.end_all(NOW + 1, end(NOW + 1))
    return {f"end {HEAVY:,} of a user": of_user, "end all": of_all}


async def measure(url: str, size: int, stored: Callable[[], int]) -> dict[str, Row]:
    """Fill a store, given by its URL, and return the cost of everything; ``stored`` returns its bytes."""
    store = open_store(url)
    await store.open()
    empty = stored()
    rows: dict[str, Row] = {}
    handles = await fill(store, size)
    random.Random(3).shuffle(handles)
    if not url.startswith("memory"):
        await store.close()
        rows["bytes a session"] = {"value": (stored() - empty) / size}
        store = open_store(url)
        opening: Row = {}
        with measured(opening):
            await store.open()
        rows["start-up, ms"] = {"value": opening["elapsed"]}
    rows |= await _loads(store, handles)
    rows |= await _lists(store, size)
    rows |= await _changes(store, handles, size)
    rows |= await _prune(store, size, handles)
    rows |= await _endings(store)
    await store.close()
    return rows


def sizes_for(store: str, sizes: list[int] | None) -> list[int]:
    """Return the sizes to measure: those that were asked for, or those that the store and this machine allow."""
    if sizes is not None:
        return sizes
    if store == "mongo":
        return [1_000, MONGO_SIZE]
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    if store == "redis" and available > 2 * 3_000_000 * REDIS_BYTES:
        return [*SIZES, 3_000_000]
    return SIZES


def _measure_redis(url: str, size: int) -> dict[str, Row]:
    with redis.Redis.from_url(url) as client:
        flush_now(client)
        # Rewriting the log of a large server takes a core at moments that nobody chooses.
        client.config_set("appendonly", "no")

        def memory() -> int:
            info: Any = client.info("memory")
            return int(info["used_memory"])

        return plain_redis(url, size) | asyncio.run(measure(url, size, memory))


def measure_size(store: str, size: int, given: dict[str, str]) -> dict[str, Row]:
    """Measure one store with one number of sessions."""
    if store == "redis":
        return _measure_redis(given["REDIS_URL"], size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def files() -> int:
            return sum(file.stat().st_size for file in folder.iterdir())

        if store == "sqlite":
            return plain_sqlite(folder, size) | asyncio.run(measure(f"sqlite:///{folder}/sessions.db", size, files))
        url = "memory://" if store == "memory" else f"{given['MONGO_URL']}/n{size}?driver=pymongo"
        return asyncio.run(measure(url, size, files))


def show(store: str, columns: dict[str, dict[str, Row]]) -> None:
    """Print the table of a store."""
    head, *rows = page.growth_rows(columns)
    print(f"\n{store:52}", *(f"{text:>12}" for text in head[1:]))
    for name, *texts in rows:
        print(f"{name:52}", *(f"{text:>12}" for text in texts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis", "mongo"])
    parser.add_argument("--sizes", nargs="+", type=int, help="at least 1,000 each, smallest first")
    parser.add_argument("--minutes", type=float, default=15, help="start no further size after this time (default: 15)")
    parser.add_argument("--no-page", action="store_true", help="write neither results.json nor the page")
    given = parser.parse_args()
    if min(given.sizes or [1_000]) < 1_000:
        parser.error("--sizes: a size is at least 1,000")
    began = time.monotonic()
    stores: dict[str, dict[str, Any]] = read_results().get("scale", {}).get("stores", {})
    with database_servers(redis="redis" in given.stores, mongo="mongo" in given.stores) as urls:
        for store in given.stores:
            columns: dict[str, dict[str, Row]] = {}
            for size in tqdm(sizes_for(store, given.sizes), desc=f"{store}, sizes", file=sys.stderr):
                if columns and time.monotonic() - began > 60 * given.minutes:
                    print(f"{store}, {size:,} sessions: left out, because {given.minutes:g} minutes are over")
                    continue
                columns[str(size)] = measure_size(store, size, urls)
            show(store, columns)
            # Each store may have been measured at another time, on another machine.
            stores[store] = {**circumstances(), "columns": columns}
    if not given.no_page:
        write_results("scale", {"stores": stores})
        page.write()


if __name__ == "__main__":
    main()
