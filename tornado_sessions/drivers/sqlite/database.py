"""An SQLite file that an event loop can use without blocking: one thread writes, one reads, one browses.

It must not know what tables are for. Sessions and documents each bring their own migrations and may share a file, in one process or
several.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import unquote

from tornado_sessions.drivers.sqlite.files import WatchedFile
from tornado_sessions.drivers.sqlite.worker import Worker
from tornado_sessions.drivers.store_url import StoreUrl
from tornado_sessions.errors import StoreMismatch, StoreUnavailable

__all__ = ["Database", "DatabaseOptions", "Migration", "database_path", "read_migrations"]

T = TypeVar("T")

#: What one version adds to the schema: statements, run in order in one transaction.
Migration = Sequence[str]

# Cache of each thread, in KiB. With SQLite's default of 2 MiB, ending a thousand sessions of a million searches the disk.
_CACHE_KIB = 32 * 1024


class DatabaseOptions(NamedTuple):
    """How to open a file.

    Attributes:
        path: relative to the working directory, or absolute.
        synchronous: ``normal`` survives the death of the process, ``full`` that of the machine as well.
        busy_timeout: seconds to wait for another process's lock.
    """

    path: str
    synchronous: Literal["normal", "full"] = "normal"
    busy_timeout: float = 4.0


def database_path(url: str) -> DatabaseOptions:
    """Read an SQLite URL.

    Args:
        url: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``, with ``?synchronous=full`` and ``?busy_timeout=seconds``.

    Raises:
        ConfigError: lists every fault.
    """
    read = StoreUrl(url, ("synchronous", "busy_timeout"))
    path = unquote(read.parts.path)[1:]
    if read.parts.netloc:
        read.faults.append("write sqlite:///relative/path or sqlite:////absolute/path")
    elif not path or path == ":memory:" or "\0" in path:
        read.faults.append("a file is needed; for sessions in memory use memory://")
    synchronous = read.choice("synchronous", ("normal", "full"), "normal")
    busy_timeout = read.number("busy_timeout", 0, 60, 4.0)
    read.raise_faults()
    return DatabaseOptions(path, synchronous, busy_timeout)  # type: ignore[arg-type]


def read_migrations(package: str, *names: str) -> list[Migration]:
    """Read migrations from a package's ``.sql`` files, one file for each version."""
    return [_statements((files(package) / name).read_text("utf8")) for name in names]


def _statements(script: str) -> Migration:
    """Cut a script into its statements; a trigger contains semicolons, so SQLite says where one ends."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return statements


class _Threads:
    """The threads of one file; they run while any component has it open."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.options = options
        self.file = WatchedFile(options.path)
        self.workers: tuple[Worker, Worker, Worker] | None = None
        self._users = 0

    def acquire(self) -> Worker:
        """Start the threads unless they run; return the one that writes."""
        if self.workers is None:
            self.file = WatchedFile(self.options.path)
            self.workers = (
                Worker(self._connect_first, self.file, grouped=True),
                Worker(self._connect, self.file, grouped=False),
                Worker(self._connect, self.file, grouped=False),
            )
        self._users += 1
        return self.workers[0]

    async def release(self) -> None:
        """Finish what was accepted, and stop the threads when no component uses them."""
        self._users -= 1
        if self._users == 0 and self.workers is not None:
            workers, self.workers = self.workers, None
            for worker in workers:
                await worker.stop()

    def _connect_first(self) -> sqlite3.Connection:
        """Create the file unless it exists, connect, and remember its identity."""
        self.file.create()
        while True:
            before = self.file.identify()[:1]
            connection = self._connect()
            # SQLite does not say which file it opened; it is the one that was there before and after.
            self.file.remember()
            if self.file.identify()[:1] == before:
                return connection
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        """Connect to an existing file, so that a deleted one is never replaced by an empty one."""
        self.file.check()
        uri, timeout = f"{Path(self.file.path).as_uri()}?mode=rw", self.options.busy_timeout
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self.options.synchronous}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # The first read opens the files beside the database, whose identity is remembered next.
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection


class Database:
    """A file, with the tables of one component.

    Args:
        options: from ``database_path``.
        component: owner of the tables; each component has a schema version of its own.
        migrations: one for each version, oldest first. A released one is never edited.
        beside: another component of the same file, in the same event loop, whose threads to share. SQLite admits one writer at a
            time, so a second thread would only wait for the first; shared, their writes also share commits.
    """

    def __init__(
        self,
        options: DatabaseOptions,
        *,
        component: str,
        migrations: Sequence[Migration],
        beside: Database | None = None,
    ) -> None:
        self.options = options
        self._component = component
        self._migrations = migrations
        self._threads: _Threads = beside._threads if beside is not None else _Threads(options)
        self._is_open = False

    async def open(self) -> None:
        """Create the file if it does not exist, and bring its schema up to date; does nothing when open.

        Raises:
            StoreUnavailable: the file cannot be opened or written.
            StoreMismatch: it is no SQLite file, or a newer version of this package has written it.
        """
        if self._is_open:
            return
        writer = self._threads.acquire()
        try:
            await writer.run(self._migrate)
        except BaseException:
            await self._threads.release()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finish what was accepted, then close the file; does nothing when closed."""
        if self._is_open:
            self._is_open = False
            await self._threads.release()

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function inside a write transaction, and return once it is committed.

        Functions that wait at the same time share a commit. One that raises undoes only itself. A function may run twice, so it
        does nothing but use the connection.

        Raises:
            StoreUnavailable: locked, full or read-only; or the file was deleted or replaced, before or during the commit.
        """
        return await self._worker(0).run(function)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that only reads, outside any transaction. Raises ``StoreUnavailable``."""
        return await self._worker(1).run(function)

    async def browse(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Do as ``read`` in another thread: for lists and counts, so that requests do not wait for them."""
        return await self._worker(2).run(function)

    async def ping(self, sql: str) -> None:
        """Run a query, then check every file of the database. Raises ``StoreUnavailable``."""

        def look(connection: sqlite3.Connection) -> None:
            connection.execute(sql).fetchone()
            self._threads.file.check()

        await self.read(look)

    def _worker(self, number: int) -> Worker:
        if not self._is_open or self._threads.workers is None:
            raise StoreUnavailable("sqlite", "the store is closed")
        return self._threads.workers[number]

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )
        sql = "SELECT version FROM schema_versions WHERE component = ?"
        found = connection.execute(sql, (self._component,)).fetchone()
        version, newest = (found[0] if found else 0), len(self._migrations)
        if version > newest:
            raise StoreMismatch("sqlite", f"{self.options.path} was written by a newer version; update this one")
        for statements in self._migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (self._component, newest))
