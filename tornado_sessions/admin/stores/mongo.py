"""``mongodb://``: audit log and tokens beside the accounts. It must not know accounts; only the database is shared."""

from __future__ import annotations

from typing import Any

import msgspec
from pymongo import ReturnDocument

from tornado_sessions.admin.stores.base import AdminStore, ApiToken, Entry
from tornado_sessions.pages import Role
from tornado_sessions.stores.mongo.client import Client, ClientOptions, client_options, translated

__all__ = ["MongoAdminStore"]


class MongoAdminStore(AdminStore):
    """Audit log and tokens in MongoDB.

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
    def _tokens(self) -> Any:
        return self._client.collection("api_tokens")

    async def open(self) -> None:
        """As promised by ``AdminStore.open``."""
        await self._client.open()
        await self._client.ping()

    async def close(self) -> None:
        """As promised by ``AdminStore.close``."""
        await self._client.close()

    async def append(self, entry: Entry) -> int:
        """As promised by ``AdminStore.append``; a number that was taken and not used leaves a gap, never a double."""
        counters = self._client.collection("counters")
        more = {"$inc": {"last": 1}}
        counted = await translated(
            lambda: counters.find_one_and_update(
                {"_id": "audit"}, more, upsert=True, return_document=ReturnDocument.AFTER
            )
        )
        number = int(counted["last"])
        document = {**msgspec.structs.asdict(entry), "_id": number}
        del document["id"]
        await translated(lambda: self._audit.insert_one(document))
        return number

    async def complete(self, entry_id: int, ended: int) -> None:
        """As promised by ``AdminStore.complete``."""
        where = {"_id": entry_id, "ended": None}
        await translated(lambda: self._audit.update_one(where, {"$set": {"ended": ended}}))

    async def entries(self, before: int | None, limit: int) -> list[Entry]:
        """As promised by ``AdminStore.entries``."""
        where = {"_id": {"$lt": before}} if before is not None else {}
        found = await self._client.all_of("audit", where, sort=[("_id", -1)], limit=limit)
        return [Entry(id=document.pop("_id"), **document) for document in found]

    async def add_token(self, token: ApiToken) -> None:
        """As promised by ``AdminStore.add_token``."""
        document = {**msgspec.structs.asdict(token), "role": token.role.value, "_id": token.handle}
        await translated(lambda: self._tokens.insert_one(document))

    async def token(self, handle: str) -> ApiToken | None:
        """As promised by ``AdminStore.token``."""
        found = await translated(lambda: self._tokens.find_one({"_id": handle}))
        return _token(found) if found is not None else None

    async def tokens(self) -> list[ApiToken]:
        """As promised by ``AdminStore.tokens``."""
        return [_token(found) for found in await self._client.all_of("api_tokens", {}, sort=[("created_at", 1)])]

    async def remove_token(self, handle: str) -> bool:
        """As promised by ``AdminStore.remove_token``."""
        done = await translated(lambda: self._tokens.delete_one({"_id": handle}))
        return bool(done.deleted_count)


def _token(found: dict[str, Any]) -> ApiToken:
    fields = {name: value for name, value in found.items() if name != "_id"}
    return ApiToken(**{**fields, "role": Role(fields["role"])})
