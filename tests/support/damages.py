"""Ways to damage what each server stores, and doing so with the server's own client."""

from __future__ import annotations

import math
import random
import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient
from support.amount import amount

from tornado_sessions.testing import Damage

_TEXT, _BLOB, _INFINITE, _HUGE = "text", "a blob", "infinite", "huge"
_TIMES = ("created_at", "last_seen_at", "expires_at")


def _ways(fields: Sequence[str], *hows: str, of_tombstone: bool = False) -> list[Damage]:
    return [Damage(field, how, of_tombstone) for field in fields for how in hows]


# SQLite turns numbers into text and text into numbers where a column says so; what is left are these.
_SQLITE_TEXTS = ("user", "ip", "user_agent")
_SQLITE_NUMBERS = ("signed_in_at",)
SQLITE = [
    *_ways(_SQLITE_TEXTS, _BLOB),
    *_ways(_TIMES, _TEXT, _BLOB, _INFINITE, _HUGE),
    *_ways(_SQLITE_NUMBERS, _TEXT, _BLOB),
    *_ways(("signed_in_at",), _INFINITE, _HUGE),
    *_ways(("private",), _TEXT, "a number", "no MessagePack", "a list", "a map of texts", "cut"),
    *_ways((*_SQLITE_TEXTS, "ended_by", "reason", "action"), _BLOB, of_tombstone=True),
    *_ways((*_TIMES, "signed_in_at", "ended_at", "keep_until"), _TEXT, _BLOB, of_tombstone=True),
    *_ways(("cause",), _TEXT, _BLOB, of_tombstone=True),
]
_SQLITE_VALUES: dict[str, object] = {
    _TEXT: "abc",
    _BLOB: b"\x00\xff",
    _INFINITE: math.inf,
    _HUGE: 1e300,
    "a number": 7,
    "no MessagePack": b"\xc1\xc1",
    "a list": b"\x91\x01",
    "a map of texts": b"\x81\xa1a\xa1b",
    "cut": b"\x81\xa1a\xc4\x05b",
}


def damage_row(path: Path, handle: str, damage: Damage) -> None:
    """Write the value into the column."""
    table = "tombstones" if damage.of_tombstone else "sessions"
    connection = sqlite3.connect(path, timeout=10)
    try:
        value = _SQLITE_VALUES[damage.how]
        done = connection.execute(f'UPDATE {table} SET "{damage.field}" = ? WHERE handle = ?', (value, handle))
        assert done.rowcount == 1, damage
        connection.commit()
    finally:
        connection.close()


_CUTS = (1, 2, 10, 60, 106, 107, 108, 140, 150)
# Where the times of a session stand in its string.
_AT = {"created_at": 2, "last_seen_at": 10, "expires_at": 18, "absolute_at": 26, "signed_in_at": 58}
_DOUBLES = {"no number": math.nan, _INFINITE: math.inf, _HUGE: 1e300}
_STRINGS = ("empty", "random bytes", "a list")
REDIS = [
    *_ways(("",), *_STRINGS, *(f"cut to {length}" for length in _CUTS), "cut by 1", "of another version"),
    *_ways((*_TIMES, "signed_in_at"), *_DOUBLES),
    *_ways(("absolute_at",), "no number"),
    *_ways(("",), *_STRINGS, *(f"cut to {length}" for length in (1, 8, 16, 17, 30, 60, 100)), of_tombstone=True),
]


def damage_string(ports: Sequence[int], prefix: str, handle: str, damage: Damage) -> None:
    """Replace the string, which keeps its time to live."""
    kind = "t" if damage.of_tombstone else "s"
    for port in ports:
        with redis.Redis(port=port) as client:
            for key in client.scan_iter(f"{prefix}*:{kind}:{handle}", count=1000):
                stored = client.get(key)
                assert isinstance(stored, bytes)
                if damage.how == "a list":
                    left = int(client.pttl(key))
                    client.delete(key)
                    client.rpush(key, stored)
                    client.pexpire(key, left)
                else:
                    assert _damaged(stored, damage) != stored, damage
                    client.set(key, _damaged(stored, damage), keepttl=True)
                return
    raise AssertionError(f"nothing to damage: {handle}, {damage}")


def _damaged(stored: bytes, damage: Damage) -> bytes:
    if damage.how == "empty":
        return b""
    if damage.how == "random bytes":
        return random.Random(12).randbytes(len(stored))
    if damage.how == "of another version":
        return b"\xfa" + stored[1:]
    if damage.how == "cut by 1":
        return stored[:-1]
    if damage.how.startswith("cut to "):
        return stored[: int(damage.how[7:])]
    at = _AT[damage.field]
    return stored[:at] + struct.pack("<d", _DOUBLES[damage.how]) + stored[at + 8 :]


def _one_of_each(ways: Sequence[Damage]) -> list[Damage]:
    """Each field once, damaged in another way than the field before it."""
    by_field: dict[tuple[str, bool], list[Damage]] = {}
    for way in ways:
        by_field.setdefault((way.field, way.of_tombstone), []).append(way)
    return [found[number % len(found)] for number, found in enumerate(by_field.values())]


_MISSING, _NULL, _NUMBER, _MAP = "missing", "null", "a number", "a document"
_MONGO_NUMBERS = ("rotated_at", "grace", "absolute_at", "idle_timeout", "persistent")
_EVERY_WAY = [
    *_ways(("live",), _MISSING, _NULL),
    *_ways(("ip",), _MISSING, _NULL, _NUMBER, _MAP),
    *_ways(("user", "user_agent"), _MISSING, _NUMBER),
    *_ways(_TIMES, _MISSING, _TEXT, "no number", _HUGE),
    *_ways(("created_at",), _NULL, _MAP, _INFINITE),
    *_ways(_MONGO_NUMBERS, _MISSING, _TEXT),
    *_ways(("signed_in_at", "confirmed_at"), _MISSING, _TEXT),
    *_ways(("secret_hash", "previous_hash"), _MISSING, _TEXT),
    # A damaged value inside ``data`` shows when the session is loaded; lists do not read values.
    *_ways(("data",), _MISSING, _NULL, _TEXT),
    *_ways(("ip", "created_at"), _MISSING, _NULL, _MAP, of_tombstone=True),
    *_ways(("user", "signed_in_at", "user_agent", "last_seen_at", "expires_at"), _MAP, of_tombstone=True),
    *_ways(("ending", "ended_at", "keep_until"), _MISSING, _NULL, _TEXT, of_tombstone=True),
    *_ways(("ending.at", "ending.cause", "ending.reason", "ending.keep_until"), _MISSING, _MAP, of_tombstone=True),
]
#: A round of the kit takes the MongoDB server of the tests a quarter of a second, so `make test` takes fewer.
MONGO = amount(_one_of_each(_EVERY_WAY), _EVERY_WAY)
_MONGO_VALUES: dict[str, Any] = {
    _NULL: None,
    _TEXT: "abc",
    _NUMBER: 7,
    _MAP: {"a": 1},
    "no number": math.nan,
    _INFINITE: math.inf,
    _HUGE: 1e300,
}


def damage_document(url: str, database: str, handle: str, damage: Damage) -> None:
    """Write the value into the field, or remove it."""
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    try:
        gone = damage.how == _MISSING
        update = {"$unset": {damage.field: ""}} if gone else {"$set": {damage.field: _MONGO_VALUES[damage.how]}}
        done = client[database]["sessions"].update_one({"_id": handle}, update)
        assert done.matched_count == 1, damage
    finally:
        client.close()
