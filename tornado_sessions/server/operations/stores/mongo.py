"""``mongodb://``: the dashboard's data beside the accounts. It must not know accounts; only the database is shared."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, client_options, translated
from tornado_sessions.server.operations.stores.base import (
    AdminStore,
    AuditQuery,
    Document,
    Entry,
    Tallies,
    aged,
    document_of,
    entry_of,
    tally_of,
)

__all__ = ["MongoAdminStore"]

logger = logging.getLogger("tornado_sessions")

#: No entry has this id: with it as a bound, ids of another type than numbers are left out.
_ENDLESS = 2**62

_INDEXES = [
    IndexModel([(name, ASCENDING), ("_id", DESCENDING)], name=f"by_{name}") for name in ("actor", "user", "act")
]


class MongoAdminStore(AdminStore):
    """The dashboard's data in MongoDB.

    Args:
        options: where, and by which driver.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._client = Client(options)

    @classmethod
    def from_url(cls, url: str) -> MongoAdminStore:
        """The store that a ``mongodb…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @property
    def _audit(self) -> Any:
        return self._client.collection("audit")

    @property
    def _documents(self) -> Any:
        return self._client.collection("documents")

    @property
    def _tallies(self) -> Any:
        return self._client.collection("tallies")

    @override
    async def open(self) -> None:
        await self._client.open()
        await translated(lambda: self._audit.create_indexes(_INDEXES))

    @override
    async def close(self) -> None:
        await self._client.close()

    @override
    async def append(self, entry: Entry) -> bool:
        """: of two writers the index of ids lets one through."""
        last = await self.entries(AuditQuery(limit=1))
        if entry.id != (last[0].id if last else 0) + 1:
            return False
        document = {**msgspec.structs.asdict(entry), "_id": entry.id}
        del document["id"]
        try:
            await translated(lambda: self._audit.insert_one(document))
        except DuplicateKeyError:
            return False
        return True

    @override
    async def complete(self, entry_id: int, ended: int, seal: str) -> None:
        where, sets = {"_id": entry_id, "ended": None}, {"$set": {"ended": ended, "seal": seal}}
        await translated(lambda: self._audit.update_one(where, sets))

    @override
    async def entries(self, query: AuditQuery) -> list[Entry]:
        where: dict[str, Any] = {"_id": {"$lt": query.before if query.before is not None else _ENDLESS}}
        if query.who:
            where["$or"] = [{"actor": query.who}, {"user": query.who}]
        if query.act:
            where["act"] = query.act
        times = {"$gte": query.since, "$lte": query.until}
        if any(at is not None for at in times.values()):
            where["at"] = {how: at for how, at in times.items() if at is not None}
        found = await self._client.all_of("audit", where, sort=[("_id", -1)], limit=query.limit)
        return [entry_of(document.pop("_id"), document) for document in found]

    @override
    async def forget_entries(self, before: float, limit: int) -> int:
        numbers = {"_id": {"$lt": _ENDLESS}}
        found = await self._client.all_of("audit", numbers, projection={"at": True}, sort=[("_id", 1)], limit=limit + 1)
        old = aged(((document["_id"], document.get("at")) for document in found), before)
        if old:
            await translated(lambda: self._audit.delete_many({"_id": {"$in": old}}))
        return len(old)

    @override
    async def documents(self, kind: str) -> list[Document]:
        names = {"$gte": f"{kind}:", "$lt": f"{kind};"}
        found = await self._client.all_of("documents", {"_id": names}, sort=[("_id", 1)])
        return [_document(item) for item in found]

    @override
    async def document(self, kind: str, key: str) -> Document | None:
        found = await translated(lambda: self._documents.find_one({"_id": f"{kind}:{key}"}))
        return _document(found) if found is not None else None

    @override
    async def put(self, kind: str, document: Document) -> bool:
        name, revision, body = f"{kind}:{document.key}", document.revision, document.body
        if revision == 1:
            try:
                await translated(lambda: self._documents.insert_one({"_id": name, "revision": 1, "body": body}))
            except DuplicateKeyError:
                return False
            return True
        where, sets = {"_id": name, "revision": revision - 1}, {"$set": {"revision": revision, "body": body}}
        return bool((await translated(lambda: self._documents.update_one(where, sets))).matched_count)

    @override
    async def remove(self, kind: str, key: str) -> bool:
        done = await translated(lambda: self._documents.delete_one({"_id": f"{kind}:{key}"}))
        return bool(done.deleted_count)

    @override
    async def add_tallies(self, tallies: Tallies, forget_before: int) -> None:
        """One document a minute."""
        await translated(lambda: self._tallies.delete_many({"_id": {"$lt": forget_before}}))
        writes = [
            UpdateOne({"_id": minute}, {"$inc": {name: count}}, upsert=True)
            for (minute, name), count in tallies.items()
        ]
        if writes:
            try:
                await translated(lambda: self._tallies.bulk_write(writes, ordered=False))
            except BulkWriteError as error:
                # A damaged count: it is left as it is, and the others are added.
                logger.warning(
                    "counts were not added: %s", [item.get("errmsg") for item in error.details["writeErrors"]]
                )

    @override
    async def tallies(self, since: int) -> Tallies:
        found = await self._client.all_of("tallies", {"_id": {"$gte": since}})
        each = (tally_of(item["_id"], name, count) for item in found for name, count in item.items() if name != "_id")
        return {name: count for tally in each for name, count in tally.items()}


def _document(found: dict[str, Any]) -> Document:
    return document_of(found["_id"].partition(":")[2], found.get("revision"), found.get("body"))
