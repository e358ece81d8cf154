"""``memory://``: audit log and tokens in lists, for tests and development. They must not outlive the process."""

from __future__ import annotations

import msgspec

from tornado_sessions.admin.stores.base import AdminStore, ApiToken, Entry

__all__ = ["MemoryAdminStore"]


class MemoryAdminStore(AdminStore):
    """Audit log and tokens in memory."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._tokens: dict[str, ApiToken] = {}

    @classmethod
    def from_url(cls, _url: str) -> MemoryAdminStore:
        """An empty store."""
        return cls()

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def append(self, entry: Entry) -> int:
        """As promised by ``AdminStore.append``."""
        number = len(self._entries) + 1
        self._entries.append(msgspec.structs.replace(entry, id=number))
        return number

    async def complete(self, entry_id: int, ended: int) -> None:
        """As promised by ``AdminStore.complete``."""
        self._entries[entry_id - 1] = msgspec.structs.replace(self._entries[entry_id - 1], ended=ended)

    async def entries(self, before: int | None, limit: int) -> list[Entry]:
        """As promised by ``AdminStore.entries``."""
        end = len(self._entries) if before is None else max(0, before - 1)
        return self._entries[max(0, end - limit) : end][::-1]

    async def add_token(self, token: ApiToken) -> None:
        """As promised by ``AdminStore.add_token``."""
        self._tokens[token.handle] = token

    async def token(self, handle: str) -> ApiToken | None:
        """As promised by ``AdminStore.token``."""
        return self._tokens.get(handle)

    async def tokens(self) -> list[ApiToken]:
        """As promised by ``AdminStore.tokens``."""
        return list(self._tokens.values())

    async def remove_token(self, handle: str) -> bool:
        """As promised by ``AdminStore.remove_token``."""
        return self._tokens.pop(handle, None) is not None
