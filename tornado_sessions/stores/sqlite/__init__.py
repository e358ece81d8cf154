"""``sqlite://``: sessions in a file, for one machine and any number of processes on it.

It must not know policy or encoding. Reads and writes of one loop turn travel together; what several processes write is told to
each by polling ``PRAGMA data_version``, which costs a few microseconds and only while somebody listens.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from typing_extensions import override

from tornado_sessions.drivers.sqlite import Database, DatabaseOptions, database_path
from tornado_sessions.errors import StoreError, StoreUnavailable
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
    expired,
)
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.sqlite import changes as writing
from tornado_sessions.stores.sqlite import eras, lists, rows
from tornado_sessions.stores.sqlite.eras import Standing
from tornado_sessions.stores.sqlite.rows import Stored
from tornado_sessions.stores.sqlite.schema import MIGRATIONS

__all__ = ["SQLiteStore"]

#: Seconds between two looks at whether somebody ended a session.
POLL = 0.25


class SQLiteStore(Store):
    """Sessions in an SQLite file.

    Args:
        options: which file, and how.
    """

    backend = "sqlite"

    def __init__(self, options: DatabaseOptions) -> None:
        self._database = Database(options, component="sessions", migrations=MIGRATIONS)
        self._closing: asyncio.Event | None = None

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        """The store that ``sqlite:///path`` names. Raises ``ConfigError``."""
        return cls(database_path(url))

    @property
    def database(self) -> Database:
        """The file; a component beside the sessions can share its threads."""
        return self._database

    @override
    async def open(self) -> None:
        await self._database.open()
        self._closing = self._closing or asyncio.Event()

    @override
    async def close(self) -> None:
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        await self._database.close()

    async def ping(self) -> None:
        """Look at the newest session."""
        await self._database.ping("SELECT 1 FROM sessions LIMIT 1")

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        return await self._database.read(lambda connection: _load(connection, handles, now))

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        try:
            return await self._database.write(lambda connection: writing.save(connection, changes))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer of that item
            if len(changes) == 1:
                return [error]
        # One of them cannot be written; each is tried alone, so that the others stand.
        return [answer for item in changes for answer in await self.save([item])]

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await self._database.write(lambda connection: writing.destroy(connection, handles, ending))

    @override
    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        return await self._database.write(
            lambda connection: writing.destroy_user(connection, user, ending, except_handle)
        )

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        return await self._database.write(lambda connection: writing.take(connection, handle, ending))

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        def write(*, quietly: bool) -> Callable[[sqlite3.Connection], float]:
            """The transaction, with or without its event."""
            return lambda connection: writing.end_all(connection, not_before, ending, quietly=quietly)

        try:
            return await self._database.write(write(quietly=False))
        except StoreUnavailable:
            # A full disk has no room for the event, but the one row still fits; listeners find out by polling.
            return await self._database.write(write(quietly=True))

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await self._database.write(
            lambda connection: writing.swap(connection, name, expected, value, keep_until)
        )

    @override
    async def find(self, query: Query) -> Page:
        return await self._database.browse(lambda connection: lists.find(connection, query))

    @override
    async def count(self, query: Query) -> Count:
        """Exact without filters, else up to 10,000."""
        return await self._database.browse(lambda connection: lists.count(connection, query))

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        return await self._database.write(lambda connection: writing.expire(connection, now, ending_kept_for, limit))

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        closing = self._closing
        if closing is None:
            return
        try:
            async with aclosing(self._poll(closing)) as told:
                async for event in told:
                    yield event
        except StoreUnavailable:
            # Closed between two looks: that is the end of listening, and no outage.
            if not closing.is_set():
                raise

    async def _poll(self, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
        seq, version = await self._database.read(_last_event), None
        while not closing.is_set():
            now = await self._database.read(_data_version)
            if now != version:
                version = now
                for number, event in await self._database.read(lambda connection: rows.events_after(connection, seq)):  # noqa: B023
                    seq = number
                    if event is not None:
                        yield event
            try:
                await asyncio.wait_for(closing.wait(), POLL)
            except TimeoutError:
                continue


def _load(connection: sqlite3.Connection, handles: Sequence[str], now: float) -> Loaded:
    found: dict[str, Record | Tombstone | Damaged] = {}
    stored = list(rows.stored(connection, handles))
    if len(stored) < len(handles):
        present = {row.item.handle for row in stored}
        missing = [handle for handle in handles if handle not in present]
        found.update((tombstone.handle, tombstone) for tombstone in rows.stored_tombstones(connection, missing))
    # Read last: a session ended by end_all between the two reads counts as ended.
    standing = eras.standing(connection)
    for row in stored:
        found[row.item.handle] = _as_of(connection, row, standing, now)
    return Loaded([found.get(handle) for handle in handles], standing.not_before)


def _as_of(connection: sqlite3.Connection, row: Stored, standing: Standing, now: float) -> Record | Tombstone | Damaged:
    if isinstance(row.item, Damaged):
        return row.item
    if row.item.expires_at <= now:
        return expired(row.item, now, keep_until=now)
    if not standing.is_certain and not standing.holds(row):
        # The caller cannot see it: not_before is damaged.
        return bury(row.item, eras.ending(connection, keep_until=now))
    return row.item


def _last_event(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return row[0] if row is not None else 0


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
