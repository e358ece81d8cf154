"""``sqlite://``: documents in tables of an SQLite file, which may be that of the sessions.

It must not know the tables of others; the file and its threads are shared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files
from typing import Any

from typing_extensions import override

from tornado_sessions.drivers.sqlite import Database, database_path
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import (
    MAX_PAGE,
    Document,
    DocumentStore,
    LogEntry,
    LogQuery,
    NameTaken,
    Tallies,
    outdated,
    tally_of,
)

__all__ = ["SQLiteDocuments"]

#: A released version is never edited; the next one is added behind it.
_MIGRATIONS = ((files(__package__ or "") / "schema.sql").read_text("utf8").split(";\n\n"),)


class SQLiteDocuments(DocumentStore):
    """Documents in an SQLite file.

    Args:
        database: the file, with the schema of documents.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def from_url(cls, url: str, beside: object) -> SQLiteDocuments:
        """Make the store in the file that ``sqlite:///path`` names. Raises ``ConfigError``."""
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
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        return await self.database.write(lambda connection: _put(connection, kind, document, tags, names))

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        return await self.database.write(lambda connection: _delete(connection, kind, key, revision))

    @override
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        # CROSS JOIN keeps the order of the tables: along the tag's index, which is in the order of the page.
        source = "document_tags t CROSS JOIN stored_documents d USING (kind, key)" if tag else "stored_documents d"
        index = "t" if tag else "d"
        # A key that is damaged text is listed like any other, and pages go on behind it: hence the bytes.
        where = f"{index}.kind = ? {'AND t.tag = ?' if tag else ''} AND {index}.key > CAST(? AS TEXT)"
        sql = f"""SELECT d.key, d.revision, d.body FROM {source}
            WHERE {where} AND typeof({index}.key) = 'text' ORDER BY {index}.key LIMIT ?"""
        values = (kind, *([tag] if tag else []), after.encode("utf-8", "surrogateescape"), limit)
        found = await self.database.browse(lambda connection: connection.execute(sql, values).fetchall())
        return [Document.checked(_text(key), revision, body) for key, revision, body in found]

    @override
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        return await self.database.write(lambda connection: _append(connection, number, body, at, tags))

    @override
    async def complete(self, number: int, outcome: bytes) -> None:
        sql = "UPDATE log_entries SET outcome = ? WHERE number = ? AND outcome = x''"
        await self.database.write(lambda connection: connection.execute(sql, (outcome, number)).rowcount)

    @override
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        sql, values = _select(query)
        found = await self.database.browse(lambda connection: connection.execute(sql, values).fetchall())
        return [LogEntry.checked(*row) for row in found]

    @override
    async def forget(self, before: float, limit: int) -> int:
        return await self.database.write(lambda connection: _forget(connection, before, limit))

    @override
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        rows = [(minute, name, count) for (minute, name), count in tallies.items()]
        await self.database.write(lambda connection: _add(connection, rows, forget_before))

    @override
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        chosen = f" AND name IN ({_marks(names)})" if names else ""
        sql = f"SELECT minute, name, count FROM tallies_by_minute WHERE minute >= ? AND minute < ?{chosen}"
        values = (minutes.start, minutes.stop, *names)
        found = await self.database.browse(lambda connection: connection.execute(sql, values).fetchall())
        return {place: count for row in found for place, count in tally_of(*row).items()}


def _text(stored: str | bytes) -> str:
    """The text of a column; where it is not UTF-8, the worker gives its bytes."""
    return stored if isinstance(stored, str) else stored.decode("utf-8", "surrogateescape")


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _refuse_former_layout(connection: sqlite3.Connection) -> None:
    """Accounts of the former layout cannot be read; passing for empty, their server would offer to make a first operator."""
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'accounts'"
    if connection.execute(table).fetchone() and connection.execute("SELECT 1 FROM accounts LIMIT 1").fetchone():
        raise StoreMismatch(
            "sqlite", "the accounts in this file have the layout of an earlier version; use another file"
        )


