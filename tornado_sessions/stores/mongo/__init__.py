"""``mongodb://``: sessions in a collection, of a replica set, a sharded cluster or one server; by Motor or by PyMongo.

It must not know policy or encoding. A change is one update whose filter holds its guards; a turn's changes are one bulk write, and
where not all of them were met, the documents are read to tell which.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    EventKind,
    Loaded,
    Outcome,
    Record,
    Tombstone,
    expired,
)
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.mongo import documents, lists
from tornado_sessions.stores.mongo.client import Client, ClientOptions, client_options, translated
from tornado_sessions.stores.mongo.listening import listen
from tornado_sessions.wording import Sentence

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
    IndexModel([("live", ASCENDING), ("signed_in_at", DESCENDING), ("_id", ASCENDING)], name="by_signed_in"),
    IndexModel([("live", ASCENDING), ("created_at", ASCENDING)], name="by_creation"),
    IndexModel([("ended_at", DESCENDING), ("_id", ASCENDING)], name="by_end", sparse=True),
    IndexModel([("keep_until", ASCENDING)], name="by_keep_until", sparse=True),
    IndexModel([("told_at", ASCENDING)], name="by_told_at", sparse=True),
    # Removed by the server itself, however long nobody prunes.
    IndexModel([("purge_at", ASCENDING)], name="by_purge_at", expireAfterSeconds=0),
]
_CHUNK = 500
_DUPLICATE = 11000

Answer = Outcome | Conflict | Exception


class MongoStore(Store):
    """Sessions in MongoDB.

    Args:
        options: where, and by which driver.
    """

    backend = "mongodb"

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self._closing: asyncio.Event | None = None

    @classmethod
    def from_url(cls, url: str) -> MongoStore:
        """The store that a ``mongodb…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @property
    def sessions(self) -> Any:
        """The collection, sessions and tombstones in one."""
        return self.client.collection("sessions")

    async def open(self) -> None:
        """As promised by ``Store.open``."""
        if self._closing is not None:
            return
        await self.client.open()
        await translated(lambda: self.sessions.create_indexes(_INDEXES))
        self._closing = asyncio.Event()

    async def close(self) -> None:
        """As promised by ``Store.close``."""
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        await self.client.close()

    async def ping(self) -> None:
        """Ask the primary."""
        await self.client.ping()

    async def diagnose(self) -> Diagnosis:
        """Whether a crash of one server can cost anything."""
        if await self.client.has_change_streams():
            return Diagnosis([], [])
        alone = "the server is no replica set: its crash is an outage, and ends are heard by polling; use one of three"
        return Diagnosis([], [Sentence(alone)])

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """As promised by ``Store.load``; everybody's end comes in the same answer."""
        found, not_before = await self._read(handles)
        return Loaded([self._judged(found.get(handle), now) for handle in handles], not_before)

    async def _read(self, handles: Sequence[str]) -> tuple[dict[str, dict[str, Any]], float]:
        names = [*dict.fromkeys(handles), documents.EVERYBODY]
        found = {
            document["_id"]: document for document in await self.client.all_of("sessions", {"_id": {"$in": names}})
        }
        everybody = found.pop(documents.EVERYBODY, None)
        return found, everybody["not_before"] if everybody is not None else 0.0

    @staticmethod
    def _judged(document: dict[str, Any] | None, now: float) -> Record | Tombstone | None:
        if document is None:
            return None
        item = documents.read(document)
        return expired(item, now, keep_until=now) if isinstance(item, Record) and item.expires_at <= now else item

    async def save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        """As promised by ``Store.save``; several changes of one session go one after another."""
        answers: list[Answer] = [Outcome.GONE] * len(changes)
        waiting = list(range(len(changes)))
        while waiting:
            # A dict keeps the first place of each handle; the others wait for the next round.
            turn = {changes[place].handle: place for place in reversed(waiting)}
            places = sorted(turn.values())
            try:
                saved: Sequence[Answer] = await self._save([changes[place] for place in places])
            except StoreUnavailable as error:
                saved = [error] * len(places)
            for place, answer in zip(places, saved, strict=True):
                answers[place] = answer
            waiting = [place for place in waiting if place not in set(places)]
        return answers

    async def _save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        _, not_before = await self._read([])
        marks = [os.urandom(8) for _ in changes]
        writes: list[Any] = []
        for item, mark in zip(changes, marks, strict=True):
            if isinstance(item, Create):
                writes.append(InsertOne(documents.to_document(item.record)))
            else:
                writes.append(UpdateOne(documents.guards(item, not_before), documents.update(item, mark)))
        refused, matched = await self._write(writes)
        confirmations = [
            UpdateOne(*found)
            for item in changes
            if isinstance(item, Change) and (found := documents.confirmation(item)) is not None
        ]
        if confirmations:
            await self._write(confirmations)
        updates = sum(isinstance(item, Change) for item in changes)
        stored = await self._read([item.handle for item in changes]) if matched < updates else None
        return [
            self._outcome(item, mark, refused.get(number), stored, not_before)
            for number, (item, mark) in enumerate(zip(changes, marks, strict=True))
        ]

    async def _write(self, writes: list[Any]) -> tuple[dict[int, dict[str, Any]], int]:
        """One bulk write; what was refused by its place, and how many updates met their guards."""
        try:
            done = await translated(lambda: self.sessions.bulk_write(writes, ordered=False))
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise StoreUnavailable("mongodb", "a write has not reached the majority") from None
            refused = {item["index"]: item for item in error.details["writeErrors"]}
            return refused, int(error.details["nMatched"])
        return {}, int(done.matched_count)

    @staticmethod
    def _outcome(
        item: Create | Change,
        mark: bytes,
        refused: dict[str, Any] | None,
        found: tuple[dict[str, dict[str, Any]], float] | None,
        not_before: float,
    ) -> Answer:
        if refused is not None:
            taken = refused.get("code") == _DUPLICATE
            return Outcome.GONE if taken else StoreUnavailable("mongodb", str(refused.get("errmsg"))[:300])
        if isinstance(item, Create):
            return Outcome.SAVED if item.record.created_at >= not_before else Outcome.GONE
        if found is None:
            return Outcome.SAVED
        document = found[0].get(item.handle)
        stored = documents.read(document) if document is not None else None
        if not isinstance(stored, Record) or document is None:
            return Outcome.GONE
        if documents.is_guarded(item) and mark in document.get("marks", ()):
            return Outcome.SAVED
        if stored.expires_at <= item.now or stored.created_at < found[1]:
            return Outcome.GONE
        return Conflict(stored) if documents.is_guarded(item) else Outcome.SAVED

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """As promised by ``Store.destroy``."""
        _, not_before = await self._read([])
        ended: list[str] = []
        names = list(dict.fromkeys(handles))
        for start in range(0, len(names), _CHUNK):
            some = {"_id": {"$in": names[start : start + _CHUNK]}}
            ended += await self._end(
                {**some, **documents.live(ending.at, not_before)}, some, ending, EventKind.DESTROYED
            )
        return ended

    async def _end(
        self, who: dict[str, Any], among: dict[str, Any], ending: Ending, kind: EventKind | None
    ) -> list[str]:
        """Make tombstones of who is found; which these were, the mark tells."""
        mark = os.urandom(8)
        await translated(lambda: self.sessions.update_many(who, documents.end(ending, kind, mark)))
        found = await self.client.all_of("sessions", {**among, "mark": mark}, projection={"_id": True})
        return [document["_id"] for document in found]

    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """As promised by ``Store.destroy_user``."""
        found = await self.client.all_of("sessions", {"live": True, "user": user}, projection={"_id": True})
        return await self.destroy([item["_id"] for item in found if item["_id"] != except_handle], ending)

    async def take(self, handle: str, ending: Ending) -> Record | None:
        """As promised by ``Store.take``."""
        _, not_before = await self._read([])
        where = {"_id": handle, **documents.live(ending.at, not_before)}
        ends = documents.end(ending, None, os.urandom(8))
        found = await translated(lambda: self.sessions.find_one_and_update(where, ends))
        item = documents.read(found) if found is not None else None
        return item if isinstance(item, Record) else None

    async def end_all(self, not_before: float, ending: Ending) -> None:
        """As promised by ``Store.end_all``."""
        stored = {name: getattr(ending, name) for name in Ending.__struct_fields__}
        said = {
            "$set": {"not_before": not_before, "ending": {**stored, "cause": ending.cause.value}},
            "$currentDate": {"told_at": True},
        }
        # Where a later one is stored, the filter finds nothing and the insert that follows is refused.
        where = {"_id": documents.EVERYBODY, "not_before": {"$lt": not_before}}
        try:
            await translated(lambda: self.sessions.update_one(where, said, upsert=True))
        except DuplicateKeyError:
            return

    async def find(self, query: Query) -> Page:
        """As promised by ``Store.find``."""
        return await lists.find(self.client, query, (await self._read([]))[1])

    async def count(self, query: Query) -> Count:
        """As promised by ``Store.count``; exact up to 10,000."""
        return await lists.count(self.client, query, (await self._read([]))[1])

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """As promised by ``Store.expire``."""
        await self._forget(now, limit)
        removed = await self._expire(now, ending_kept_for, limit)
        return removed + (await self._sweep(limit - removed) if removed < limit else 0)

    async def _forget(self, now: float, limit: int) -> None:
        old = await self.client.all_of(
            "sessions", {"keep_until": {"$lte": now}}, projection={"_id": True}, sort=[("keep_until", 1)], limit=limit
        )
        if old:
            names = {"_id": {"$in": [item["_id"] for item in old]}, "keep_until": {"$lte": now}}
            await translated(lambda: self.client.unacknowledged_by_majority("sessions").delete_many(names))

    async def _expire(self, now: float, kept_for: float, limit: int) -> int:
        # SecantusDB's $lte misses the equal one where the index has a field behind; this is the same and misses none.
        late = {"live": True, "expires_at": {"$lt": math.nextafter(now, math.inf)}}
        found = await self.client.all_of("sessions", late, sort=[("expires_at", 1)], limit=limit)
        mark, writes = os.urandom(8), []
        for document in found:
            item = documents.read(document)
            if isinstance(item, Record):
                ending = expired(item, now, now + kept_for).ending
                writes.append(UpdateOne({"_id": item.handle, **late}, documents.end(ending, EventKind.EXPIRED, mark)))
        return (await self._write(writes))[1] if writes else 0

    async def _sweep(self, limit: int) -> int:
        """Remove what ended with everybody's; listeners were told then."""
        everybody = await self.client.all_of("sessions", {"_id": documents.EVERYBODY})
        if not everybody:
            return 0
        old = {"live": True, "created_at": {"$lt": everybody[0]["not_before"]}}
        found = await self.client.all_of("sessions", old, projection={"_id": True}, limit=limit)
        some = {"_id": {"$in": [item["_id"] for item in found]}}
        ending = documents.to_ending(everybody[0]["ending"])
        return len(await self._end({**some, **old}, some, ending, None)) if found else 0

    async def events(self) -> AsyncGenerator[Event, None]:
        """As promised by ``Store.events``."""
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
