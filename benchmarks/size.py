"""Measure the size of one session in each store, in bytes: with all indexes, except in MongoDB.

    python -m benchmarks.size [--sessions 20000]

The sessions are typical: each has its own user, an address shared by three, Firefox's User-Agent and two short values.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient

from tornado_sessions.record import Create
from tornado_sessions.stores import open_store
from tornado_sessions.testing import make_record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.mongo_servers import Mongo
from support.redis_servers import Valkey

AGENT = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"


def records(count: int) -> list[Create]:
    made = []
    for number in range(count):
        handle = f"h{number:017d}"
        ip = f"192.0.{number // 3 // 250 % 250}.{number // 3 % 250}"
        data = {"name": b'"ada"', "theme": b'"dark"'}
        made.append(Create(record=make_record(handle, user=f"user{number}", ip=ip, user_agent=AGENT, data=data)))
    return made


async def fill(url: str, count: int) -> None:
    store = open_store(url)
    await store.open()
    changes: list[Any] = records(count)
    for start in range(0, count, 500):
        await store.save(changes[start : start + 500])
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=20_000)
    count = parser.parse_args().sessions
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        asyncio.run(fill(f"sqlite:///{path}", count))
        print(f"sqlite  {sum(file.stat().st_size for file in Path(folder).iterdir()) / count:6.0f} bytes a session")
    server = Valkey()
    try:
        with redis.Redis(port=server.port) as client:
            before = client.info("memory")["used_memory"]
            asyncio.run(fill(server.url, count))
            print(f"redis   {(client.info('memory')['used_memory'] - before) / count:6.0f} bytes a session")
    finally:
        server.stop()
    mongo = Mongo()
    try:
        asyncio.run(fill(mongo.url + "/size", count))
        client_: MongoClient[dict[str, Any]] = MongoClient(mongo.url)
        stats = client_["size"].command("collStats", "sessions")
        print(f"mongodb {stats['avgObjSize']:6.0f} bytes a document, as BSON, without indexes")
        client_.close()
    finally:
        mongo.stop()


if __name__ == "__main__":
    main()
