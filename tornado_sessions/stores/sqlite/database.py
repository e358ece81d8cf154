"""One SQLite file, used from an event loop without blocking it: a thread that writes, one that reads, one that browses.

It must not know what tables are for. Sessions, accounts and the audit log each bring their own migrations and may share one
file, in one process or several.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from tornado_sessions.errors import ConfigError, StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Database", "DatabaseOptions", "database_path"]

T = TypeVar("T")

#: What one version adds to the schema: statements, run in order in one transaction.
Migration = Sequence[str]

# Jobs that one commit carries at most: a commit's cost is shared, but nobody waits for thousands of others.
_GROUP = 256
# Pages that each thread keeps at hand: the default of 2 MiB makes ending a thousand sessions of a million a search on the disk.
_CACHE_KIB = 32 * 1024
_FOREIGN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH}


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


class Database:
    """A file and its threads.

    Args:
        options: which file, and how.
        component: whose tables these are; each component has a version of its own.
        migrations: what each version adds, the first one first. Never edited once released.
    """

    def __init__(self, options: DatabaseOptions, *, component: str, migrations: Sequence[Migration]) -> None:
        self.options = options
        self._component = component
        self._migrations = migrations
        self._writer: _Worker | None = None
        self._reader: _Worker | None = None
        self._browser: _Worker | None = None

    async def open(self) -> None:
        """Make the file and its directory if need be, and bring the schema up to date; harmless when open.

        Raises:
            StoreUnavailable: it cannot be opened or written.
            StoreMismatch: it is no SQLite file, or a newer version of this package has written it.
        """
        if self._writer is not None:
            return
        writer = _Worker(self._connect, grouped=True)
        try:
            await writer.run(self._migrate)
        except BaseException:
            await writer.stop()
            raise
        self._writer, self._reader = writer, _Worker(self._connect, grouped=False)
        self._browser = _Worker(self._connect, grouped=False)

    async def close(self) -> None:
        """Finish what was accepted and close the file; harmless when closed."""
        workers = (self._writer, self._reader, self._browser)
        self._writer = self._reader = self._browser = None
        for worker in workers:
            if worker is not None:
                await worker.stop()

    async def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function inside a write transaction and return after it is committed.

        What else was asked for by then shares the commit. A function that raises undoes only itself; it may then be run
        a second time, so it does nothing but use the connection.

        Raises:
            StoreUnavailable: locked, full, read-only, gone.
        """
        return await self._open_worker(self._writer).run(function)

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function that only reads, outside any transaction. Raises ``StoreUnavailable``."""
        return await self._open_worker(self._reader).run(function)

    async def browse(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """As ``read``, in a thread of its own: lists and counts, for which no request of anybody else waits."""
        return await self._open_worker(self._browser).run(function)

    def _open_worker(self, worker: _Worker | None) -> _Worker:
        if worker is None:
            raise StoreUnavailable("sqlite", "the store is closed")
        return worker

    def _connect(self) -> sqlite3.Connection:
        path, synchronous, busy_timeout = self.options
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # Names, addresses and hashes are its owner's alone; SQLite gives the files beside it the same mode.
            Path(path).touch(mode=0o600)
        except OSError as error:
            raise StoreUnavailable("sqlite", f"{path} cannot be made: {error.strerror}") from None
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        return connection

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


#: Instructions of SQLite's machine between two looks whether anybody still waits: a few milliseconds.
_LOOK_EVERY = 100_000


class _Job:
    """A function that waits for its turn, and the future of who asked."""

    __slots__ = ("error", "function", "future", "result")

    def __init__(self, function: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.function = function
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Keep the result or the error for ``settle``."""
        try:
            self.result, self.error = self.function(connection), None
        except Exception as error:  # noqa: BLE001 - raised to who asked
            self.error = error

    def settle(self) -> None:
        """Answer, on the loop; who was cancelled waits no more."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(_translated(self.error))
        else:
            self.future.set_result(self.result)


class _Worker:
    """A thread with a connection of its own, made at its first job. What comes in while it is busy is done together."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, grouped: bool) -> None:
        self._connect = connect
        self._run_all = self._run_grouped if grouped else self._run_each
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tornado_sessions sqlite", daemon=True)
        self._thread.start()

    def run(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a job."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Job(function, future))
        return future

    async def stop(self) -> None:
        """Do what is queued, then end the thread."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while (jobs := self._take()) is not None:
            try:
                connection = connection or self._connect()
                self._run_all(connection, jobs)
            except Exception as error:  # noqa: BLE001 - raised to everybody who asked
                for job in jobs:
                    job.error = error
            self._loop.call_soon_threadsafe(_settle, jobs)
        if connection is not None:
            connection.close()

    def _take(self) -> list[_Job] | None:
        """The next job, and what has come in meanwhile."""
        first = self._inbox.get()
        if first is None:
            return None
        jobs = [first]
        while len(jobs) < _GROUP and not self._inbox.empty():
            more = self._inbox.get()
            if more is None:
                self._inbox.put(None)
                break
            jobs.append(more)
        return jobs

    @staticmethod
    def _run_each(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """One after another; what nobody waits for any more is not done, or is left in the middle."""
        for job in jobs:
            if not job.future.done():
                connection.set_progress_handler(job.future.done, _LOOK_EVERY)
                job.run(connection)

    @staticmethod
    def _run_grouped(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """One commit for all; when one fails, all of it is undone and each gets a transaction of its own."""
        if not _commit(connection, jobs) and len(jobs) > 1:
            for job in jobs:
                _commit(connection, [job])


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> bool:
    """Run jobs in one transaction; false when it was rolled back."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            job.run(connection)
            if job.error is not None:
                _roll_back(connection)
                return False
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        for job in jobs:
            job.error = error
        return False
    return True


def _roll_back(connection: sqlite3.Connection) -> None:
    """Undo what is open; SQLite has done so itself where the disk was full."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def _translated(error: BaseException) -> BaseException:
    """SQLite's errors as ours, said once for all."""
    if isinstance(error, StoreError) or not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    kind = StoreMismatch if code is not None and code & 0xFF in _FOREIGN else StoreUnavailable
    return kind("sqlite", str(error))
