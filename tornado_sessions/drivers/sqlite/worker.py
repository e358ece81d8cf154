"""A thread that runs functions on an SQLite connection of its own, one transaction for all that wait or none at all.

It must not know which file that is, or what is stored in it.
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

# Jobs that one commit carries at most: a commit's cost is shared, but nobody waits for thousands of others.
_GROUP = 256
_FOREIGN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_MISMATCH}
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


class Worker:
    """A thread with a connection of its own, made at its first job. What comes in while it is busy is done together.

    Args:
        connect: makes the connection.
        file: the file the connection is open on; results count only while the path still names it.
        grouped: one transaction for all jobs that wait, else no transaction at all.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], file: WatchedFile, *, grouped: bool) -> None:
        self._connect = connect
        self._file = file
        # Reads need only the database; a commit is also lost if the log is.
        self._check_after = file.check if grouped else file.check_database
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
                # Nothing read from or committed to a lost file may be acknowledged.
                self._check_after()
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
                if _met_damaged_text(job):
                    with _lenient(connection):
                        job.run(connection)

    def _run_grouped(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        """One commit for all; when one fails, all of it is undone and each gets a transaction of its own."""
        self._file.check_database()
        if _commit(connection, jobs):
            return
        for job in jobs:
            if len(jobs) > 1:
                _commit(connection, [job])
            if _met_damaged_text(job):
                with _lenient(connection):
                    _commit(connection, [job])


def _met_damaged_text(job: _Job) -> bool:
    """Whether a job failed because a stored text is not UTF-8, which fails the whole statement."""
    return isinstance(job.error, sqlite3.OperationalError) and "Could not decode to UTF-8" in str(job.error)


@contextmanager
def _lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is not UTF-8 as ``bytearray``, a type no column has, so that only its row is damaged.

    Used only after a failure: calling a text factory for every text would cost more than the rest of reading a row.
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
