"""``sqlite://``: the dashboard's data in the accounts' file. It must not know accounts; only the file is shared."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from tornado_sessions.damage import lenient_text
from tornado_sessions.drivers.sqlite import Database, DatabaseOptions, database_path
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

__all__ = ["SQLiteAdminStore"]

_MIGRATIONS = (
    (
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, user TEXT NOT NULL, ip TEXT NOT NULL,
            act TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, ended INTEGER,
            previous TEXT NOT NULL, hash TEXT NOT NULL, seal TEXT NOT NULL)""",
        "CREATE INDEX audit_by_actor ON audit (actor, id)",
        "CREATE INDEX audit_by_user ON audit (user, id)",
        "CREATE INDEX audit_by_act ON audit (act, id)",
        "CREATE INDEX audit_by_time ON audit (at)",
        """CREATE TABLE documents (
            kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
            PRIMARY KEY (kind, key)) WITHOUT ROWID""",
        """CREATE TABLE tallies (
            minute INTEGER NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (minute, name)) WITHOUT ROWID""",
    ),
)
_ENTRY = Entry.__struct_fields__
_SELECT = f"SELECT {', '.join(_ENTRY)} FROM audit"


class SQLiteAdminStore(AdminStore):
    """The dashboard's data in an SQLite file.

    Args:
        options: which file, and how.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._database = Database(options, component="dashboard", migrations=_MIGRATIONS)

    @classmethod
    def from_url(cls, url: str) -> SQLiteAdminStore:
        """The store in the file that ``sqlite:///path`` names. Raises ``ConfigError``."""
        return cls(database_path(url))

    @override
    async def open(self) -> None:
        await self._database.open()

    @override
    async def close(self) -> None:
        await self._database.close()

    @override
    async def append(self, entry: Entry) -> bool:
        return await self._database.write(lambda connection: _append(connection, entry))

    @override
    async def complete(self, entry_id: int, ended: int, seal: str) -> None:
        sql = "UPDATE audit SET ended = ?, seal = ? WHERE id = ? AND ended IS NULL"
        await self._database.write(lambda connection: connection.execute(sql, (ended, seal, entry_id)).rowcount)

    @override
    async def entries(self, query: AuditQuery) -> list[Entry]:
        return await self._database.browse(lambda connection: _entries(connection, query))

    @override
    async def forget_entries(self, before: float, limit: int) -> int:
        return await self._database.write(lambda connection: _forget(connection, before, limit))

    @override
    async def documents(self, kind: str) -> list[Document]:
        sql = "SELECT key, revision, body FROM documents WHERE kind = ? ORDER BY key"
        found = await self._database.read(lambda connection: _rows(connection, sql, (kind,)))
        return [document_of(*row) for row in found if isinstance(row[0], str)]

    @override
    async def document(self, kind: str, key: str) -> Document | None:
        sql = "SELECT key, revision, body FROM documents WHERE kind = ? AND key = ?"
        found = await self._database.read(lambda connection: _rows(connection, sql, (kind, key)))
        return document_of(*found[0]) if found else None

    @override
    async def put(self, kind: str, document: Document) -> bool:
        key, revision, body = document.key, document.revision, document.body
        sql = "UPDATE documents SET revision = ?, body = ? WHERE kind = ? AND key = ? AND revision = ?"
        values: tuple[Any, ...] = (revision, body, kind, key, revision - 1)
        if revision == 1:
            sql, values = "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?)", (kind, key, revision, body)
        return await self._database.write(lambda connection: connection.execute(sql, values).rowcount == 1)

    @override
    async def remove(self, kind: str, key: str) -> bool:
        sql = "DELETE FROM documents WHERE kind = ? AND key = ?"
        return await self._database.write(lambda connection: connection.execute(sql, (kind, key)).rowcount == 1)

    @override
    async def add_tallies(self, tallies: Tallies, forget_before: int) -> None:
        rows = [(minute, name, count) for (minute, name), count in tallies.items()]
        await self._database.write(lambda connection: _add_tallies(connection, rows, forget_before))

    @override
    async def tallies(self, since: int) -> Tallies:
        sql = "SELECT minute, name, count FROM tallies WHERE minute >= ?"
        found = await self._database.browse(lambda connection: _rows(connection, sql, (since,)))
        return {name: count for row in found for name, count in tally_of(*row).items()}


def _rows(connection: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    connection.text_factory = lenient_text
    return connection.execute(sql, values).fetchall()


def _append(connection: sqlite3.Connection, entry: Entry) -> bool:
    last = connection.execute("SELECT max(id) FROM audit").fetchone()[0] or 0
    if entry.id != last + 1:
        return False
    marks = ", ".join("?" * len(_ENTRY))
    connection.execute(f"INSERT INTO audit VALUES ({marks})", tuple(getattr(entry, name) for name in _ENTRY))
    return True


def _forget(connection: sqlite3.Connection, before: float, limit: int) -> int:
    oldest = _rows(connection, "SELECT id, at FROM audit ORDER BY id LIMIT ?", (limit + 1,))
    old = aged(oldest, before)
    if old:
        connection.execute("DELETE FROM audit WHERE id <= ?", (old[-1],))
    return len(old)


def _entries(connection: sqlite3.Connection, query: AuditQuery) -> list[Entry]:
    where, values = ["id < ?"], [query.before if query.before is not None else 2**62]
    # By its index of times, so that a look at the last days does not walk through all years.
    since = "id >= (SELECT id FROM audit WHERE at >= ? ORDER BY at LIMIT 1)"
    for condition, value in (("act = ?", query.act or None), (since, query.since), ("at <= ?", query.until)):
        if value is not None:
            where.append(condition)
            values.append(value)  # type: ignore[arg-type]
    conditions = " AND ".join(where)
    if not query.who:
        sql = f"{_SELECT} WHERE {conditions} ORDER BY id DESC LIMIT ?"
        return [_entry(row) for row in _rows(connection, sql, (*values, query.limit))]
    # Each half is read along its own index, and neither further than the page.
    found: dict[int, Entry] = {}
    for column in ("actor", "user"):
        sql = f"{_SELECT} WHERE {column} = ? AND {conditions} ORDER BY id DESC LIMIT ?"
        for row in _rows(connection, sql, (query.who, *values, query.limit)):
            found[row[0]] = _entry(row)
    return [found[number] for number in sorted(found, reverse=True)][: query.limit]


def _entry(row: tuple[Any, ...]) -> Entry:
    return entry_of(row[0], dict(zip(_ENTRY, row, strict=True)))


def _add_tallies(connection: sqlite3.Connection, rows: list[tuple[int, str, int]], forget_before: int) -> None:
    connection.execute("DELETE FROM tallies WHERE minute < ?", (forget_before,))
    connection.executemany(
        "INSERT INTO tallies VALUES (?, ?, ?) ON CONFLICT (minute, name) DO UPDATE SET count = count + excluded.count",
        rows,
    )
