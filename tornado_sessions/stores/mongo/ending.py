"""End sessions by handle and by time: an update turns each into a tombstone, which ``expire`` later removes.

It must not know how sessions are saved. A damaged session ends like any other; its tombstone keeps the readable fields.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from pymongo import UpdateOne

from tornado_sessions.drivers.mongo import translated
from tornado_sessions.record import Cause, Damaged, Ending, EventKind, Record, SessionSummary
from tornado_sessions.stores.base import FAR_AHEAD, FAR_AT_ONCE
from tornado_sessions.stores.mongo import documents, updates
from tornado_sessions.stores.mongo.collection import SessionCollection
from tornado_sessions.stores.mongo.documents import Everybody
from tornado_sessions.stores.mongo.eras import READABLE, revive
from tornado_sessions.stores.stored_fields import number_or

__all__ = ["destroy", "end_far_ahead", "expire", "take"]

_CHUNK = 500

#: A session, possibly damaged, and its document without data.
_Found = tuple[SessionSummary, dict[str, Any]]


async def destroy(
    sessions: SessionCollection, handles: Sequence[str], ending: Ending, at_most: int | None = None
) -> list[str]:
    """End at most ``at_most`` of the live and damaged sessions with these handles; return the handles of those ended."""
    names, ended = list(dict.fromkeys(handles)), list[str]()
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        stored, everybody = await sessions.read_shown(chunk)
        found = [
            (item, document)
            for item, document in _sessions_of([stored[name] for name in chunk if name in stored])
            if isinstance(item, Damaged) or documents.is_live(item, document, ending.at, everybody)
        ]
        left = None if at_most is None else at_most - len(ended)
        ended += await _bury(sessions, found[:left], ending, EventKind.DESTROYED)
    return ended


async def end_far_ahead(sessions: SessionCollection, ending: Ending) -> float:
    """End the sessions created at an untrusted time, more than ``FAR_AHEAD`` ahead; return the latest trusted time.

    If there are ``FAR_AT_ONCE`` of them, the clock of ``ending.at`` is wrong instead, and every time is trusted.
    """
    latest, everybody = ending.at + FAR_AHEAD, await sessions.ask_everybody()
    far = await sessions.all_of(
        {"live": everybody.live, "created_at": {**READABLE, "$gt": latest}},
        projection={"_id": True},
        sort=[("created_at", -1)],
        limit=FAR_AT_ONCE,
        index="by_creation",
    )
    await destroy(sessions, [item["_id"] for item in far], ending)
    return latest if len(far) < FAR_AT_ONCE else math.inf


def _sessions_of(found: Sequence[dict[str, Any]]) -> list[_Found]:
    return [(documents.read_shown(document), document) for document in found if documents.is_session(document)]


async def _bury(sessions: SessionCollection, found: list[_Found], ending: Ending, kind: EventKind | None) -> list[str]:
    """Turn sessions into tombstones with one ending; return the handles that this call ended.

    ``update_many`` returns only a number. The random mark identifies the sessions that this call ended, rather than
    another process at the same time.
    """
    if not found:
        return []
    mark = os.urandom(8)
    made = updates.end(ending, kind, mark)
    healthy = [item.handle for item, _ in found if not isinstance(item, Damaged)]
    if healthy:
        # The filter on "live" skips sessions that another process has ended since they were read.
        await sessions.update_all({"_id": {"$in": healthy}, "live": {"$exists": True}}, made)
    damaged = [_repair(item, document, made) for item, document in found if isinstance(item, Damaged)]
    if damaged:
        await sessions.write(damaged)
    names = [item.handle for item, _ in found]
    marked = await sessions.all_of({"_id": {"$in": names}, "mark": mark}, projection={"_id": True})
    ended = {document["_id"] for document in marked}
    return [name for name in names if name in ended]


def _repair(item: Damaged, document: dict[str, Any], made: dict[str, Any], **more: Any) -> UpdateOne:
    """Return the write that turns a damaged session into a readable tombstone, unless another process has ended it."""
    where = {"_id": document["_id"], "live": document.get("live"), "ended_at": document.get("ended_at"), **more}
    return UpdateOne(where, {**made, "$set": {**updates.repaired(item), **made["$set"]}})


async def take(sessions: SessionCollection, handle: str, ending: Ending) -> Record | None:
    """Atomically end a live session and return its last state; ``None`` if it is not live or is damaged."""
    stored, everybody = await sessions.read([handle])
    if handle not in stored or not isinstance(documents.read(stored[handle]), Record):
        return None
    # The filter checks again that the session is live: another process may end it between the read and this update.
    where = documents.alive(handle, ending.at, everybody.not_before)
    ends = updates.end(ending, None, os.urandom(8))
    found = await translated(lambda: sessions.raw.find_one_and_update(where, ends))
    item = documents.read(found) if found is not None else None
    return item if isinstance(item, Record) else None


async def expire(sessions: SessionCollection, now: float, kept_for: float, limit: int) -> int:
    """Remove old tombstones, and turn at most ``limit`` ended sessions into tombstones; return their number."""
    await _forget(sessions, now, limit)
    everybody = await sessions.ask_everybody()
    late = {"live": everybody.live, "expires_at": _until(now)}
    order = [("expires_at", 1)]
    found = await sessions.all_of(late, index="by_expiry", projection=documents.SHOWN, sort=order, limit=limit)
    removed = await _expire(sessions, _sessions_of(found), now, kept_for)
    return removed + (await _sweep(sessions, everybody, now, kept_for, limit - removed) if removed < limit else 0)


def _until(now: float) -> dict[str, float]:
    # Equivalent to "$lte", which in SecantusDB misses equal values if the index has another key after this one.
    return {"$lt": math.nextafter(now, math.inf)}


async def _forget(sessions: SessionCollection, now: float, limit: int) -> None:
    is_old = {"keep_until": {"$lte": now}}
    order = [("keep_until", 1)]
    old = await sessions.all_of(is_old, index="by_keep_until", projection={"_id": True}, sort=order, limit=limit)
    if old:
        names = {"_id": {"$in": [item["_id"] for item in old]}, **is_old}
        await translated(lambda: sessions.client.unacknowledged_by_majority("sessions").delete_many(names))


async def _expire(sessions: SessionCollection, found: list[_Found], now: float, kept_for: float) -> int:
    """Turn expired sessions into tombstones; the ending of each has its own time and cause."""
    mark, writes = os.urandom(8), []
    for item, document in found:
        cause = Cause.ABSOLUTE if number_or(document.get("absolute_at"), math.inf) <= now else Cause.IDLE
        ending = Ending(at=item.expires_at or now, cause=cause, keep_until=now + kept_for)
        made = updates.end(ending, EventKind.EXPIRED, mark)
        if isinstance(item, Damaged):
            writes.append(_repair(item, document, made, expires_at=_until(now)))
        else:
            # The filter skips a session that has been used, and so prolonged, since it was read.
            writes.append(UpdateOne({"_id": item.handle, "live": document["live"], "expires_at": _until(now)}, made))
    return (await sessions.write(writes))[1] if writes else 0


async def _sweep(sessions: SessionCollection, everybody: Everybody, now: float, kept_for: float, limit: int) -> int:
    """Turn sessions that ``end_all`` ended into tombstones, without events: ``end_all`` published one for all."""
    found = await _dead(sessions, everybody, limit)
    late = [document["_id"] for document in found if _lives_on(document, everybody)]
    if late:
        await revive(sessions, late, everybody.live)
    dead = _sessions_of([document for document in found if not _lives_on(document, everybody)])
    over = [(item, document) for item, document in dead if 0.0 < item.expires_at <= now]
    rest = [(item, document) for item, document in dead if not 0.0 < item.expires_at <= now]
    ending = everybody.ending or Ending(at=now, cause=Cause.OPERATOR, keep_until=now + kept_for)
    return await _expire(sessions, over, now, kept_for) + len(await _bury(sessions, rest, ending, None))


async def _dead(sessions: SessionCollection, everybody: Everybody, limit: int) -> list[dict[str, Any]]:
    """Return sessions of older eras: those that ``end_all`` ended, and live ones that were not carried over."""
    if not everybody.era:
        return []
    options: dict[str, Any] = {"projection": documents.SHOWN, "index": "by_creation"}
    found = await sessions.all_of({"live": {"$lt": everybody.era}}, limit=limit, **options)
    # "$lt" with a number does not match True, the first era.
    more = limit - len(found)
    return found + (await sessions.all_of({"live": True}, limit=more, **options) if more else [])


def _lives_on(document: dict[str, Any], everybody: Everybody) -> bool:
    created_at = number_or(document.get("created_at"), -1.0)
    return everybody.era > 0 and created_at >= max(everybody.not_before, 0.0)
