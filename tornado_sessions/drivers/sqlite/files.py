"""Notices that a path no longer names the file that was opened.

SQLite keeps writing to an unlinked file without an error, and all of that is lost when the process ends. This module must not know
connections or tables.
"""

from __future__ import annotations

import os
from pathlib import Path

from tornado_sessions.errors import StoreUnavailable

__all__ = ["WatchedFile"]

# SQLite keeps two files beside the database. Without -wal, the database lacks its last commits.
_SUFFIXES = ("", "-wal", "-shm")


class WatchedFile:
    """The path of an open database, and the files it named when it was opened.

    Args:
        path: as configured; made absolute now, so that a later ``chdir`` does not matter. A symbolic link is not resolved, so
            switching it counts as a replacement.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow symbolic links
        self._opened: list[tuple[str, tuple[int, int]]] = []

    def create(self) -> None:
        """Create the file and its directory unless they exist. Raises ``StoreUnavailable``."""
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Readable for the owner only: it holds names, addresses and hashes. SQLite gives the files beside it the same mode.
            Path(self.path).touch(mode=0o600)
        except OSError as error:
            raise StoreUnavailable("sqlite", f"{self.path} cannot be made: {error.strerror}") from None

    def identify(self) -> list[tuple[str, tuple[int, int]]]:
        """Return the name, device and inode of each of the files that exist."""
        names = (self.path + suffix for suffix in _SUFFIXES)
        return [(name, found) for name in names if (found := _identity(name)) is not None]

    def remember(self) -> None:
        """Take the files that exist now as the ones that are open."""
        self._opened = self.identify()

    def check(self) -> None:
        """Compare the files with those that were opened; takes a few µs.

        When the original comes back the check passes again, since everything committed is still in it.

        Raises:
            StoreUnavailable: the database was deleted, replaced or emptied, or a file beside it was deleted or replaced.
        """
        self.check_database()
        for name, identity in self._opened[1:]:
            if _identity(name) != identity:
                raise self._lost(name)

    def check_database(self) -> None:
        """Do as ``check`` for the database alone, with one system call."""
        for name, identity in self._opened[:1]:
            # An open database has at least one page. SQLite keeps serving from its cache and log when the file is emptied.
            if _identity(name, may_be_empty=False) != identity:
                raise self._lost(name)

    @staticmethod
    def _lost(name: str) -> StoreUnavailable:
        return StoreUnavailable("sqlite", f"{name} was deleted or replaced while it was in use; restart the server")


def _identity(name: str, *, may_be_empty: bool = True) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - half the time of Path.stat, and every batch pays for it
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size or may_be_empty else None
