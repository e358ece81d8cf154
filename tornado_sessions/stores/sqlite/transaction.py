"""One job of the writer's thread: what it reads once, and what it changes for this and for other processes.

It must not know what a change means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

from tornado_sessions.record import Record
from tornado_sessions.stores.sqlite import eras, rows
from tornado_sessions.stores.sqlite.eras import Standing
from tornado_sessions.stores.sqlite.remembered import Publication, Remembered

__all__ = ["READ_REVISION", "Transaction", "in_transaction"]

T = TypeVar("T")

READ_REVISION = "SELECT number FROM revision"


class Transaction:
    """A job inside a transaction of the writer.

    Attributes:
        connection: inside the transaction.
        changed: the new record for each session that the job has changed; ``None`` if it has ended.
        is_traced: whether ``changed`` has every session that the job changed.
    """

    def __init__(self, connection: sqlite3.Connection, remembered: Remembered) -> None:
        self.connection = connection
        self.changed: dict[str, Record | None] = {}
        self.is_traced = True
        self._remembered = remembered
        found = connection.execute(READ_REVISION).fetchone()
        self._before: int | None = found[0] if found is not None else None

    @cached_property
    def standing(self) -> Standing:
        """The state after the latest ``end_all``."""
        return self._remembered.known(self._before, ())[1] or eras.standing(self.connection)

    def current(self, handles: Sequence[str]) -> dict[str, Record | None]:
        """Return the stored sessions by handle; ``None`` for one that has ended or is damaged."""
        found: dict[str, Record | None] = {}
        standing = self.standing
        if standing.is_certain:
            found, _ = self._remembered.known(self._before, handles)
        if len(found) < len(handles):
            unknown = [handle for handle in handles if handle not in found]
            for row in rows.stored(self.connection, unknown):
                item = row.item
                found[item.handle] = item if isinstance(item, Record) and standing.holds(row) else None
        return found

    def finish(self) -> None:
        """Record that sessions have changed, for all processes, and publish the new records in this one."""
        if not self.changed:
            return
        after = self._remembered.new_revision()
        self.connection.execute("INSERT OR REPLACE INTO revision VALUES (1, ?)", (after,))
        if self.is_traced and self._before is not None:
            self._remembered.publish(Publication(self._before, after, self.standing, self.changed))


def in_transaction(remembered: Remembered, work: Callable[[Transaction], T]) -> Callable[[sqlite3.Connection], T]:
    """Return the function for ``Database.write`` that does some work."""

    def run(connection: sqlite3.Connection) -> T:
        transaction = Transaction(connection, remembered)
        answer = work(transaction)
        transaction.finish()
        return answer

    return run
