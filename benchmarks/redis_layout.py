"""Compare the client's CPU time for two possible layouts of a session in Redis.

    python -m benchmarks.redis_layout

String: one MGET for the batch. Hash: one script that runs HGETALL for each session. A batch has 64 sessions of three
values.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from redis.asyncio import Redis

from tornado_sessions.stores.redis.records import read_record, write_record
from tornado_sessions.testing import make_record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.redis_servers import Valkey

BATCH, ROUNDS = 64, 300
ALL = "local found = {} for place, key in ipairs(KEYS) do found[place] = redis.call('HGETALL', key) end return found"


async def measure(server: Valkey) -> None:
    client = Redis(port=server.port, protocol=2)
    record = make_record(data={"name": b'"ada"', "theme": b'"dark"', "cart": b"[1,2,3]"})
    stored = write_record(record)
    head = write_record(make_record(data={}))
    strings, hashes = [f"s{number}" for number in range(BATCH)], [f"h{number}" for number in range(BATCH)]
    for number in range(BATCH):
        await client.set(strings[number], stored)
        await client.hset(hashes[number], mapping={"": head, **record.data})
    script = await client.script_load(ALL)

    async def by_string() -> None:
        for handle, value in zip(strings, await client.mget(strings), strict=True):
            read_record(handle, value)

    async def by_hash() -> None:
        for handle, flat in zip(hashes, await client.evalsha(script, BATCH, *hashes), strict=True):
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            read_record(handle, fields.pop(b""))

    for name, read in (("string, MGET", by_string), ("hash, script", by_hash)):
        before = time.process_time()
        for _ in range(ROUNDS):
            await read()
        print(f"{name:14} {1e6 * (time.process_time() - before) / ROUNDS / BATCH:5.1f} µs of client CPU a session")
    await client.aclose()


def main() -> None:
    server = Valkey()
    try:
        asyncio.run(measure(server))
    finally:
        server.stop()


if __name__ == "__main__":
    main()
