"""``redis://``: audit log and tokens beside the accounts. It must not know accounts; only the server and the prefix are shared."""

from __future__ import annotations

import msgspec

from tornado_sessions.admin.stores.base import AdminStore, ApiToken, Entry
from tornado_sessions.stores.redis.client import Client, Script
from tornado_sessions.stores.redis.url import ClientOptions, client_options

__all__ = ["RedisAdminStore"]

_APPEND = Script(__package__, "append_entry.lua")


class RedisAdminStore(AdminStore):
    """Audit log and tokens on a Redis or Valkey server.

    Args:
        options: which, and how.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._client = Client(options)
        base = options.prefix + "{admin}:"
        self._log, self._last, self._done, self._tokens = f"{base}log", f"{base}last", f"{base}done", f"{base}tokens"

    @classmethod
    def from_url(cls, url: str) -> RedisAdminStore:
        """The store that a ``redis…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    async def open(self) -> None:
        """As promised by ``AdminStore.open``."""
        await self._client.open()
        await self._client.read([("HLEN", self._tokens)])

    async def close(self) -> None:
        """As promised by ``AdminStore.close``."""
        await self._client.close()

    async def append(self, entry: Entry) -> int:
        """As promised by ``AdminStore.append``."""
        return int(await self._client.run(_APPEND, [self._log, self._last], [msgspec.json.encode(entry)]))

    async def complete(self, entry_id: int, ended: int) -> None:
        """As promised by ``AdminStore.complete``; kept beside the log, so that no entry is ever written anew."""
        await self._client.write(("HSETNX", self._done, entry_id, ended))

    async def entries(self, before: int | None, limit: int) -> list[Entry]:
        """As promised by ``AdminStore.entries``."""
        if before is None:
            before = int((await self._client.read([("GET", self._last)]))[0] or 0) + 1
        numbers = list(range(before - 1, max(0, before - 1 - limit), -1))
        if not numbers:
            return []
        stored, done = await self._client.read([("HMGET", self._log, *numbers), ("HMGET", self._done, *numbers)])
        found = []
        for number, text, ended in zip(numbers, stored, done, strict=True):
            if text is not None:
                entry = msgspec.structs.replace(msgspec.json.decode(text, type=Entry), id=number)
                found.append(entry if ended is None else msgspec.structs.replace(entry, ended=int(ended)))
        return found

    async def add_token(self, token: ApiToken) -> None:
        """As promised by ``AdminStore.add_token``."""
        await self._client.write(("HSET", self._tokens, token.handle, msgspec.json.encode(token)))

    async def token(self, handle: str) -> ApiToken | None:
        """As promised by ``AdminStore.token``."""
        stored = (await self._client.read([("HGET", self._tokens, handle)]))[0]
        return msgspec.json.decode(stored, type=ApiToken) if stored is not None else None

    async def tokens(self) -> list[ApiToken]:
        """As promised by ``AdminStore.tokens``."""
        stored = (await self._client.read([("HVALS", self._tokens)]))[0]
        found = [msgspec.json.decode(text, type=ApiToken) for text in stored]
        return sorted(found, key=lambda token: token.created_at)

    async def remove_token(self, handle: str) -> bool:
        """As promised by ``AdminStore.remove_token``."""
        return bool((await self._client.write(("HDEL", self._tokens, handle)))[0])
