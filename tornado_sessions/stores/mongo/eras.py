"""The end of everybody: a new era, into which the sessions that live on are carried over; all others are dead at once.

It must not know how single sessions are saved or ended. MongoDB cannot change two documents in one step without a
transaction, which single servers lack, so the new era comes first: whoever reads it treats older eras by ``not_before``
until they have been carried over.
"""

from __future__ import annotations

import math
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from tornado_sessions.drivers.mongo import translated
from tornado_sessions.record import Ending
from tornado_sessions.stores.mongo import documents, updates
from tornado_sessions.stores.mongo.collection import SessionCollection
from tornado_sessions.stores.mongo.documents import Everybody

__all__ = ["READABLE", "carry_over", "end_all", "revive"]

# A time that can be read; a session with any other is damaged, and ends with its era.
READABLE = {"$lt": math.inf, "$type": ["double", "int", "long"], "$not": {"$type": "array"}}
_MICROSECOND = 1e-6


async def end_all(sessions: SessionCollection, not_before: float | None, ending: Ending, latest: float) -> float:
    """End sessions by when they were created, or all that exist. Returns the ``not_before`` that holds.

    Args:
        sessions: the collection.
        not_before: ``None`` for a time after every session's.
        ending: by whom and why.
        latest: later times of sessions do not count.
    """
    stored = await sessions.ask_everybody()
    at = not_before
    if at is None:
        at = max(ending.at, stored.not_before, await _newest(sessions, stored, latest))
    where, update = updates.new_era(at, ending, even_if_equal=not_before is None)
    try:
        # If a later one is stored, the filter finds nothing and the upsert's insert is refused.
        found = await translated(
            lambda: sessions.raw.find_one_and_update(where, update, upsert=True, return_document=ReturnDocument.AFTER)
        )
    except DuplicateKeyError:
        return (await sessions.ask_everybody()).not_before
    started = documents.read_everybody(found)
    return (await carry_over(sessions, started._replace(era=started.era - 1), {})).not_before


async def _newest(sessions: SessionCollection, everybody: Everybody, latest: float) -> float:
    """A microsecond after the latest time in a session of this era, up to ``latest``; 0.0 if there is none."""
    newest = 0.0
    for name, index in (("last_seen_at", "by_last_seen"), ("created_at", "by_creation")):
        some = {"live": everybody.live, name: {**READABLE, "$lte": latest}}
        found = await sessions.all_of(some, projection={name: True}, sort=[(name, -1)], limit=1, hint=index)
        newest = max([newest, *(float(item[name]) for item in found)])
    # Beyond 2^33 seconds a float has no microseconds.
    return max(newest + _MICROSECOND, math.nextafter(newest, math.inf)) if newest else 0.0


async def carry_over(sessions: SessionCollection, before: Everybody, which: dict[str, Any]) -> Everybody:
    """Move sessions that live on from an ended era into the current one.

    Args:
        sessions: the collection.
        before: the era that they are in.
        which: a filter of these sessions; empty for all of that era.

    Returns:
        Everybody's end as it is now.
    """
    while True:
        now = await sessions.ask_everybody()
        if now.era == before.era:
            return now
        living = {**which, "live": before.live, "created_at": {**READABLE, "$gte": now.not_before}}
        more = {} if which else {"hint": "by_creation"}
        await sessions.update_all(living, {"$set": {"live": now.live}}, **more)
        # Another end may have come while they were moved, and have missed them.
        before = now


async def revive(sessions: SessionCollection, handles: list[str], live: int) -> None:
    """Move sessions that were not carried over, because the process that started the era died before that."""
    await sessions.update_all({"_id": {"$in": handles}, "live": {"$exists": True}}, {"$set": {"live": live}})
