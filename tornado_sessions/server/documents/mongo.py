"""``mongodb://``: documents in their own collection of the database.

It must not know sessions, which only share the database. A unique index keeps names unique, so on a sharded cluster this
collection must remain unsharded, which is the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from tornado_sessions.drivers.mongo import Client, ClientOptions, client_options, translated
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import MAX_PAGE, Document, DocumentStore, NameTaken

__all__ = ["MongoDocuments"]

_COLLECTION = "records"
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
        await translated(lambda: self.records.create_indexes(_INDEXES))

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
        return list(map(_document, await self.client.all_of(_COLLECTION, where, sort=order, limit=limit)))


def _document(found: dict[str, Any]) -> Document:
    return Document.checked(found["_id"].partition(":")[2], found.get("revision"), found.get("body"))
