"""The collection of sessions: each read by handle also returns when all sessions were last ended, as ``Everybody``.

It must not know why sessions are read, changed or ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.errors import BulkWriteError

from tornado_sessions.drivers.mongo import Client, Indexes, translated
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.documents import Everybody
from tornado_sessions.stores.mongo.schema import index_name

__all__ = ["HANDLES", "SessionCollection", "Stored"]

#: The name of MongoDB's own index of ``_id``.
HANDLES = "_id_"

#: Documents by handle.
Stored = dict[str, dict[str, Any]]


class SessionCollection:
    """Sessions and their tombstones.

    Args:
        client: the connection to the database.
        indexes: those of this collection.
    """

    def __init__(self, client: Client, indexes: Indexes) -> None:
        self.client = client
        self._indexes = indexes
        #: The last ``Everybody`` read, which may be outdated; ``None`` before the first read.
        self.everybody: Everybody | None = None

    @property
    def raw(self) -> Any:
        """The driver's collection."""
        return self.client.collection("sessions")

    async def read(self, handles: Iterable[str], **options: Any) -> tuple[Stored, Everybody]:
        """Read documents by handle, and ``Everybody``, in one query."""
        names = [*dict.fromkeys(handles), documents.EVERYBODY]
        found = {document["_id"]: document for document in await self.all_of({"_id": {"$in": names}}, **options)}
        self.everybody = documents.read_everybody(found.pop(documents.EVERYBODY, None))
        return found, self.everybody

    async def read_shown(self, handles: Iterable[str]) -> tuple[Stored, Everybody]:
        """Read documents by handle without their data, and ``Everybody``."""
        return await self.read(handles, projection=documents.SHOWN)

    async def ask_everybody(self) -> Everybody:
        """Read ``Everybody`` alone."""
        return (await self.read([]))[1]

    async def all_of(self, query: dict[str, Any], *, index: str = "", **options: Any) -> list[dict[str, Any]]:
        """Return all documents that match a query, through an index; without one, the query is by handle."""
        return await self.client.all_of("sessions", query, **self._through(index), **options)

    async def list_of(self, query: dict[str, Any], *, index: str = "", **options: Any) -> list[dict[str, Any]]:
        """Return all documents that match a query of a list; the server also limits its time."""
        return await self.client.list_of("sessions", query, **self._through(index), **options)

    async def count(self, query: dict[str, Any], *, index: str, limit: int) -> int:
        """Count the documents that match a query, up to a limit; the server also limits its time."""
        return await self.client.count("sessions", query, limit=limit, **self._through(index))

    def _through(self, index: str) -> dict[str, Any]:
        """Return the hint of an index: the planner might otherwise sort all sessions."""
        if index in ("", HANDLES):
            return {"hint": index} if index else {}
        return self._indexes.hint(index_name(index))

    async def write(self, writes: Sequence[Any]) -> tuple[dict[int, dict[str, Any]], int]:
        """Send one bulk write.

        Returns:
            The server's errors by position, and the number of documents that updates matched.

        Raises:
            StoreUnavailable: the server is unreachable, or a majority has not confirmed the write.
        """
        try:
            done = await translated(lambda: self.raw.bulk_write(writes, ordered=False))
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise StoreUnavailable("mongodb", "a write has not reached the majority") from None
            refused = {item["index"]: item for item in error.details["writeErrors"]}
            return refused, int(error.details["nMatched"])
        return {}, int(done.matched_count)

    async def update_all(self, query: dict[str, Any], update: dict[str, Any], *, index: str = "") -> None:
        """Update all documents that match a query."""
        await translated(lambda: self.raw.update_many(query, update, **self._through(index)))
