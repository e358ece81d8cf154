"""The same growth without us: a plain table in SQLite, and single commands of Redis.

It must not know sessions. What a plain table needs more for a million rows, no store in the same database can save.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import redis

from benchmarks.cost import Row, measured

__all__ = ["flush_now", "plain_redis", "plain_sqlite"]

_ROUNDS, _GROUP = 7, 32
_TABLE = """PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32768;
    CREATE TABLE plain (id INTEGER PRIMARY KEY, handle TEXT UNIQUE, owner INTEGER, value BLOB);
    CREATE INDEX plain_by_owner ON plain (owner);"""
_INSERT = "INSERT INTO plain (handle, owner, value) VALUES (?, ?, ?)"
_FILL = """for number = ARGV[1], ARGV[2] do
    redis.call('SET', 'plain:' .. number, string.rep('v', 150))
    redis.call('ZADD', 'plain', math.random(1000000000), number)
end"""
_SET = "for _ = 1, ARGV[1] do redis.call('SET', 'plain:' .. math.random(ARGV[2]), string.rep('w', 150)) end"
_ZADD = "for _ = 1, ARGV[1] do redis.call('ZADD', 'plain', math.random(1000000000), math.random(ARGV[2])) end"


def _lowest(rows: list[Row]) -> Row:
    return {name: sorted(row[name] for row in rows)[len(rows) // 4] for name in rows[0]}


def plain_sqlite(folder: Path, size: int) -> dict[str, Row]:
    """Return the cost of a row in a table of ``size`` rows, with a random key and one more index."""
    chance = random.Random(5)
    path = folder / f"plain{size}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(_TABLE)

    def row() -> tuple[str, int, bytes]:
        return f"{chance.getrandbits(104):026x}", chance.randrange(size), bytes(150)

    for start in range(0, size, 500):
        connection.execute("BEGIN")
        connection.executemany(_INSERT, [row() for _ in range(min(500, size - start))])
        connection.execute("COMMIT")
    keys = [key for (key,) in connection.execute("SELECT handle FROM plain WHERE id % ? = 0", (max(1, size // 1000),))]
    reads, inserts = [], []
    for _ in range(_ROUNDS):
        chance.shuffle(keys)
        reads.append({})
        with measured(reads[-1], 100):
            for key in keys[:100]:
                connection.execute("SELECT * FROM plain WHERE handle = ?", (key,)).fetchone()
        inserts.append({})
        with measured(inserts[-1], 2 * _GROUP):
            for _ in range(2):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_INSERT, [row() for _ in range(_GROUP)])
                connection.execute("COMMIT")
    connection.close()
    path.unlink()
    return {"plain table: read a row": _lowest(reads), f"plain table: insert {_GROUP} rows, a row": _lowest(inserts)}


def flush_now(client: redis.Redis) -> None:
    """Remove everything from the server, and wait until its memory is free. By default Valkey frees it later, in another thread."""
    client.config_set("lazyfree-lazy-user-flush", "no")
    client.flushall()


def plain_redis(url: str, size: int) -> dict[str, Row]:
    """Return the cost of commands in a server with ``size`` strings and a sorted set of as many members."""
    with redis.Redis.from_url(url) as client:
        for start in range(0, size, 10_000):
            client.eval(_FILL, 0, start + 1, min(start + 10_000, size))
        found = {}
        for name, script in (("plain SET", _SET), ("plain ZADD", _ZADD)):
            rows: list[Row] = []
            for _ in range(_ROUNDS):
                rows.append({})
                with measured(rows[-1], 5000):
                    client.eval(script, 0, 5000, size)
            found[name] = _lowest(rows)
        flush_now(client)
    return found
