"""The collection of sessions: every read also returns everybody's end.

It must not know why sessions are read, changed or ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.errors import BulkWriteError

from tornado_sessions.drivers.mongo import Client, translated
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.documents import Everybody

__all__ = ["SessionCollection", "Stored"]

#: Documents by handle.
Stored = dict[str, dict[str, Any]]


class SessionCollection:
    """Sessions and their tombstones.

    Args:
        client: of the database.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        #: Everybody's end as last read; the stored one is the same or later. ``None`` before the first read.
        self.everybody: Everybody | None = None

    @property
    def raw(self) -> Any:
        """The driver's collection."""
        return self.client.collection("sessions")

    async def read(self, handles: Iterable[str], **options: Any) -> tuple[Stored, Everybody]:
        """Read documents by handle, and everybody's end, in one query."""
        names = [*dict.fromkeys(handles), documents.EVERYBODY]
        found = {document["_id"]: document for document in await self.all_of({"_id": {"$in": names}}, **options)}
        self.everybody = documents.read_everybody(found.pop(documents.EVERYBODY, None))
        return found, self.everybody

    async def read_shown(self, handles: Iterable[str]) -> tuple[Stored, Everybody]:
        """Read documents without their values."""
        return await self.read(handles, projection=documents.SHOWN)

    async def ask_everybody(self) -> Everybody:
        """Read everybody's end."""
        return (await self.read([]))[1]

    async def all_of(self, query: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Return every document that a query finds."""
        return await self.client.all_of("sessions", query, **options)

    async def list_of(self, query: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
        """As ``all_of``, for lists, whose time is limited on the server too."""
        return await self.client.list_of("sessions", query, **options)

    async def write(self, writes: Sequence[Any]) -> tuple[dict[int, dict[str, Any]], int]:
        """Send one bulk write. Return the refusals by position, and how many updates found their document."""
        try:
            done = await translated(lambda: self.raw.bulk_write(writes, ordered=False))
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise StoreUnavailable("mongodb", "a write has not reached the majority") from None
            refused = {item["index"]: item for item in error.details["writeErrors"]}
            return refused, int(error.details["nMatched"])
        return {}, int(done.matched_count)

    async def update_all(self, query: dict[str, Any], update: dict[str, Any], **options: Any) -> None:
        """Update every document that a query finds."""
        await translated(lambda: self.raw.update_many(query, update, **options))
