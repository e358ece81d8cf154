"""Measure what grows with the number of sessions, in each store.

    python -m benchmarks.scale                            1,000, 100,000 and 1,000,000; Redis also 3,000,000 if memory allows
    python -m benchmarks.scale --stores sqlite --sizes 1000 20000 --no-page

Each figure is the median of many calls of the store, in milliseconds, on an otherwise idle event loop. MongoDB is the server
of the tests, which reads all sessions for every list: it stops at 10,000. "load during prune" is the 99th percentile of single
loads while 10,000 expired sessions are removed, or a tenth as many as there are others (at most 100,000). A list that grows with
what it finds is compared for equally many matches: the search finds the sessions of 111 users.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from tqdm import tqdm

from benchmarks import page
from benchmarks.pages import HEAVY, deep, fill, questions, timed
from benchmarks.results import write_results
from benchmarks.servers import database_servers
from tornado_sessions.query import Query
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.maker import NOW, change, create, end

__all__ = ["main", "measure"]

#: The questions of the results page.
LISTS = ("first page, last seen", "first page, user", "user", "network /24", "visitors")
SIZES = [1_000, 100_000, 1_000_000]
#: Bytes of memory for each session that Redis may need, and the largest number that the MongoDB server of the tests can list.
REDIS_BYTES, MONGO_SIZE = 1_200, 10_000


async def _handles(store: Store) -> list[str]:
    """Return handles of sessions from the whole list, as far as a few pages reach."""
    found: list[str] = []
    cursor = None
    for _ in range(4):
        answer = await store.find(Query(now=NOW, cursor=cursor, limit=500))
        found += [item.handle for item in answer.items]
        cursor = answer.next_cursor
        if cursor is None:
            break
    return found


def _name(size: int) -> str:
    """Return the start of the names of 111 users, in another case than theirs."""
    return f"USER{'123456'[: len(str(size // 4)) - 2]}"


def _pruned(size: int) -> int:
    return max(10_000, min(100_000, size // 10))


async def _prune(store: Store, size: int, handles: list[str]) -> tuple[float, float]:
    """Remove expired sessions while others are loaded; return the seconds and the 99th percentile of a load in ms."""
    many = _pruned(size)
    old = NOW - 10_000
    for start in range(0, many, 500):
        await store.save(
            [
                create(
                    f"old{number}",
                    user=None,
                    created_at=old,
                    last_seen_at=old,
                    expires_at=NOW + 0.5,
                    absolute_at=NOW + 0.5,
                )
                for number in range(start, min(start + 500, many))
            ]
        )

    async def remove() -> None:
        while await store.expire(NOW + 1, 0):  # noqa: ASYNC110 - nobody else removes them
            await asyncio.sleep(0)

    began = time.perf_counter()
    task = asyncio.create_task(remove())
    taken = []
    while not task.done():
        start = time.perf_counter()
        await store.load([random.choice(handles)], NOW + 1)
        taken.append(1000 * (time.perf_counter() - start))
        await asyncio.sleep(0.001)
    await task
    return time.perf_counter() - began, sorted(taken)[int(0.99 * (len(taken) - 1))]


async def measure(url: str, size: int, stored: Callable[[], int]) -> dict[str, float]:
    """Fill a store, given by its URL, and return milliseconds by what was measured; ``stored`` returns its bytes."""
    store = open_store(url)
    await store.open()
    empty = stored()
    began = time.perf_counter()
    await fill(store, size)
    created = time.perf_counter() - began
    found = {}
    if not url.startswith("memory"):
        await store.close()
        found["bytes a session"] = (stored() - empty) / size
        store = open_store(url)
        began = time.perf_counter()
        await store.open()
        found["start-up"] = 1000 * (time.perf_counter() - began)
    found["create"] = 1000 * created / size
    handles = await _handles(store)
    chance = random.Random(3)
    found["load one"] = await timed(lambda: store.load([chance.choice(handles)], NOW), 200)
    found["load 64"] = await timed(lambda: store.load(chance.sample(handles, 64), NOW), 50)
    found["save one"] = await timed(lambda: store.save([change(chance.choice(handles), set={"notice": b"1"})]), 200)
    for name in LISTS:
        query = questions()[name]
        found[name] = await timed(lambda query=query: store.find(query))  # type: ignore[misc]
    found["search of a name"] = await timed(lambda: store.find(Query(now=NOW, text=_name(size))))
    cursor = await deep(store, min(1_000, size // 600))
    found["a deep page"] = await timed(lambda: store.find(Query(now=NOW, cursor=cursor)))
    found["count of all"] = await timed(lambda: store.count(Query(now=NOW)))
    of_user = Query(now=NOW, user="heavy")
    total = (await store.count(of_user)).total
    found[f"count {HEAVY:,} of a user"] = await timed(lambda: store.count(of_user)) * HEAVY / max(1, total)
    seconds, p99 = await _prune(store, size, handles)
    found["load during prune, p99"] = p99
    found["prune, a session"] = 1000 * seconds / _pruned(size)
    began = time.perf_counter()
    ended = len(await store.destroy_user("heavy", end(NOW)))
    found[f"end {HEAVY:,} of a user"] = 1000 * (time.perf_counter() - began) * HEAVY / max(1, ended)
    began = time.perf_counter()
    await store.end_all(NOW + 1, end(NOW + 1))
    found["end all"] = 1000 * (time.perf_counter() - began)
    await store.close()
    return found


def sizes_for(store: str, sizes: list[int] | None) -> list[int]:
    """Return the sizes to measure: those that were asked for, or those that the store and this machine allow."""
    if sizes is not None:
        return sizes
    if store == "mongo":
        return [1_000, MONGO_SIZE]
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    if store == "redis" and available > 2 * 3_000_000 * REDIS_BYTES:
        return [*SIZES, 3_000_000]
    return SIZES


def _bytes_of(store: str, given: dict[str, str], folder: Path) -> Callable[[], int]:
    """Return what counts the bytes of a store: its files, or the memory of its server; nothing for the others."""
    if store == "redis":

        def memory() -> int:
            with redis.Redis.from_url(given["REDIS_URL"]) as client:
                info: Any = client.info("memory")
                return int(info["used_memory"])

        return memory
    return lambda: sum(file.stat().st_size for file in folder.iterdir())


def measure_store(store: str, sizes: list[int], given: dict[str, str], folder: Path) -> dict[str, Any]:
    """Return the columns of one store by size."""
    columns: dict[str, Any] = {}
    for size in tqdm(sizes, desc=f"{store}, sizes", file=sys.stderr):
        urls = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{folder}/{size}.db",
            "redis": f"{given.get('REDIS_URL')}?prefix=n{size}:",
            "mongo": f"{given.get('MONGO_URL')}/n{size}?driver=pymongo",
        }
        if store == "redis":
            with redis.Redis.from_url(given["REDIS_URL"]) as client:
                client.flushall()
        columns[str(size)] = asyncio.run(measure(urls[store], size, _bytes_of(store, given, folder)))
    return columns


def show(stores: dict[str, Any]) -> None:
    """Print a table for each store."""
    for store, columns in stores.items():
        sizes = list(columns)
        print(f"\n{store:26}", *(f"{int(size):>12,}" for size in sizes), "   growth")
        for name in columns[sizes[0]]:
            values = [columns[size][name] for size in sizes]
            print(f"{name:26}", *(f"{value:12.3f}" for value in values), f"{values[-1] / max(values[0], 1e-9):9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis", "mongo"])
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--no-page", action="store_true", help="write neither results.json nor the page")
    given = parser.parse_args()
    stores: dict[str, Any] = {}
    with database_servers(redis="redis" in given.stores, mongo="mongo" in given.stores) as urls:
        for store in given.stores:
            with tempfile.TemporaryDirectory() as folder:
                stores[store] = measure_store(store, sizes_for(store, given.sizes), urls, Path(folder))
    show(stores)
    if not given.no_page:
        write_results("scale", {"stores": stores})
        page.write()


if __name__ == "__main__":
    main()
