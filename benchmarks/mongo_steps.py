"""The CPU time of each part of a read and a write on MongoDB: the driver's commands, BSON, and what ours do for each session.

    python -m benchmarks.mongo_steps [--sessions 32] [--drivers pymongo motor]

A command costs the driver much the same whatever is in it, so it is divided by the sessions that go together. Microseconds
of the client process; the server's time does not count. Each part is repeated, in turn with the others, and the lower
quartile counts, because other programs can only add to it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any

import bson
from bson.codec_options import CodecOptions
from pymongo import UpdateOne

from benchmarks.servers import database_servers
from tornado_sessions.record import Change, Create, Outcome
from tornado_sessions.stores.mongo import MongoStore, documents, updates
from tornado_sessions.testing.maker import NOW, create

__all__ = ["main", "measure"]

_ROUNDS, _WARM_UP = 60, 5
_MARK = b"12345678"


async def _used(part: Callable[[], Awaitable[object]]) -> float:
    before = time.process_time()
    await part()
    return 1e6 * (time.process_time() - before)


def _parts(store: MongoStore, handles: list[str]) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the parts that are awaited: commands of the driver, and whole calls of the store."""
    raw, names = store.sessions, [*handles, documents.EVERYBODY]
    # Filters that match nothing: the server answers, and the bytes are the same.
    updated = [
        UpdateOne({**updates.guards(_change(handle, 0), 0.0), "era": 1}, {"$set": {"n": 1}}) for handle in handles
    ]
    number = 0

    async def save() -> None:
        nonlocal number
        number += 1
        saved = await store.save([_change(handle, number) for handle in handles])
        assert set(saved) == {Outcome.SAVED}, saved

    return {
        "ping": store.ping,
        "find: nothing": lambda: raw.find({"_id": {"$in": ["none"]}}).to_list(None),
        "find": lambda: raw.find({"_id": {"$in": names}}).to_list(None),
        "find, without data": lambda: raw.find({"_id": {"$in": names}}, documents.SHOWN).to_list(None),
        "bulk write: one": lambda: raw.bulk_write(updated[:1], ordered=False),
        "bulk write": lambda: raw.bulk_write(updated, ordered=False),
        "load of the store": lambda: store.load(handles, NOW),
        "save of the store": save,
    }


def _change(handle: str, number: int) -> Change:
    expected = {"n": b"%d" % (number - 1)} if number > 1 else {"n": None}
    return Change(handle=handle, now=NOW, set={"n": b"%d" % number}, expect=expected)


async def measure(url: str, sessions: int, rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the microseconds of each command and call with this number of sessions."""
    store = MongoStore.from_url(url)
    await store.open()
    try:
        made: list[Create | Change] = [
            create(f"{number:032x}", user="ada", data={"name": b'"ada"'}) for number in range(sessions)
        ]
        await store.save(made)
        parts = _parts(store, [item.handle for item in made])
        taken: dict[str, list[float]] = {name: [] for name in parts}
        for number in range(_WARM_UP + rounds):
            for name, part in parts.items():
                used = await _used(part)
                if number >= _WARM_UP:
                    taken[name].append(used)
    finally:
        await store.close()
    return {name: statistics.quantiles(values, n=4)[0] for name, values in taken.items()}


def of_each() -> dict[str, float]:
    """Return the microseconds of what is done for each session, without the driver."""
    item = create("a" * 32, user="ada", data={"name": b'"ada"'})
    document = updates.to_document(item.record, 1)
    stored, codec = bson.encode(document), CodecOptions[dict[str, Any]](tz_aware=True)
    shown = {name: value for name, value in document.items() if name in documents.SHOWN}
    shown |= {"_id": document["_id"], "values": "object"}
    stored_shown, change = bson.encode(shown), _change(item.handle, 2)
    written = {"q": updates.guards(change, 0.0), "u": updates.update(change, _MARK)}
    parts: dict[str, Callable[[], object]] = {
        "BSON: decode a session": lambda: bson.decode(stored, codec),
        "BSON: decode it without data": lambda: bson.decode(stored_shown, codec),
        "BSON: encode an update": lambda: bson.encode(written),
        "ours: read a session": lambda: documents.read(document),
        "ours: check it for damage": lambda: documents.is_damaged(shown),
        "ours: make an update": lambda: UpdateOne(updates.guards(change, 0.0), updates.update(change, _MARK)),
    }
    return {name: _fastest(part) for name, part in parts.items()}


def _fastest(part: Callable[[], object], times: int = 2000) -> float:
    return 1e6 * min(timeit.repeat(part, timer=time.process_time, number=times, repeat=7)) / times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=32, help="that go together in a command")
    parser.add_argument("--drivers", nargs="+", default=["pymongo", "motor"], choices=["pymongo", "motor"])
    given = parser.parse_args()
    with database_servers(redis=False) as urls:
        for driver in given.drivers:
            url = f"{urls['MONGO_URL']}/{driver}?driver={driver}"
            for name, used in asyncio.run(measure(url, given.sessions)).items():
                print(f"{driver:8} {name:30} {used:8.0f} µs {used / given.sessions:8.1f} a session", flush=True)
    for name, used in of_each().items():
        print(f"{'':8} {name:30} {'':11} {used:8.1f} a session")


if __name__ == "__main__":
    main()
