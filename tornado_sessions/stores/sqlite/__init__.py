"""``sqlite://``: sessions in a file, shared by any number of processes on one machine.

It must not know policy or encoding. Calls made in one turn of the event loop share a transaction in the file's writer
thread. A record that this process has read or written is not read again until somebody changes a session. Processes receive
each other's events by polling ``PRAGMA data_version``, which takes a few microseconds and runs only while there is a
listener.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from tornado_sessions.change import as_of
from tornado_sessions.drivers.sqlite import Database, DatabaseOptions, Glance, database_path, read_migrations
from tornado_sessions.errors import StoreError, StoreUnavailable
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    Loaded,
    Outcome,
    Record,
    Swapped,
    Tombstone,
    bury,
)
from tornado_sessions.stores.base import Diagnosis, Found, Store
from tornado_sessions.stores.listening import pause, until_closed
from tornado_sessions.stores.sqlite import changes as writing
from tornado_sessions.stores.sqlite import eras, lists, rows
from tornado_sessions.stores.sqlite.eras import Standing
from tornado_sessions.stores.sqlite.remembered import Remembered
from tornado_sessions.stores.sqlite.rows import Stored
from tornado_sessions.stores.sqlite.transaction import READ_REVISION, Transaction, in_transaction

__all__ = ["MIGRATIONS", "SQLiteStore"]

T = TypeVar("T")

MIGRATIONS = read_migrations(__name__, "schema.sql")
#: The latest version of the schema that this one does not read.
REFUSED = 5
#: Free bytes of the disk below which there is a warning.
_FREE = 200 * 2**20
_DISK = N_("the disk has only %s GiB left; a full disk refuses sign-ins and changes")
_FACTS = N_("SQLite %s: file of %s MiB, journal mode %s, %s GiB free on the disk")
#: Maximum number of sessions that one transaction of ``expire`` removes, in a few milliseconds.
STEP = 25
#: Seconds between two checks for new events.
POLL = 0.25


class SQLiteStore(Store):
    """Sessions in an SQLite file.

    Args:
        options: from ``database_path``.
    """

    backend = "sqlite"

    def __init__(self, options: DatabaseOptions) -> None:
        #: Public, so that other components of the same file can share its threads.
        self.database = Database(options, component="sessions", migrations=MIGRATIONS, refused=REFUSED)
        self._closing: asyncio.Event | None = None
        self._remembered = Remembered()
        self._glance: Glance | None = None
        #: Whether the file has been asked for its revision in this turn of the event loop.
        self._has_looked = False

    @classmethod
    @override
    def from_url(cls, url: str) -> SQLiteStore:
        return cls(database_path(url))

    @override
    async def open(self) -> None:
        await self.database.open()
        if self._glance is None:
            self._remembered = Remembered()
            self._glance = await self.database.glance()
        self._closing = self._closing or asyncio.Event()

    @override
    async def close(self) -> None:
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        if self._glance is not None:
            self._glance.close()
            self._glance = None
        await self.database.close()

    @override
    async def ping(self) -> None:
        await self.database.ping("SELECT 1 FROM sessions LIMIT 1")

    @override
    async def diagnose(self) -> Diagnosis:
        path = Path(self.database.options.path)

        def look(connection: sqlite3.Connection) -> Diagnosis:
            (mode,), disk = connection.execute("PRAGMA journal_mode").fetchone(), shutil.disk_usage(path.parent)
            free = f"{disk.free / 2**30:.1f}"
            facts = [Message(_FACTS, (sqlite3.sqlite_version, f"{path.stat().st_size / 2**20:.1f}", mode, free))]
            return Diagnosis([], [Message(_DISK, (free,))] if disk.free < _FREE else [], facts)

        return await self.database.browse(look)

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        records = self._remembered_records(handles)
        missing = [handle for handle, record in zip(handles, records, strict=True) if record is None]
        found: dict[str, Record | Tombstone | Damaged] = {}
        standing = self._remembered.standing
        if missing or standing is None:
            found, standing = await self._read(missing, now)
            if not standing.is_certain and len(missing) < len(handles):
                # not_before is damaged, so each row has to be judged by its era.
                records = [None] * len(handles)
                found, standing = await self._read(handles, now)
        return Loaded(
            [
                found.get(handle) if record is None else as_of(record, now)
                for handle, record in zip(handles, records, strict=True)
            ],
            standing.not_before,
        )

    @override
    def peek(self, handle: str) -> Found | None:
        if not self._has_looked:
            # Look once per turn: all requests of this turn arrived before it.
            self._has_looked = True
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._remembered_records(())
        record, standing = self._remembered.records.get(handle), self._remembered.standing
        return None if record is None or standing is None else (record, standing.not_before)

    def _end_turn(self) -> None:
        self._has_looked = False

    def _remembered_records(self, handles: Sequence[str]) -> Sequence[Record | None]:
        """Return the records that need not be read again. The file is asked for its revision, which takes microseconds."""
        remembered = self._remembered
        revision = self._glance.ask(READ_REVISION) if self._glance is not None else None
        remembered.follow(revision[0] if revision is not None else None)
        if remembered.standing is None:
            return [None] * len(handles)
        return [remembered.records.get(handle) for handle in handles]

    async def _read(
        self, handles: Sequence[str], now: float
    ) -> tuple[dict[str, Record | Tombstone | Damaged], Standing]:
        """Read sessions in the reader's thread, and remember them unless they change during the read."""
        reading = self._remembered.start_reading(handles)
        try:
            stored, found, standing = await self.database.read(lambda connection: _load(connection, handles, now))
        except BaseException:
            self._remembered.cancel_reading(reading)
            raise
        self._remembered_records(())
        records = [row.item for row in stored if isinstance(row.item, Record)]
        self._remembered.finish_reading(reading, records, standing)
        return found, standing

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        return await self.database.write(in_transaction(self._remembered, work))

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        try:
            return await self._write(lambda transaction: writing.save(transaction, changes))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - returned as the outcome of the item
            if len(changes) == 1:
                return [error]
        # SQLite refuses one of the items, such as a text with a lone surrogate. Save each alone, so that the others succeed.
        return [answer for item in changes for answer in await self.save([item])]

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await self._write(lambda transaction: writing.destroy(transaction, handles, ending))

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        end = partial(writing.destroy_user, user=user, ending=ending, except_handle=except_handle, at_most=at_most)
        return await self._write(end)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return await self._write(lambda transaction: writing.take(transaction, handle, ending))

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        end = partial(writing.end_all, not_before=not_before, ending=ending)
        try:
            return await self._write(lambda transaction: end(transaction, quietly=False))
        except StoreUnavailable:
            # A full disk has no space for the event, but replacing the one row still works. Without the event, other
            # processes learn of the end when they next load a session.
            return await self._write(lambda transaction: end(transaction, quietly=True))

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await self.database.write(lambda connection: writing.swap(connection, name, expected, value, keep_until))

    @override
    async def find(self, query: Query) -> Page:
        return await self.database.browse(lambda connection: lists.find(connection, query))

    @override
    async def count(self, query: Query) -> Count:
        """Count sessions: exactly without filters, up to a bound with filters."""
        return await self.database.browse(lambda connection: lists.count(connection, query))

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        removed = 0
        # In small transactions: the changes of requests go between them.
        for start in range(0, limit, STEP):
            most = min(STEP, limit - start)
            done = await self._write(partial(writing.expire, now=now, kept_for=ending_kept_for, limit=most))
            removed += done.removed
            if not done.is_more:
                break
        return removed

    @override
    def events(self) -> AsyncGenerator[Event, None]:
        return until_closed(self._poll, self._closing)

    async def _poll(self, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
        # data_version changes when another connection commits. The reader's connection never commits, so an unchanged
        # number means that there are no new events.
        seq, version = await self.database.read(_last_event), None
        while not closing.is_set():
            now = await self.database.read(_data_version)
            if now != version:
                version = now
                seq, events = await self.database.read(partial(rows.events_after, seq=seq))
                for event in events:
                    yield event
            await pause(closing, POLL)


def _load(
    connection: sqlite3.Connection, handles: Sequence[str], now: float
) -> tuple[list[Stored], dict[str, Record | Tombstone | Damaged], Standing]:
    found: dict[str, Record | Tombstone | Damaged] = {}
    stored = list(rows.stored(connection, handles))
    if len(stored) < len(handles):
        present = {row.item.handle for row in stored}
        missing = [handle for handle in handles if handle not in present]
        found.update((tombstone.handle, tombstone) for tombstone in rows.stored_tombstones(connection, missing))
    # Read this last: a session that end_all ends between the reads then counts as ended.
    standing = eras.standing(connection)
    for row in stored:
        found[row.item.handle] = _as_of(connection, row, standing, now)
    return stored, found, standing


def _as_of(connection: sqlite3.Connection, row: Stored, standing: Standing, now: float) -> Record | Tombstone | Damaged:
    found = as_of(row.item, now)
    if isinstance(found, Record) and not standing.is_certain and not standing.holds(row):
        # not_before is damaged, so the caller cannot judge by it: report the end here.
        return bury(found, eras.ending(connection, keep_until=now))
    return found


def _last_event(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return row[0] if row is not None else 0


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
