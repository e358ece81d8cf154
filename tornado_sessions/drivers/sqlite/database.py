"""One SQLite file, used from an event loop without blocking it: a thread that writes, one that reads, one that browses.

It must not know what tables are for. Sessions and documents each bring their own migrations and may share one file, in one
process or several.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tornado_sessions.drivers.sqlite.files import WatchedFile
from tornado_sessions.drivers.sqlite.worker import Worker
from tornado_sessions.errors import ConfigError, StoreMismatch, StoreUnavailable

__all__ = ["Database", "DatabaseOptions", "Migration", "database_path"]

T = TypeVar("T")

#: What one version adds to the schema: statements, run in order in one transaction.
Migration = Sequence[str]

# Pages that each thread keeps at hand: the default of 2 MiB makes ending a thousand sessions of a million a search on the disk.
_CACHE_KIB = 32 * 1024


class DatabaseOptions(NamedTuple):
    """What a URL says of a file.

    Attributes:
        path: the file; relative to the working directory, or absolute.
        synchronous: ``normal`` survives the death of the process, ``full`` that of the machine as well.
        busy_timeout: seconds to wait for another process's lock.
    """

    path: str
    synchronous: Literal["normal", "full"] = "normal"
    busy_timeout: float = 4.0


def database_path(url: str) -> DatabaseOptions:
    """Read ``sqlite:///relative/path`` or ``sqlite:////absolute/path``, with ``?synchronous=full`` and ``?busy_timeout=seconds``.

    Raises:
        ConfigError: lists everything that is wrong with the URL.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    faults = [f"{url}: there is no option {name!r}" for name in given.keys() - {"synchronous", "busy_timeout"}]
    if parts.netloc:
        faults.append(f"{url}: write sqlite:///relative/path or sqlite:////absolute/path")
    elif not path or path == ":memory:" or "\0" in path:
        faults.append(f"{url}: a file is needed; for sessions in memory use memory://")
    synchronous = given.get("synchronous", "normal")
    if synchronous not in ("normal", "full"):
        faults.append(f"{url}: synchronous is 'normal' or 'full'")
    try:
        busy_timeout = float(given.get("busy_timeout", 4.0))
    except ValueError:
        busy_timeout = -1
    if not 0 <= busy_timeout <= 60:
        faults.append(f"{url}: busy_timeout is a number of seconds up to 60")
    if faults:
        raise ConfigError(*faults)
    return DatabaseOptions(path, synchronous, busy_timeout)  # type: ignore[arg-type]


class _Threads:
    """The threads of one file: one writes, one reads, one browses. They run while anybody has the file open."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.options = options
        self.file = WatchedFile(options.path)
        self.workers: tuple[Worker, Worker, Worker] | None = None
        self._users = 0

    def acquire(self) -> Worker:
        """Start them unless they run. Returns the one that writes."""
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
        """Finish what was accepted, and stop them when nobody else uses them."""
        self._users -= 1
        if self._users == 0 and self.workers is not None:
            workers, self.workers = self.workers, None
            for worker in workers:
                await worker.stop()

    def _connect_first(self) -> sqlite3.Connection:
        """Create the file if need be, connect, and remember which file that is."""
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
        """Connect to the file that exists; a deleted one is never replaced by an empty one."""
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
        options: which file, and how.
        component: whose tables these are; each component has a schema version of its own.
        migrations: what each version adds, the first one first. Never edited once released.
        beside: another component of the same file, in the same event loop. The two then share their threads: SQLite lets one
            writer in at a time, so a second thread would only wait for the first, and their writes share commits.
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
        """Make the file and its directory if need be, and bring the schema up to date; harmless when open.

        Raises:
            StoreUnavailable: it cannot be opened or written.
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
        """Finish what was accepted and close the file; harmless when closed."""
        if self._is_open:
            self._is_open = False
            await self._threads.release()

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function inside a write transaction and return after it is committed.

        What else was asked for by then shares the commit. A function that raises undoes only itself; it may then be run
        a second time, so it does nothing but use the connection.

        Raises:
            StoreUnavailable: locked, full, read-only; or the file was deleted or replaced, before or during the commit.
        """
        return await self._worker(0).run(function)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that only reads, outside any transaction. Raises ``StoreUnavailable``."""
        return await self._worker(1).run(function)

    async def browse(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """As ``read``, in a thread of its own: lists and counts, for which no request of anybody else waits."""
        return await self._worker(2).run(function)

    async def ping(self, sql: str) -> None:
        """Run a query that touches what is needed, and look at all files of the database. Raises ``StoreUnavailable``."""

        def look(connection: sqlite3.Connection) -> None:
            """Run the query, then compare the file."""
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
        found = connection.execute(
            "SELECT version FROM schema_versions WHERE component = ?", (self._component,)
        ).fetchone()
        version, newest = (found[0] if found else 0), len(self._migrations)
        if version > newest:
            raise StoreMismatch("sqlite", f"{self.options.path} was written by a newer version; update this one")
        for statements in self._migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (self._component, newest))
