"""``sqlite://``: audit log and tokens in the accounts' file. It must not know accounts; only the file is shared."""

from __future__ import annotations

import sqlite3
from typing import Any

from tornado_sessions.admin.stores.base import AdminStore, ApiToken, Entry
from tornado_sessions.pages import Role
from tornado_sessions.stores.sqlite.database import Database, DatabaseOptions, database_path

__all__ = ["SQLiteAdminStore"]

_MIGRATIONS = (
    (
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, ip TEXT NOT NULL,
            act TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, ended INTEGER)""",
        """CREATE TABLE api_tokens (
            handle TEXT PRIMARY KEY, name TEXT NOT NULL, secret_hash BLOB NOT NULL, role TEXT NOT NULL,
            created_at REAL NOT NULL)""",
    ),
    ("ALTER TABLE api_tokens ADD COLUMN expires_at REAL",),
)
_TOKEN = ("name", "handle", "secret_hash", "role", "created_at", "expires_at")
_ENTRY = ("id", "at", "actor", "ip", "act", "target", "reason", "ended")


class SQLiteAdminStore(AdminStore):
    """Audit log and tokens in an SQLite file.

    Args:
        options: which file, and how.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._database = Database(options, component="admin", migrations=_MIGRATIONS)

    @classmethod
    def from_url(cls, url: str) -> SQLiteAdminStore:
        """The store in the file that ``sqlite:///path`` names. Raises ``ConfigError``."""
        return cls(database_path(url))

    async def open(self) -> None:
        """As promised by ``AdminStore.open``."""
        await self._database.open()

    async def close(self) -> None:
        """As promised by ``AdminStore.close``."""
        await self._database.close()

    async def append(self, entry: Entry) -> int:
        """As promised by ``AdminStore.append``."""
        values = tuple(getattr(entry, name) for name in _ENTRY[1:])
        sql = f"INSERT INTO audit ({', '.join(_ENTRY[1:])}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        return await self._database.write(lambda connection: connection.execute(sql, values).lastrowid or 0)

    async def complete(self, entry_id: int, ended: int) -> None:
        """As promised by ``AdminStore.complete``."""
        sql = "UPDATE audit SET ended = ? WHERE id = ? AND ended IS NULL"
        await self._database.write(lambda connection: connection.execute(sql, (ended, entry_id)).rowcount)

    async def entries(self, before: int | None, limit: int) -> list[Entry]:
        """As promised by ``AdminStore.entries``."""
        return await self._database.read(lambda connection: _entries(connection, before, limit))

    async def add_token(self, token: ApiToken) -> None:
        """As promised by ``AdminStore.add_token``."""
        values = tuple(getattr(token, name) for name in _TOKEN)
        sql = f"INSERT INTO api_tokens ({', '.join(_TOKEN)}) VALUES (?, ?, ?, ?, ?, ?)"
        await self._database.write(lambda connection: connection.execute(sql, values).rowcount)

    async def token(self, handle: str) -> ApiToken | None:
        """As promised by ``AdminStore.token``."""
        sql = f"SELECT {', '.join(_TOKEN)} FROM api_tokens WHERE handle = ?"
        row = await self._database.read(lambda connection: connection.execute(sql, (handle,)).fetchone())
        return _token(row) if row is not None else None

    async def tokens(self) -> list[ApiToken]:
        """As promised by ``AdminStore.tokens``."""
        sql = f"SELECT {', '.join(_TOKEN)} FROM api_tokens ORDER BY created_at"
        found = await self._database.read(lambda connection: connection.execute(sql).fetchall())
        return [_token(row) for row in found]

    async def remove_token(self, handle: str) -> bool:
        """As promised by ``AdminStore.remove_token``."""
        sql = "DELETE FROM api_tokens WHERE handle = ?"
        return await self._database.write(lambda connection: connection.execute(sql, (handle,)).rowcount == 1)


def _token(row: tuple[Any, ...]) -> ApiToken:
    fields = dict(zip(_TOKEN, row, strict=True))
    return ApiToken(**{**fields, "role": Role(fields["role"])})


def _entries(connection: sqlite3.Connection, before: int | None, limit: int) -> list[Entry]:
    found = connection.execute(
        f"SELECT {', '.join(_ENTRY)} FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?", (before or 2**62, limit)
    )
    return [Entry(**dict(zip(_ENTRY, row, strict=True))) for row in found]
