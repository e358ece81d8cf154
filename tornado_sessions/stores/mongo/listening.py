"""Hearing what ends: through a change stream where there is a replica set, by polling an index where there is not.

It must not know how sessions are ended; that a document was told of, and when by the server's clock, is written in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

from tornado_sessions.drivers.mongo import Client, translated
from tornado_sessions.record import Event
from tornado_sessions.stores.mongo import documents

__all__ = ["listen"]

#: Seconds between two looks at whether somebody ended a session, and how far each looks back: two ends may be told out of order.
POLL, _LOOK_BACK = 0.25, timedelta(seconds=2)
# What else is stored there is damaged; dates up to the year 9999 are those that can be compared with others.
_IS_DATE = {"$type": "date", "$not": {"$type": "array"}, "$lt": datetime(9999, 1, 1, tzinfo=UTC)}
# Of all changes, those that end a session or everybody's.
_TOLD = [
    {
        "$match": {
            "$or": [
                {"updateDescription.updatedFields.told_at": {"$exists": True}},
                {"operationType": "insert", "documentKey._id": documents.EVERYBODY},
            ]
        }
    }
]


async def listen(client: Client, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
    """What ends from now on, until ``closing`` is set. Raises ``StoreUnavailable``."""
    return _follow(client, closing) if await client.has_change_streams() else _poll(client, closing)


async def _follow(client: Client, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
    """Listen to the change stream; the driver takes it up again by itself where it was cut."""
    stream = await client.watch("sessions", _TOLD, full_document="updateLookup", max_await_time_ms=int(1000 * POLL))
    try:
        while not closing.is_set():
            change = await translated(stream.try_next)
            document = change.get("fullDocument") if change is not None else None
            event = documents.read_event(document) if document else None
            if event is not None:
                yield event
    finally:
        await stream.close()


async def _poll(client: Client, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
    """Look along the index of what was told, by the server's clock, a little further back than last time."""
    newest = await _newest_told(client)
    seen: dict[tuple[str, datetime], None] = dict.fromkeys(
        (document["_id"], document["told_at"]) for document in await _told_since(client, newest)
    )
    while not closing.is_set():
        told = await _told_since(client, newest)
        for document in told:
            key = (document["_id"], document["told_at"])
            event = documents.read_event(document) if key not in seen else None
            if event is not None:
                yield event
        newest = max((document["told_at"] for document in told), default=newest)
        seen = dict.fromkeys((document["_id"], document["told_at"]) for document in told)
        try:
            await asyncio.wait_for(closing.wait(), POLL)
        except TimeoutError:
            continue


async def _newest_told(client: Client) -> datetime | None:
    found = await client.all_of(
        "sessions", {"told_at": _IS_DATE}, projection={"told_at": True}, sort=[("told_at", -1)], limit=1
    )
    return found[0]["told_at"] if found else None


async def _told_since(client: Client, newest: datetime | None) -> list[dict[str, Any]]:
    since = {**_IS_DATE, "$gt": newest - _LOOK_BACK} if newest is not None else _IS_DATE
    return await client.all_of("sessions", {"told_at": since}, sort=[("told_at", 1)])
