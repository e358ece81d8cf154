"""``mongodb://``: documents in three collections beside the sessions.

It must not know the sessions; only the database is shared. Names are unique by an index, so on a sharded cluster the collection
``documents`` stays unsharded, as it is unless somebody shards it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, client_options, translated
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import (
    MAX_PAGE,
    Document,
    DocumentStore,
    LogEntry,
    LogQuery,
    NameTaken,
    Tallies,
    outdated,
    tally_of,
)

__all__ = ["MongoDocuments"]

logger = logging.getLogger("tornado_sessions")

#: No entry has this number; as a bound it leaves out ids that are no numbers.
_ENDLESS = 2**62
_INDEXES = {
    "records": [
        # Documents without names are left out: an empty list would count as one value, which only one of them could have.
        IndexModel([("names", 1)], name="by_name", unique=True, partialFilterExpression={"names": {"$exists": True}}),
        IndexModel([("tags", ASCENDING), ("_id", ASCENDING)], name="by_tag"),
    ],
    "log": [IndexModel([("tags", ASCENDING), ("_id", DESCENDING)], name="by_tag")],
    "counts": [IndexModel([("minute", ASCENDING)], name="by_minute")],
}


class MongoDocuments(DocumentStore):
    """Documents in MongoDB.

    Args:
        options: where, and by which driver.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)

    @classmethod
    def from_url(cls, url: str, _beside: object) -> MongoDocuments:
        """Make the store that a ``mongodb…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @property
    def records(self) -> Any:
        """The collection of documents: ``_id`` is ``KIND:KEY``; tags and names begin with ``KIND:`` as well."""
        return self.client.collection("records")

    @property
    def log(self) -> Any:
        """The collection of the log; ``_id`` is the number."""
        return self.client.collection("log")

    @property
    def counts(self) -> Any:
        """The collection of counts; ``_id`` is ``MINUTE NAME``."""
        return self.client.collection("counts")

    @override
    async def open(self) -> None:
        await self.client.open()
        # Accounts of the former layout, whose server would otherwise offer to make a first operator.
        if await translated(lambda: self.client.collection("accounts").find_one({}, {"_id": True})) is not None:
            await self.close()
            raise StoreMismatch(
                "mongodb", "the accounts have the layout of an earlier version; use another database or prefix"
            )
        for name, indexes in _INDEXES.items():
            await self._create_indexes(name, indexes)

    async def _create_indexes(self, name: str, indexes: list[IndexModel]) -> None:
        await translated(lambda: self.client.collection(name).create_indexes(indexes))

    @override
    async def close(self) -> None:
        await self.client.close()

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        found = await translated(lambda: self.records.find_one({"_id": f"{kind}:{key}"}))
        return _document(found) if found is not None else None

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        place, revision = f"{kind}:{document.key}", document.revision
        stored: dict[str, Any] = {"_id": place, "revision": revision, "body": document.body}
        stored["tags"] = [f"{kind}:{tag}" for tag in tags]
        if names:
            stored["names"] = [f"{kind}:{name}" for name in names]
        try:
            if revision == 1:
                await translated(lambda: self.records.insert_one(stored))
                return True
            where = {"_id": place, "revision": revision - 1}
            return bool((await translated(lambda: self.records.replace_one(where, stored))).matched_count)
        except DuplicateKeyError as error:
            if "names" in (error.details or {}).get("keyPattern", {}):
                raise NameTaken from None
            return False

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        where = {"_id": f"{kind}:{key}", **({} if revision is None else {"revision": revision})}
        return bool((await translated(lambda: self.records.delete_one(where))).deleted_count)

    @override
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        # The semicolon follows the colon, so these are the ids that begin with the kind.
        where: dict[str, Any] = {"_id": {"$gt": f"{kind}:{after}", "$lt": f"{kind};"}}
        if tag:
            where["tags"] = f"{kind}:{tag}"
        return list(map(_document, await self.client.all_of("records", where, sort=[("_id", 1)], limit=limit)))

    # --- the log -------------------------------------------------------------------------------------------------

    @override
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        """Of two writers, the unique index of ids lets one through."""
        numbers = {"_id": {"$lt": _ENDLESS}}
        last = await self.client.all_of("log", numbers, projection={"_id": True}, sort=[("_id", -1)], limit=1)
        if number != (last[0]["_id"] if last else 0) + 1:
            return False
        entry = {"_id": number, "at": at, "body": body, "tags": list(tags), "outcome": b""}
        try:
            await translated(lambda: self.log.insert_one(entry))
        except DuplicateKeyError:
            return False
        return True

    @override
    async def complete(self, number: int, outcome: bytes) -> None:
        where, sets = {"_id": number, "outcome": b""}, {"$set": {"outcome": outcome}}
        await translated(lambda: self.log.update_one(where, sets))

    @override
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        where: dict[str, Any] = {"_id": {"$lt": query.before if query.before is not None else _ENDLESS}}
        if query.tags:
            where["tags"] = {"$all": list(query.tags)}
        times = {how: at for how, at in (("$gte", query.since), ("$lte", query.until)) if at is not None}
        if times:
            where["$or"] = [{"at": times}, {"at": {"$not": {"$type": "number"}}}]
        found = await self.client.all_of("log", where, sort=[("_id", -1)], limit=query.limit)
        return [LogEntry.checked(entry["_id"], entry.get("body"), entry.get("outcome")) for entry in found]

    @override
    async def forget(self, before: float, limit: int) -> int:
        numbers = {"_id": {"$lt": _ENDLESS}}
        found = await self.client.all_of("log", numbers, projection={"at": True}, sort=[("_id", 1)], limit=limit + 1)
        old = outdated(((entry["_id"], entry.get("at")) for entry in found), before)
        if old:
            await translated(lambda: self.log.delete_many({"_id": {"$in": old}}))
        return len(old)

    # --- counts --------------------------------------------------------------------------------------------------

    @override
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        await translated(lambda: self.counts.delete_many({"minute": {"$lt": forget_before}}))
        writes = [
            UpdateOne(
                {"_id": f"{minute} {name}"},
                {"$inc": {"count": count}, "$set": {"minute": minute, "name": name}},
                upsert=True,
            )
            for (minute, name), count in tallies.items()
        ]
        if writes:
            try:
                await translated(lambda: self.counts.bulk_write(writes, ordered=False))
            except BulkWriteError as error:
                # A damaged count stays as it is; the others were added.
                faults = [item.get("errmsg") for item in error.details["writeErrors"]]
                logger.warning("counts were not added: %s", faults)

    @override
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        where: dict[str, Any] = {"minute": {"$gte": minutes.start, "$lt": minutes.stop}}
        if names:
            where["_id"] = {"$in": [f"{minute} {name}" for minute in minutes for name in names]}
        found = await self.client.all_of("counts", where)
        each = (tally_of(item.get("minute"), item.get("name"), item.get("count")) for item in found)
        return {place: count for tally in each for place, count in tally.items()}


def _document(found: dict[str, Any]) -> Document:
    return Document.checked(found["_id"].partition(":")[2], found.get("revision"), found.get("body"))
