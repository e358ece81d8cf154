"""A thread that runs functions on its own SQLite connection.

It must not know what is stored in the file.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tornado_sessions.drivers.sqlite.files import WatchedFile
from tornado_sessions.errors import StoreError, StoreMismatch, StoreUnavailable

__all__ = ["Worker"]

T = TypeVar("T")

# Maximum number of jobs in one commit: they share its cost, but no job waits for thousands of others.
_GROUP = 256
# Codes of permanent errors: the file is not a database, is damaged, or has another schema.
_MISMATCHES = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH}
# How often to check whether the caller was cancelled, in instructions of SQLite's virtual machine: every few milliseconds.
_CHECK_EVERY = 100_000


class _Job:
    """A function to run, the future of its caller, and the path of the file, for errors."""

    __slots__ = ("error", "function", "future", "path", "result")

    def __init__(self, function: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any], path: str) -> None:
        self.function = function
        self.future = future
        self.path = path
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            self.result, self.error = self.function(connection), None
        except Exception as error:  # noqa: BLE001 - raised to the caller
            self.error = error

    def settle(self) -> None:
        """Set the caller's result or error, on the event loop, unless the caller was cancelled."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(_translated(self.error, self.path))
        else:
            self.future.set_result(self.result)

    @property
    def met_damaged_text(self) -> bool:
        """Whether the job failed because a stored text is not UTF-8, which fails the whole statement."""
        return isinstance(self.error, sqlite3.OperationalError) and "Could not decode to UTF-8" in str(self.error)


class Worker:
    """A thread and its connection, which is opened for the first job.

    Args:
        connect: opens the connection.
        file: the file of the connection; results are valid only while its path still names it.
        grouped: whether to run all waiting jobs in one transaction, instead of each outside any transaction.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], file: WatchedFile, *, grouped: bool) -> None:
        self._connect = connect
        self._file = file
        # Reads depend only on the database file; commits are also lost if -wal is deleted.
        self._check_after = file.check if grouped else file.check_database
        self._run_all = self._run_grouped if grouped else self._run_each
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tornado_sessions sqlite", daemon=True)
        self._thread.start()

    def run(self, function: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue a function; return a future of its result."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Job(function, future, self._file.path))
        return future

    async def stop(self) -> None:
        """Run all queued jobs, then stop the thread."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while (jobs := self._take()) is not None:
            try:
                connection = connection or self._connect()
                self._run_all(connection, jobs)
                # Check before answering: nothing read from or committed to a lost file may be acknowledged.
                self._check_after()
            except Exception as error:  # noqa: BLE001 - raised to every caller
                for job in jobs:
                    job.error = error
            self._loop.call_soon_threadsafe(_settle, jobs)
        if connection is not None:
            connection.close()

    def _take(self) -> list[_Job] | None:
        """Wait for a job; return it with all others that are queued, at most ``_GROUP``. Return ``None`` to stop."""
        first = self._inbox.get()
        if first is None:
            return None
        jobs = [first]
        while len(jobs) < _GROUP and not self._inbox.empty():
            job = self._inbox.get()
            if job is None:
                # Run these jobs first; the next call finds the request to stop.
                self._inbox.put(None)
                break
            jobs.append(job)
        return jobs

    @staticmethod
    def _run_each(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Run jobs one by one; skip or interrupt a job if its caller was cancelled."""
        for job in jobs:
            if job.future.done():
                continue
            connection.set_progress_handler(job.future.done, _CHECK_EVERY)
            job.run(connection)
            if job.met_damaged_text:
                with _lenient(connection):
                    job.run(connection)

    def _run_grouped(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Run all jobs in one transaction. If one fails, roll back and run each in its own transaction."""
        self._file.check_database()
        if _commit(connection, jobs):
            return
        # The group failed as a whole. A job that was alone has already had its own transaction.
        for job in jobs:
            if len(jobs) > 1:
                _commit(connection, [job])
            if job.met_damaged_text:
                with _lenient(connection):
                    _commit(connection, [job])


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


@contextmanager
def _lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is not UTF-8 as ``bytearray``, which no valid column contains, so that only its row is damaged.

    Used only after a failure, because calling a text factory for each text costs more than the rest of reading a row.
    """
    connection.text_factory = _text
    try:
        yield
    finally:
        connection.text_factory = str


def _text(stored: bytes) -> str | bytearray:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return bytearray(stored)


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> bool:
    """Run jobs in one transaction; return false if it was rolled back."""
    try:
        # Take the write lock now: a transaction that begins by reading could fail to upgrade, without waiting for the lock.
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
    # After some errors, such as a full disk, SQLite has already rolled back.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _translated(error: BaseException, path: str) -> BaseException:
    """Return the ``StoreError`` for an error of SQLite, which does not name the file; return other errors unchanged."""
    if isinstance(error, StoreError) or not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    kind = StoreMismatch if code is not None and code & 0xFF in _MISMATCHES else StoreUnavailable
    return kind("sqlite", f"{path}: {error}")
