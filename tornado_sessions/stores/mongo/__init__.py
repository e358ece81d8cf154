"""``mongodb://``: sessions in a collection, of a replica set, a sharded cluster or one server; by Motor or by PyMongo.

It must not know policy or encoding. This is what the other modules are together: reading, saving, ending, lists and events.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, client_options, translated
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    Loaded,
    Outcome,
    Record,
    Swapped,
    Tombstone,
    expired,
)
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.mongo import cells, documents, eras, lists, saving
from tornado_sessions.stores.mongo import ending as endings
from tornado_sessions.stores.mongo.collection import SessionCollection
from tornado_sessions.stores.mongo.listening import listen

__all__ = ["MongoStore"]

_INDEXES = [
    IndexModel([("live", ASCENDING), ("last_seen_at", DESCENDING), ("_id", ASCENDING)], name="by_last_seen"),
    IndexModel(
        [("live", ASCENDING), ("user", ASCENDING), ("last_seen_at", DESCENDING), ("_id", ASCENDING)], name="by_user"
    ),
    IndexModel(
        [("live", ASCENDING), ("ip", ASCENDING), ("last_seen_at", DESCENDING), ("_id", ASCENDING)], name="by_ip"
    ),
    IndexModel([("live", ASCENDING), ("expires_at", ASCENDING), ("_id", ASCENDING)], name="by_expiry"),
    # Without visitors: a session that has a user but no such time would be looked for among all of them.
    IndexModel(
        [("live", ASCENDING), ("signed_in_at", DESCENDING), ("_id", ASCENDING)],
        name="by_sign_in",
        partialFilterExpression=documents.HAS_USER,
    ),
    IndexModel([("live", ASCENDING), ("created_at", ASCENDING)], name="by_creation"),
    IndexModel([("ended_at", DESCENDING), ("_id", ASCENDING)], name="by_end", sparse=True),
    IndexModel([("keep_until", ASCENDING)], name="by_keep_until", sparse=True),
    IndexModel([("told_at", ASCENDING)], name="by_told_at", sparse=True),
    # Removed by the server itself, however long nobody prunes.
    IndexModel([("purge_at", ASCENDING)], name="by_purge_at", expireAfterSeconds=0),
]


class MongoStore(Store):
    """Sessions in MongoDB.

    Args:
        options: where, and by which driver.
    """

    backend = "mongodb"

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self._sessions = SessionCollection(self.client)
        self._closing: asyncio.Event | None = None

    @classmethod
    def from_url(cls, url: str) -> MongoStore:
        """The store that a ``mongodb…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @property
    def sessions(self) -> Any:
        """The collection, sessions and tombstones in one."""
        return self._sessions.raw

    @override
    async def open(self) -> None:
        if self._closing is not None:
            return
        await self.client.open()
        await translated(lambda: self.sessions.create_indexes(_INDEXES))
        await translated(lambda: self.client.collection("cells").create_indexes(cells.INDEXES))
        self._closing = asyncio.Event()

    @override
    async def close(self) -> None:
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        await self.client.close()

    async def ping(self) -> None:
        """Ask the primary."""
        await self.client.ping()

    async def diagnose(self) -> Diagnosis:
        """Whether the URL's settings, or the crash of one server, can cost anything."""
        risks = self.client.options.risks
        if await self.client.has_change_streams():
            return Diagnosis([], risks)
        alone = N_(
            "the server is no replica set: its crash is an outage, and ends are heard by polling; use one of three"
        )
        return Diagnosis([], [*risks, Message(alone)])

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Everybody's end comes in the same answer."""
        found, everybody = await self._sessions.read(handles)
        return Loaded([self._judged(found.get(handle), now) for handle in handles], everybody.not_before)

    @staticmethod
    def _judged(document: dict[str, Any] | None, now: float) -> Record | Tombstone | Damaged | None:
        if document is None:
            return None
        item = documents.read(document)
        return expired(item, now, keep_until=now) if isinstance(item, Record) and item.expires_at <= now else item

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Several changes of one session go one after another."""
        return await saving.save(self._sessions, changes)

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await endings.destroy(self._sessions, handles, ending)

    @override
    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        everybody = await self._sessions.ask_everybody()
        found = await self._sessions.all_of({"live": everybody.live, "user": user}, projection={"_id": True})
        return await self.destroy([item["_id"] for item in found if item["_id"] != except_handle], ending)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return await endings.take(self._sessions, handle, ending)

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        latest = await endings.end_far_ahead(self._sessions, ending) if not_before is None else math.inf
        return await eras.end_all(self._sessions, not_before, ending, latest)

    @override
    async def find(self, query: Query) -> Page:
        return await lists.find(self._sessions, query, await self._sessions.ask_everybody())

    @override
    async def count(self, query: Query) -> Count:
        """Exact up to 10,000."""
        return await lists.count(self._sessions, query, await self._sessions.ask_everybody())

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return await endings.expire(self._sessions, now, ending_kept_for, limit)

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await cells.swap(self.client, name, expected, value, keep_until)

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        closing = self._closing
        if closing is None:
            return
        try:
            async with aclosing(await listen(self.client, closing)) as told:
                async for event in told:
                    yield event
        except StoreUnavailable:
            # Closed between two looks: that is the end of listening, and no outage.
            if not closing.is_set():
                raise
