"""End all sessions by starting a new era: sessions that stay live are carried over into it, the others end at once.

It must not know how single sessions are saved or ended. MongoDB cannot change two documents atomically without a
transaction, which single servers lack. The new era is therefore written first; until a session has been carried over,
readers judge it by ``not_before``.
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

__all__ = ["READABLE", "adopt", "carry_over", "end_all", "revive"]

# Matches readable times. A session with any other value is damaged, and ends with its era.
READABLE = {"$lt": math.inf, "$type": ["double", "int", "long"], "$not": {"$type": "array"}}
_MICROSECOND = 1e-6


async def end_all(sessions: SessionCollection, not_before: float | None, ending: Ending, latest: float) -> float:
    """End all sessions created before a time; return the ``not_before`` in force, in UTC seconds.

    Args:
        sessions: the collection.
        not_before: in UTC seconds; ``None`` for a time after that of every session.
        ending: who ends them and why.
        latest: times of sessions after this one are ignored, in UTC seconds.
    """
    stored = await sessions.ask_everybody()
    at = not_before
    if at is None:
        at = max(ending.at, stored.not_before, await _newest(sessions, stored, latest))
    where, update = updates.new_era(at, ending, even_if_equal=not_before is None)
    try:
        # If a later not_before is stored, the filter matches nothing, and the upsert fails with a duplicate key.
        found = await translated(
            lambda: sessions.raw.find_one_and_update(where, update, upsert=True, return_document=ReturnDocument.AFTER)
        )
    except DuplicateKeyError:
        return (await sessions.ask_everybody()).not_before
    started = documents.read_everybody(found)
    return (await carry_over(sessions, started._replace(era=started.era - 1), {})).not_before


async def _newest(sessions: SessionCollection, everybody: Everybody, latest: float) -> float:
    """Return a microsecond after the latest time of any session in this era, up to ``latest``; 0.0 if there is none."""
    newest = 0.0
    for name, index in (("last_seen_at", "by_last_seen"), ("created_at", "by_creation")):
        some = {"live": everybody.live, name: {**READABLE, "$lte": latest}}
        found = await sessions.all_of(some, projection={name: True}, sort=[(name, -1)], limit=1, index=index)
        newest = max([newest, *(float(item[name]) for item in found)])
    # Above 2^33 seconds the precision of a float is coarser than a microsecond.
    return max(newest + _MICROSECOND, math.nextafter(newest, math.inf)) if newest else 0.0


async def adopt(sessions: SessionCollection) -> None:
    """Give an era to an end of all sessions that was stored by a version without eras, so that lists need not walk the dead."""
    where = {"_id": documents.EVERYBODY, "era": {"$exists": False}}
    before = await sessions.ask_everybody()
    if before.not_before and not before.era:
        await sessions.update_all(where, {"$set": {"era": 1}})
        await carry_over(sessions, before, {})


async def carry_over(sessions: SessionCollection, before: Everybody, which: dict[str, Any]) -> Everybody:
    """Move sessions that are still live from an older era into the current one.

    Args:
        sessions: the collection.
        before: the era that they are in.
        which: a filter of sessions; empty for all sessions of that era.

    Returns:
        The current ``Everybody``.
    """
    while True:
        now = await sessions.ask_everybody()
        if now.era == before.era:
            return now
        living = {**which, "live": before.live, "created_at": {**READABLE, "$gte": now.not_before}}
        await sessions.update_all(living, {"$set": {"live": now.live}}, index="" if which else "by_creation")
        # Check again: another end_all may have started an era in the meantime, and missed the sessions being moved.
        before = now


async def revive(sessions: SessionCollection, handles: list[str], live: int) -> None:
    """Move live sessions of older eras into the current one: the process that should have carried them over died."""
    await sessions.update_all({"_id": {"$in": handles}, "live": {"$exists": True}}, {"$set": {"live": live}})
