"""``mongodb://``: sessions in MongoDB: a replica set, a sharded cluster or a single server, through Motor or PyMongo.

It must not know policy or encoding. This module implements ``Store`` with the functions of the other modules.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from typing_extensions import override

from tornado_sessions.change import as_of
from tornado_sessions.drivers.mongo import Client, ClientOptions, Indexes, Layout, client_options
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    Loaded,
    Outcome,
    Record,
    Swapped,
)
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.listening import until_closed
from tornado_sessions.stores.mongo import cells, documents, eras, lists, saving, schema
from tornado_sessions.stores.mongo import ending as endings
from tornado_sessions.stores.mongo.collection import SessionCollection
from tornado_sessions.stores.mongo.listening import listen

__all__ = ["MongoStore"]


#: Seconds of difference between clocks from which there is a warning.
_SKEW = 1.0
_ALONE = N_(
    "the server is not a replica set: a crash causes an outage, and ended sessions are found by polling; use three members"
)
_CLOCK = N_("the server's clock differs by %s s; synchronise both clocks with NTP")


class MongoStore(Store):
    """Sessions in MongoDB.

    Args:
        options: from ``client_options``.
    """

    backend = "mongodb"
    # A command costs the driver as much as dozens of sessions in it.
    at_once = 1

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self._layout = Layout(self.client, "sessions", schema.VERSION)
        models = {"sessions": schema.INDEXES, "cells": cells.INDEXES}
        self._indexes = Indexes(self.client, models, {"sessions": schema.FORMER}, self._layout)
        self._sessions = SessionCollection(self.client, self._indexes)
        self._closing: asyncio.Event | None = None

    @classmethod
    @override
    def from_url(cls, url: str) -> MongoStore:
        return cls(client_options(url))

    @property
    def sessions(self) -> Any:
        """The driver's collection of sessions and tombstones."""
        return self._sessions.raw

    @override
    async def open(self) -> None:
        if self._closing is not None:
            return
        await self.client.open()
        try:
            if not await self._layout.is_current():
                await eras.adopt(self._sessions)
            await self._indexes.open()
        except BaseException:
            await self.client.close()
            raise
        self._closing = asyncio.Event()

    @override
    async def close(self) -> None:
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        await self._indexes.close()
        await self.client.close()

    @override
    async def ping(self) -> None:
        await self.client.ping()

    @override
    async def diagnose(self) -> Diagnosis:
        hello, warnings = await self.client.hello(), list(self.client.options.risks)
        members = len(hello.get("hosts", ()))
        facts = [
            Message.plural(
                "MongoDB: %s member of the replica set %s.",
                "MongoDB: %s members of the replica set %s.",
                members,
                str(hello.get("setName", "-")),
            )
        ]
        if not await self.client.has_change_streams():
            warnings.append(Message(_ALONE))
        at = hello.get("localTime")
        difference = abs((at.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) if at is not None else 0.0
        if difference > _SKEW:
            warnings.append(Message(_CLOCK, (f"{difference:.1f}",)))
        return Diagnosis([], warnings, facts)

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found, everybody = await self._sessions.read(handles)
        items = {handle: as_of(documents.read(document), now) for handle, document in found.items()}
        return Loaded([items.get(handle) for handle in handles], everybody.not_before)

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        return await saving.save(self._sessions, changes)

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await endings.destroy(self._sessions, handles, ending)

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        everybody = await self._sessions.ask_everybody()
        found = await self._sessions.all_of(
            {"live": everybody.live, "user": user}, index="by_user", projection={"_id": True}
        )
        handles = [item["_id"] for item in found if item["_id"] != except_handle]
        return await endings.destroy(self._sessions, handles, ending, at_most)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return await endings.take(self._sessions, handle, ending)

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        latest = await endings.end_far_ahead(self._sessions, ending) if not_before is None else math.inf
        return await eras.end_all(self._sessions, not_before, ending, latest)

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await cells.swap(self.client, name, expected, value, keep_until)

    @override
    async def find(self, query: Query) -> Page:
        return await lists.find(self._sessions, query, await self._sessions.ask_everybody())

    @override
    async def count(self, query: Query) -> Count:
        """Count sessions, exactly up to 10,000."""
        return await lists.count(self._sessions, query, await self._sessions.ask_everybody())

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return await endings.expire(self._sessions, now, ending_kept_for, limit)

    @override
    def events(self) -> AsyncGenerator[Event, None]:
        return until_closed(partial(listen, self._sessions), self._closing)
