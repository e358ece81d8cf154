"""An SQLite file for an event loop, without blocking it: one thread writes, one reads, one browses.

It must not know the purpose of tables. Sessions and documents each have their own migrations, and may share a file in one
process or several.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import unquote

from tornado_sessions.drivers.sqlite.files import WatchedFile
from tornado_sessions.drivers.sqlite.glance import Glance
from tornado_sessions.drivers.sqlite.worker import Worker
from tornado_sessions.drivers.store_url import StoreUrl
from tornado_sessions.errors import StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Database", "DatabaseOptions", "Migration", "database_path", "read_migrations"]

logger = logging.getLogger("tornado_sessions")

T = TypeVar("T")

#: One version of a schema: the statements that upgrade to it, run in order in one transaction.
Migration = Sequence[str]

# The page cache of each thread, in KiB. With SQLite's default of 2 MiB, ending 1,000 of a million sessions is disk-bound.
_CACHE_KIB = 32 * 1024
# Bytes that the -wal file keeps after a large transaction. Every thousand pages are moved into the database file.
_WAL_KEPT = 16 * 2**20


class DatabaseOptions(NamedTuple):
    """How to open a file.

    Attributes:
        path: relative to the working directory, or absolute.
        synchronous: with ``normal``, commits survive a crash of the process; with ``full``, also one of the machine.
        busy_timeout: how long to wait for another process's lock, in seconds.
    """

    path: str
    synchronous: Literal["normal", "full"] = "normal"
    busy_timeout: float = 4.0


def database_path(url: str) -> DatabaseOptions:
    """Read an SQLite URL.

    Args:
        url: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``, with ``?synchronous=full`` and ``?busy_timeout=seconds``.

    Raises:
        ConfigError: the URL has faults. The message lists all of them.
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
    """Read migrations from the ``.sql`` files of a package, one file per version."""
    return [_statements((files(package) / name).read_text("utf8")) for name in names]


def _statements(script: str) -> Migration:
    """Split a script into statements. Triggers contain semicolons, so let SQLite decide where a statement ends."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return statements


# The disk is full; it or the directory is read-only, among other reasons.
_NO_SHARED_MEMORY = {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_CANTOPEN}
_NEEDS_SPACE = "SQLite must write its files -shm and -wal beside it even to read: is the disk full, or read-only?"


class _Threads:
    """The threads of one file, which run while any component has it open."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.options = options
        self.file = WatchedFile(options.path)
        self.workers: tuple[Worker, Worker, Worker] | None = None
        self._users = 0

    def acquire(self) -> Worker:
        """Start the threads unless they are running; return the writer."""
        if self.workers is None:
            self.file = WatchedFile(self.options.path)
            self.workers = (
                Worker(self._connect_first, self.file, grouped=True),
                Worker(self.connect, self.file, grouped=False),
                Worker(self.connect, self.file, grouped=False),
            )
        self._users += 1
        return self.workers[0]

    async def release(self) -> None:
        """Finish queued jobs and stop the threads, if no other component uses them."""
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
            connection = self.connect()
            # SQLite does not report which file it opened. If the path named the same file before and after, it is that one.
            self.file.remember()
            if self.file.identify()[:1] == before:
                return connection
            connection.close()

    def connect(self) -> sqlite3.Connection:
        """Connect to the existing file; never create it, so that a deleted file is not replaced by an empty one."""
        self.file.check()
        uri, timeout = f"{Path(self.file.path).as_uri()}?mode=rw", self.options.busy_timeout
        connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self.options.synchronous}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
            # SQLite keeps copies of pages to undo a single statement with triggers; in a file, they double its time.
            connection.execute("PRAGMA temp_store = MEMORY")
            # The first read creates the -wal and -shm files, whose identities are recorded next.
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except BaseException as error:
            connection.close()
            if getattr(error, "sqlite_errorcode", None) in _NO_SHARED_MEMORY:
                # After a clean stop there is none, and readers need it, too. Without it ("immutable"), they would not see what
                # another process ends as soon as the disk has space again.
                raise StoreUnavailable("sqlite", f"{self.file.path}: {error}. {_NEEDS_SPACE}") from None
            raise
        return connection