def _put(
    connection: sqlite3.Connection, kind: str, document: Document, tags: Sequence[str], names: Sequence[str]
) -> bool:
    key, revision, body = document.key, document.revision, document.body
    # One writer at a time, so what is free here is still free at the insert below.
    stored = connection.execute(
        "SELECT revision FROM stored_documents WHERE kind = ? AND key = ?", (kind, key)
    ).fetchone()
    if (stored[0] if stored else 0) != revision - 1:
        return False
    taken = f"SELECT 1 FROM document_names WHERE kind = ? AND key <> ? AND name IN ({_marks(names)})"
    if names and connection.execute(taken, (kind, key, *names)).fetchone():
        raise NameTaken
    _unlink(connection, kind, key)
    connection.execute("INSERT OR REPLACE INTO stored_documents VALUES (?, ?, ?, ?)", (kind, key, revision, body))
    connection.executemany("INSERT OR IGNORE INTO document_tags VALUES (?, ?, ?)", [(kind, tag, key) for tag in tags])
    connection.executemany("INSERT OR IGNORE INTO document_names VALUES (?, ?, ?)", [(kind, n, key) for n in names])
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


def _append(connection: sqlite3.Connection, number: int, body: bytes, at: float, tags: Sequence[str]) -> bool:
    last = connection.execute("SELECT max(number) FROM log_entries").fetchone()[0] or 0
    if number != last + 1:
        return False
    connection.execute("INSERT INTO log_entries (number, at, body) VALUES (?, ?, ?)", (number, at, body))
    connection.executemany("INSERT OR IGNORE INTO log_tags VALUES (?, ?)", [(tag, number) for tag in tags])
    return True


def _select(query: LogQuery) -> tuple[str, list[Any]]:
    """The statement of a query: along the index of its first tag, else along the numbers."""
    source, column, where, values = "log_entries e", "e.number", [], list[Any]()
    if query.tags:
        source, column = "log_tags t CROSS JOIN log_entries e USING (number)", "t.number"
        where, values = ["t.tag = ?"], [query.tags[0]]
    for tag in query.tags[1:]:
        where.append("EXISTS (SELECT 1 FROM log_tags WHERE tag = ? AND number = e.number)")
        values.append(tag)
    # Found by the index of times, so that a look at the last days does not walk through all years.
    since = f"{column} >= (SELECT number FROM log_entries WHERE at >= ? ORDER BY at LIMIT 1)"
    until = "(e.at <= ? OR typeof(e.at) NOT IN ('real', 'integer'))"
    for condition, value in ((f"{column} < ?", query.before), (since, query.since), (until, query.until)):
        if value is not None:
            where.append(condition)
            values.append(value)
    conditions = f"WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT {column}, e.body, e.outcome FROM {source} {conditions} ORDER BY {column} DESC LIMIT ?"
    return sql, [*values, query.limit]


def _forget(connection: sqlite3.Connection, before: float, limit: int) -> int:
    oldest = connection.execute("SELECT number, at FROM log_entries ORDER BY number LIMIT ?", (limit + 1,))
    old = outdated(oldest.fetchall(), before)
    if old:
        for table in ("log_tags", "log_entries"):
            connection.execute(f"DELETE FROM {table} WHERE number <= ?", (old[-1],))
    return len(old)


def _add(connection: sqlite3.Connection, rows: Iterable[tuple[int, str, int]], forget_before: int) -> None:
    connection.execute("DELETE FROM tallies_by_minute WHERE minute < ?", (forget_before,))
    # Adding to text that is no number makes it 0 first: a damaged count starts again.
    connection.executemany(
        """INSERT INTO tallies_by_minute VALUES (?, ?, ?)
        ON CONFLICT (minute, name) DO UPDATE SET count = count + excluded.count""",
        rows,
    )
