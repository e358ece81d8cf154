"""``mongodb://``: documents in their own collection of the database.

It must not know sessions, which only share the database. A unique index keeps names unique, so on a sharded cluster this
collection must remain unsharded, which is the default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, Indexes, Layout, client_options, translated
from tornado_sessions.errors import StoreMismatch, StoreUnavailable
from tornado_sessions.server.documents.base import MAX_PAGE, Count, Document, DocumentStore, Links, NameTaken, Total

__all__ = ["MongoDocuments"]

_ATTEMPTS = 5
#: The version of the layout.
_VERSION = 1
_COLLECTION, _COUNTS = "records", "counts"
#: Removes counts after their time.
_END_OF_COUNT = IndexModel([("ends_at", ASCENDING)], name="by_end", expireAfterSeconds=0)
_INDEXES = [
    # Partial, because an empty list counts as a value in a unique index: only one document could have no names.
    IndexModel([("names", 1)], name="by_name", unique=True, partialFilterExpression={"names": {"$exists": True}}),
    IndexModel([("tags", ASCENDING), ("_id", ASCENDING)], name="by_tag"),
]


class MongoDocuments(DocumentStore):
    """Documents in MongoDB.

    Args:
        options: from ``client_options``.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self._layout = Layout(self.client, _COLLECTION, _VERSION)
        models = {_COLLECTION: _INDEXES, _COUNTS: [_END_OF_COUNT]}
        self._indexes = Indexes(self.client, models, {}, self._layout)

    @classmethod
    def from_url(cls, url: str, _beside: object) -> MongoDocuments:
        """Return the store for a ``mongodb…://`` URL; raise ``ConfigError`` if it has faults."""
        return cls(client_options(url))

    @property
    def records(self) -> Any:
        """The collection: ``_id`` is ``KIND:KEY``; tags and names also start with ``KIND:``."""
        return self.client.collection(_COLLECTION)

    @override
    async def open(self) -> None:
        await self.client.open()
        # Refuse accounts in the former layout: reading none, the server would offer a stranger to create the first operator.
        if await translated(lambda: self.client.collection("accounts").find_one({}, {"_id": True})) is not None:
            await self.close()
            raise StoreMismatch(
                "mongodb", "the accounts have the layout of an earlier version; use another database or prefix"
            )
        try:
            await self._layout.is_current()
            await self._indexes.open()
        except BaseException:
            await self.close()
            raise

    @override
    async def close(self) -> None:
        await self._indexes.close()
        await self.client.close()

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        found = await translated(lambda: self.records.find_one({"_id": f"{kind}:{key}"}))
        return _document(found) if found is not None else None

    @override
    async def links(self, kind: str, key: str) -> Links:
        shown = {"tags": True, "names": True}
        found = await translated(lambda: self.records.find_one({"_id": f"{kind}:{key}"}, shown)) or {}
        own = f"{kind}:"
        tags, names = ([word.removeprefix(own) for word in found.get(field, [])] for field in ("tags", "names"))
        return Links(tags, names)

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        place, revision = f"{kind}:{document.key}", document.revision
        stored: dict[str, Any] = {"_id": place, "revision": revision, "body": document.body}
        stored["tags"] = [f"{kind}:{tag}" for tag in tags]
        if names:
            if not self._indexes.are_ready:
                raise StoreUnavailable(
                    "mongodb", "the index that keeps names unique is still being built; try again later"
                )
            stored["names"] = [f"{kind}:{name}" for name in names]
        try:
            if revision == 1:
                await translated(lambda: self.records.insert_one(stored))
                return True
            where = {"_id": place, "revision": revision - 1}
            return bool((await translated(lambda: self.records.replace_one(where, stored))).matched_count)
        except DuplicateKeyError as error:
            details = error.details or {}
            if "names" in details.get("keyPattern", {}):
                taken = str(details.get("keyValue", {}).get("names", ""))
                raise NameTaken(taken.removeprefix(f"{kind}:")) from None
            return False

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        where = {"_id": f"{kind}:{key}", **({} if revision is None else {"revision": revision})}
        return bool((await translated(lambda: self.records.delete_one(where))).deleted_count)

    @override
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        # ";" is the character after ":", so this range contains exactly the keys of the kind.
        low, high = f"{kind}:", f"{kind};"
        if after:
            low, high = (low, low + after) if backwards else (low + after, high)
        where: dict[str, Any] = {"_id": {"$gt": low, "$lt": high}}
        if tag:
            where["tags"] = f"{kind}:{tag}"
        order = [("_id", -1 if backwards else 1)]
        return list(map(_document, await self.client.list_of(_COLLECTION, where, sort=order, limit=limit)))

    @override
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        changed = await asyncio.gather(*(self._count(count, now) for count in counts if count.amount))
        keys = [count.key for count in counts if not count.amount]
        read = await self.client.all_of(_COUNTS, {"_id": {"$in": keys}}) if keys else []
        found = {each["_id"]: _total(each) for each in (*changed, *read)}
        none = Total(0, 0.0)
        return [
            total if (total := found.get(count.key, none)).ends_at > now else Total(0, now + count.seconds)
            for count in counts
        ]

    async def _count(self, count: Count, now: float) -> dict[str, Any]:
        is_running = {"$gt": ["$ends_at", datetime.fromtimestamp(now, UTC)]}
        sets = {
            "amount": {"$max": [0, {"$add": [{"$cond": [is_running, "$amount", 0]}, count.amount]}]},
            "ends_at": {"$cond": [is_running, "$ends_at", datetime.fromtimestamp(now + count.seconds, UTC)]},
        }
        counts = self.client.collection(_COUNTS)
        for _ in range(_ATTEMPTS):
            # Of several upserts of a new key, one succeeds; the next attempt of the others finds its document.
            with suppress(DuplicateKeyError):
                found = await translated(
                    lambda: counts.find_one_and_update(
                        {"_id": count.key}, [{"$set": sets}], upsert=True, return_document=ReturnDocument.AFTER
                    )
                )
                # A compatible server may not return what a concurrent upsert created; it has counted, so do not repeat it.
                return found or await translated(lambda: counts.find_one({"_id": count.key})) or {"_id": count.key}
        raise StoreUnavailable("mongodb", "too many processes change a count at the same time")


def _total(found: dict[str, Any]) -> Total:
    amount, ends_at = found.get("amount"), found.get("ends_at")
    # A damaged count counts as none; the next change replaces it.
    return (
        Total(amount, ends_at.timestamp())
        if isinstance(amount, int) and isinstance(ends_at, datetime)
        else Total(0, 0.0)
    )


def _document(found: dict[str, Any]) -> Document:
    return Document.checked(found["_id"].partition(":")[2], found.get("revision"), found.get("body"))
