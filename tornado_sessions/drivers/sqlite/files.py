"""Notices that the file a path names is no longer the one that was opened.

SQLite keeps writing to an unlinked file without an error, and everything written there is lost with the process. It must not
know connections or tables.
"""

from __future__ import annotations

import os
from pathlib import Path

from tornado_sessions.errors import StoreUnavailable

__all__ = ["WatchedFile"]

# The database and the files that SQLite keeps beside it: without its -wal, a database loses the last commits.
_SUFFIXES = ("", "-wal", "-shm")


class WatchedFile:
    """The path of a database that is open, and which files it named when it was opened.

    Args:
        path: as configured; a relative one is resolved now, so a later ``chdir`` does not matter. A symbolic link is not
            resolved: pointing it elsewhere counts as a replacement.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow symbolic links
        self._names = [self.path + suffix for suffix in _SUFFIXES]
        self._opened: list[tuple[str, tuple[int, int]]] = []

    def create(self) -> None:
        """Create the file and its directory unless they exist. Raises ``StoreUnavailable``."""
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Names, addresses and hashes are its owner's alone; SQLite gives the files beside it the same mode.
            Path(self.path).touch(mode=0o600)
        except OSError as error:
            raise StoreUnavailable("sqlite", f"{self.path} cannot be made: {error.strerror}") from None

    def identify(self) -> list[tuple[str, tuple[int, int]]]:
        """Device and inode of each of the files that exist."""
        found = ((name, _identity(name)) for name in self._names)
        return [(name, identity) for name, identity in found if identity is not None]

    def remember(self) -> None:
        """Take the files that exist now for the ones that are open."""
        self._opened = self.identify()

    def check(self) -> None:
        """Compare what the path names now with what was opened; a few µs, so not on the event loop.

        When the original comes back, the check passes again: what was committed is still in it.

        Raises:
            StoreUnavailable: the database was deleted, replaced or emptied, or a file that SQLite keeps beside it was
                deleted or replaced.
        """
        self.check_database()
        for name, identity in self._opened[1:]:
            if _identity(name) != identity:
                raise self._lost(name)

    def check_database(self) -> None:
        """As ``check``, for the database alone: one system call."""
        for name, identity in self._opened[:1]:
            # An open database has at least one page. SQLite goes on from its cache and its log if somebody else empties it.
            if _identity(name, may_be_empty=False) != identity:
                raise self._lost(name)

    def _lost(self, name: str) -> StoreUnavailable:
        return StoreUnavailable("sqlite", f"{name} was deleted or replaced while it was in use; restart the server")


def _identity(name: str, *, may_be_empty: bool = True) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - half the time of Path.stat, and every batch pays for it
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size or may_be_empty else None
