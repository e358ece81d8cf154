"""``sqlite://``: sessions in a file, for one machine and any number of processes on it.

It must not know policy or encoding. Reads and writes of one loop turn travel together; what several processes write is told to
each by polling ``PRAGMA data_version``, which costs a few microseconds and only while somebody listens.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tornado_sessions.errors import StoreError, StoreUnavailable
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import Change, Conflict, Create, Ending, Event, Loaded, Outcome, Record, Tombstone, expired
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.sqlite import changes, lists, rows
from tornado_sessions.stores.sqlite.database import Database, DatabaseOptions, database_path
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

    async def open(self) -> None:
        """As promised by ``Store.open``."""
        await self._database.open()
        self._closing = self._closing or asyncio.Event()

    async def close(self) -> None:
        """As promised by ``Store.close``."""
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        await self._database.close()

    async def ping(self) -> None:
        """Look at the newest session."""
        await self._database.read(lambda connection: connection.execute("SELECT 1 FROM sessions LIMIT 1").fetchone())

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """As promised by ``Store.load``."""
        return await self._database.read(lambda connection: _load(connection, handles, now))

    async def save(self, changes_: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """As promised by ``Store.save``."""
        try:
            return await self._database.write(lambda connection: changes.save(connection, changes_))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer of that item
            if len(changes_) == 1:
                return [error]
        # One of them cannot be written; each is tried alone, so that the others stand.
        return [answer for item in changes_ for answer in await self.save([item])]

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """As promised by ``Store.destroy``."""
        return await self._database.write(lambda connection: changes.destroy(connection, handles, ending))

    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """As promised by ``Store.destroy_user``."""
        return await self._database.write(
            lambda connection: changes.destroy_user(connection, user, ending, except_handle)
        )

    async def take(self, handle: str, ending: Ending) -> Record | None:
        """As promised by ``Store.take``."""
        return await self._database.write(lambda connection: changes.take(connection, handle, ending))

    async def end_all(self, not_before: float, ending: Ending) -> None:
        """As promised by ``Store.end_all``."""
        await self._database.write(lambda connection: changes.end_all(connection, not_before, ending))

    async def find(self, query: Query) -> Page:
        """As promised by ``Store.find``."""
        return await self._database.browse(lambda connection: lists.find(connection, query))

    async def count(self, query: Query) -> Count:
        """As promised by ``Store.count``; exact without filters, else up to 10,000."""
        return await self._database.browse(lambda connection: lists.count(connection, query))

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """As promised by ``Store.expire``."""
        return await self._database.write(lambda connection: changes.expire(connection, now, ending_kept_for, limit))

    async def events(self) -> AsyncGenerator[Event, None]:
        """As promised by ``Store.events``."""
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
                    yield event
            try:
                await asyncio.wait_for(closing.wait(), POLL)
            except TimeoutError:
                continue


def _load(connection: sqlite3.Connection, handles: Sequence[str], now: float) -> Loaded:
    found: dict[str, Record | Tombstone] = {}
    for record in rows.records(connection, handles):
        found[record.handle] = record if record.expires_at > now else expired(record, now, keep_until=now)
    if len(found) < len(handles):
        missing = [handle for handle in handles if handle not in found]
        found.update((tombstone.handle, tombstone) for tombstone in rows.tombstones(connection, missing))
    # Read last: who is ended between the two reads is ended.
    return Loaded([found.get(handle) for handle in handles], rows.not_before(connection))


def _last_event(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return row[0] if row is not None else 0


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
