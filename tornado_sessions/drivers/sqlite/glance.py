"""Short reads on the event loop's own thread, which never wait.

It must not know tables. Readers of a file in WAL mode wait for nobody, except in rare moments, such as when another process repairs
the log after a crash. Then a glance gives no answer, and the caller asks the reader's thread instead.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from tornado_sessions.drivers.sqlite.files import WatchedFile
from tornado_sessions.errors import StoreUnavailable

__all__ = ["Glance"]


class Glance:
    """A connection for reads of a single page that is nearly always in memory.

    Args:
        connection: of the event loop's thread alone, from now on.
        file: the file of the connection.
    """

    def __init__(self, connection: sqlite3.Connection, file: WatchedFile) -> None:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA query_only = 1")
        self._connection = connection
        self._file = file

    def ask(self, sql: str) -> tuple[Any, ...] | None:
        """Return the first row; ``None`` if there is none, if the file is lost, or if the answer would take time."""
        try:
            self._file.check_database()
            found: tuple[Any, ...] | None = self._connection.execute(sql).fetchone()
        except (StoreUnavailable, sqlite3.Error):
            return None
        return found

    def close(self) -> None:
        """Close the connection; the file's threads must still be running, so that this is not its last one."""
        self._connection.close()
