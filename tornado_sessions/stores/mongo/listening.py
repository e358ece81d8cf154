"""Listen for events: through a change stream on a replica set, otherwise by polling an index.

It must not know how sessions are ended. The document of an ended session has ``told``, the kind of the event, and
``told_at``, the time on the server's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from tornado_sessions.drivers.mongo import translated
from tornado_sessions.record import Event
from tornado_sessions.stores.listening import pause
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.collection import SessionCollection

__all__ = ["listen"]

#: Seconds between two polls. Each also looks back, since events may become visible out of order.
POLL, _LOOK_BACK = 0.25, timedelta(seconds=2)
# Anything else is damaged. Python cannot represent dates after the year 9999.
_IS_DATE = {"$type": "date", "$not": {"$type": "array"}, "$lt": datetime(9999, 1, 1, tzinfo=UTC)}
# Select the changes that end one session or all sessions.
_ENDS = [
    {
        "$match": {
            "$or": [
                {"updateDescription.updatedFields.told_at": {"$exists": True}},
                {"operationType": "insert", "documentKey._id": documents.EVERYBODY},
            ]
        }
    }
]


async def listen(sessions: SessionCollection, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
    """Yield an event for each ending until ``closing`` is set; raise ``StoreUnavailable`` if the connection fails."""
    way = _follow if await sessions.client.has_change_streams() else _poll
    async with aclosing(way(sessions, closing)) as found:
        async for document in found:
            event = documents.read_event(document)
            if event is not None:
                yield event


async def _follow(sessions: SessionCollection, closing: asyncio.Event) -> AsyncGenerator[dict[str, Any], None]:
    """Yield documents from the change stream. The driver resumes it after a lost connection."""
    stream = await sessions.client.watch(
        "sessions", _ENDS, full_document="updateLookup", max_await_time_ms=int(1000 * POLL)
    )
    try:
        while not closing.is_set():
            change = await translated(stream.try_next)
            document = change.get("fullDocument") if change is not None else None
            if document:
                yield document
    finally:
        await stream.close()


async def _poll(sessions: SessionCollection, closing: asyncio.Event) -> AsyncGenerator[dict[str, Any], None]:
    """Yield documents by polling the index of ``told_at``; each poll overlaps the previous one by ``_LOOK_BACK``."""
    only_time: dict[str, Any] = {"projection": {"told_at": True}, "sort": [("told_at", -1)], "limit": 1}
    last = await sessions.all_of({"told_at": _IS_DATE}, index="by_told_at", **only_time)
    newest: datetime | None = last[0]["told_at"] if last else None
    seen = {_key(document) for document in await _ended_since(sessions, newest)}
    while not closing.is_set():
        ended = await _ended_since(sessions, newest)
        for document in ended:
            # Polls overlap, so skip the events of the previous one.
            if _key(document) not in seen:
                yield document
        newest = max((document["told_at"] for document in ended), default=newest)
        seen = {_key(document) for document in ended}
        await pause(closing, POLL)


def _key(document: dict[str, Any]) -> tuple[Any, datetime]:
    return document["_id"], document["told_at"]


async def _ended_since(sessions: SessionCollection, newest: datetime | None) -> list[dict[str, Any]]:
    since = {**_IS_DATE, "$gt": newest - _LOOK_BACK} if newest is not None else _IS_DATE
    return await sessions.all_of({"told_at": since}, index="by_told_at", sort=[("told_at", 1)])