class Database:
    """A file, with the tables of one component.

    Args:
        options: from ``database_path``.
        component: the owner of the tables; each component has its own schema version.
        migrations: one per version, oldest first; a released one is never edited.
        beside: another component of the same file and event loop, to share its threads. SQLite allows only one writer at a
            time, so a second writer thread would only wait; with a shared one, writes of both also share commits.
        refused: the latest version that cannot be upgraded; ``migrations`` start with the next one.
    """

    def __init__(
        self,
        options: DatabaseOptions,
        *,
        component: str,
        migrations: Sequence[Migration],
        beside: Database | None = None,
        refused: int = 0,
    ) -> None:
        self.options = options
        self._component = component
        self._migrations = migrations
        self._refused = refused
        self._newest = refused + len(migrations)
        self._threads: _Threads = beside._threads if beside is not None else _Threads(options)
        self._is_open = False

    async def open(self) -> None:
        """Create the file if it does not exist, and upgrade its schema; do nothing if it is open.

        Raises:
            StoreUnavailable: the file cannot be opened or written.
            StoreMismatch: it is not an SQLite file, or a newer version of this package has written it.
        """
        if self._is_open:
            return
        writer = self._threads.acquire()
        try:
            await self._upgrade(writer)
        except BaseException:
            await self._threads.release()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finish queued jobs, then close the file; do nothing if it is closed."""
        if self._is_open:
            self._is_open = False
            await self._threads.release()

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a write transaction; return its result after the commit.

        Functions that wait at the same time share a commit; one that raises undoes only its own writes. A function may run
        twice, so it must have no effects outside the connection.

        Raises:
            StoreUnavailable: the file is locked, full or read-only, or was deleted or replaced before the commit ended.
        """
        return await self._worker(0).run(function)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read-only function outside any transaction; raise ``StoreUnavailable`` if the file cannot be read."""
        return await self._worker(1).run(function)

    async def browse(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read-only function in another thread than ``read``: for slow lists and counts, which must not delay requests."""
        return await self._worker(2).run(function)

    async def glance(self) -> Glance:
        """Connect for short reads on the event loop's thread. The caller closes the connection before this database."""
        threads = self._threads
        return Glance(await self.read(lambda _: threads.connect()), threads.file)

    async def ping(self, sql: str) -> None:
        """Run a query, then check all files of the database; raise ``StoreUnavailable`` if either fails."""

        def look(connection: sqlite3.Connection) -> None:
            connection.execute(sql).fetchone()
            self._threads.file.check()

        await self.read(look)

    def _worker(self, number: int) -> Worker:
        if not self._is_open or self._threads.workers is None:
            raise StoreUnavailable("sqlite", "the store is closed")
        return self._threads.workers[number]

    async def _upgrade(self, writer: Worker) -> None:
        """Upgrade the schema. A file that is up to date can be opened even if it cannot be written."""
        try:
            await writer.run(self._migrate)
        except StoreUnavailable as error:
            reader = self._threads.workers[1] if self._threads.workers is not None else writer
            with suppress(StoreError):
                if await reader.run(self._version) == self._newest:
                    logger.warning("%s; it can be read but not written", error)
                    return
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_versions'").fetchone() is None:
            return 0
        sql = "SELECT version FROM schema_versions WHERE component = ?"
        found = connection.execute(sql, (self._component,)).fetchone()
        return int(found[0]) if found else 0

    def _migrate(self, connection: sqlite3.Connection) -> None:
        # This runs in the writer's transaction: of several processes that start at once, one migrates and the others wait.
        version, newest = self._version(connection), self._newest
        if version > newest:
            raise StoreMismatch("sqlite", f"{self.options.path} was written by a newer version; update this one")
        if 0 < version <= self._refused:
            raise StoreMismatch(
                "sqlite",
                f"{self.options.path} has the layout of an earlier version; move it away, and a new file is created",
            )
        if version == newest:
            # Write nothing: the disk may be full.
            return
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )
        for statements in self._migrations[max(0, version - self._refused) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (self._component, newest))
