"""Small values for ``Store.swap``: one document each, replaced by compare-and-swap.

It must not know what the values mean.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from tornado_sessions.drivers.mongo import Client, translated
from tornado_sessions.record import Swapped
from tornado_sessions.stores.mongo.updates import purge_time

__all__ = ["INDEXES", "swap"]

INDEXES = [IndexModel([("purge_at", ASCENDING)], name="by_purge_at", expireAfterSeconds=0)]
# A cell without a value. A damaged value counts as missing; otherwise no swap could ever replace it.
_EMPTY = {"$not": {"$type": "binData"}}


async def swap(client: Client, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
    """Atomically replace a value if it is the expected one; see ``Store.swap``."""
    # A name may have any length and any characters, so its hash is the key.
    key = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    cells = client.collection("cells")
    while True:
        if await _replace(cells, key, expected, value, keep_until):
            return Swapped(True, value)
        found = await translated(lambda: cells.find_one({"_id": key}))
        stored = found.get("value") if found is not None else None
        current = bytes(stored) if isinstance(stored, bytes) else None
        if current != expected:
            return Swapped(False, current)
        # Another process has restored the expected value between the two calls: try again.


async def _replace(cells: Any, key: str, expected: bytes | None, value: bytes | None, keep_until: float) -> bool:
    where = {"_id": key, "value": _EMPTY if expected is None else expected}
    if value is None:
        removed = bool((await translated(lambda: cells.delete_one(where))).deleted_count)
        return removed or (expected is None and await translated(lambda: cells.find_one({"_id": key})) is None)
    sets = {"$set": {"value": value, "purge_at": purge_time(keep_until)}}
    try:
        done = await translated(lambda: cells.update_one(where, sets, upsert=expected is None))
    except DuplicateKeyError:
        # The cell has a value, or another process has just inserted one.
        return False
    return bool(done.matched_count or done.upserted_id)
