"""``sqlite://``: documents in their own tables of an SQLite file, which may be the file of the sessions.

It must not know other tables, which only share the file and its threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from typing_extensions import override

from tornado_sessions.drivers.sqlite import Database, database_path, read_migrations
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import MAX_PAGE, Count, Document, DocumentStore, Links, NameTaken, Total

__all__ = ["SQLiteDocuments"]

#: One migration per version. A released one is never edited.
_MIGRATIONS = read_migrations(__package__ or "", "schema.sql", "schema_counts.sql", "schema_logs.sql")


class SQLiteDocuments(DocumentStore):
    """Documents in an SQLite file.

    Args:
        database: the file, with the schema of documents.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: str, beside: object) -> SQLiteDocuments:
        """Return the store for ``sqlite:///path``; raise ``ConfigError`` if the URL has faults."""
        options = database_path(url)
        shared = beside if isinstance(beside, Database) and beside.options == options else None
        return cls(Database(options, component="documents", migrations=_MIGRATIONS, beside=shared))

    @override
    async def open(self) -> None:
        await self.database.open()
        try:
            await self.database.read(_refuse_former_layout)
        except BaseException:
            await self.close()
            raise

    @override
    async def close(self) -> None:
        await self.database.close()

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        sql = "SELECT key, revision, body FROM stored_documents WHERE kind = ? AND key = ?"
        found = await self.database.read(lambda connection: connection.execute(sql, (kind, key)).fetchone())
        return Document.checked(*found) if found is not None else None

    @override
    async def links(self, kind: str, key: str) -> Links:
        def found(connection: sqlite3.Connection, table: str, column: str) -> list[str]:
            sql = f"SELECT {column} FROM {table} WHERE kind = ? AND key = ?"
            return [word for (word,) in connection.execute(sql, (kind, key))]

        return await self.database.read(
            lambda connection: Links(
                found(connection, "document_tags", "tag"), found(connection, "document_names", "name")
            )
        )

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        return await self.database.write(lambda connection: _put(connection, kind, document, tags, names))

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        return await self.database.write(lambda connection: _delete(connection, kind, key, revision))

    @override
    async def forget(self, kind: str, through: str) -> int:
        return await self.database.write(lambda connection: _forget(connection, kind, through))

    @override
    async def page(
        self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE, backwards: bool = False
    ) -> list[Document]:
        # CROSS JOIN keeps SQLite from reordering the tables: it must read the index of the tag, which has the page's order.
        source, index = "stored_documents d", "d"
        if tag:
            source, index = "document_tags t CROSS JOIN stored_documents d USING (kind, key)", "t"
        where, values = f"{index}.kind = ? AND typeof({index}.key) = 'text'", [kind]
        if tag:
            where, values = f"{where} AND t.tag = ?", [kind, tag]
        if after:
            where += f" AND {index}.key {'<' if backwards else '>'} CAST(? AS TEXT)"
        # A key that is not UTF-8 is listed like any other. The next page starts after it, so bind its bytes.
        bounds = [after.encode("utf-8", "surrogateescape")] if after else []
        order = f"ORDER BY {index}.key {'DESC' if backwards else ''} LIMIT ?"
        sql = f"SELECT d.key, d.revision, d.body FROM {source} WHERE {where} {order}"
        found = await self.database.browse(
            lambda connection: connection.execute(sql, (*values, *bounds, limit)).fetchall()
        )
        return [Document.checked(_text(key), revision, body) for key, revision, body in found]

    @override
    async def count(self, counts: Sequence[Count], now: float) -> list[Total]:
        if not any(count.amount for count in counts):
            # A reader waits for no writer, and a flood that only reads writes nothing.
            return await self.database.read(lambda connection: [_total(connection, count, now) for count in counts])
        return await self.database.write(lambda connection: _count(connection, counts, now))


def _total(connection: sqlite3.Connection, count: Count, now: float) -> Total:
    sql = "SELECT amount, ends_at FROM stored_counts WHERE key = ? AND ends_at > ?"
    found = connection.execute(sql, (count.key, now)).fetchone()
    return Total(*found) if found is not None else Total(0, now + count.seconds)


def _count(connection: sqlite3.Connection, counts: Sequence[Count], now: float) -> list[Total]:
    ended = "SELECT key FROM stored_counts WHERE ends_at <= ? LIMIT ?"
    # Each write removes more than it can add, so that the table stays small without a task of its own.
    connection.execute(f"DELETE FROM stored_counts WHERE key IN ({ended})", (now, 2 * len(counts)))
    totals = []
    for count in counts:
        total = _total(connection, count, now)
        total = total._replace(amount=max(0, total.amount + count.amount))
        if count.amount:
            connection.execute("INSERT OR REPLACE INTO stored_counts VALUES (?, ?, ?)", (count.key, *total))
        totals.append(total)
    return totals


def _text(stored: str | bytes) -> str:
    """Return a column as text. The worker returns bytes if it is not UTF-8."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def _refuse_former_layout(connection: sqlite3.Connection) -> None:
    """Refuse accounts in the former layout: reading none, the server would offer a stranger to create the first operator."""
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'accounts'"
    if connection.execute(table).fetchone() and connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchone():
        raise StoreMismatch(
            "sqlite", "the accounts in this file have the layout of an earlier version; use another file"
        )


def _put(
    connection: sqlite3.Connection, kind: str, document: Document, tags: Sequence[str], names: Sequence[str]
) -> bool:
    key, revision, body = document.key, document.revision, document.body
    # Only one transaction writes at a time, so names that are free here are still free at the insert below.
    sql = "SELECT revision FROM stored_documents WHERE kind = ? AND key = ?"
    stored = connection.execute(sql, (kind, key)).fetchone()
    if (stored[0] if stored else 0) != revision - 1:
        return False
    sql = f"SELECT name FROM document_names WHERE kind = ? AND key <> ? AND name IN ({', '.join('?' * len(names))})"
    if names and (taken := connection.execute(sql, (kind, key, *names)).fetchone()):
        raise NameTaken(taken[0])
    _unlink(connection, kind, key)
    connection.execute("INSERT OR REPLACE INTO stored_documents VALUES (?, ?, ?, ?)", (kind, key, revision, body))
    for table, words in (("document_tags", tags), ("document_names", names)):
        rows = [(kind, word, key) for word in words]
        connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", rows)
    return True


def _unlink(connection: sqlite3.Connection, kind: str, key: str) -> None:
    for table in ("document_tags", "document_names"):
        connection.execute(f"DELETE FROM {table} WHERE kind = ? AND key = ?", (kind, key))


def _delete(connection: sqlite3.Connection, kind: str, key: str, revision: int | None) -> bool:
    sql = "DELETE FROM stored_documents WHERE kind = ?1 AND key = ?2 AND (?3 IS NULL OR revision = ?3)"
    if connection.execute(sql, (kind, key, revision)).rowcount == 0:
        return False
    _unlink(connection, kind, key)
    return True


def _forget(connection: sqlite3.Connection, kind: str, through: str) -> int:
    # The triggers of a log let only the entries go that this row names.
    connection.execute("UPDATE document_logs SET forgotten = ?2 WHERE kind = ?1 AND forgotten < ?2", (kind, through))
    found = "kind = ? AND key <= ?"
    for table in ("document_tags", "document_names"):
        connection.execute(f"DELETE FROM {table} WHERE {found}", (kind, through))
    return connection.execute(f"DELETE FROM stored_documents WHERE {found}", (kind, through)).rowcount
