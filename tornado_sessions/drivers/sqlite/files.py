"""Detect that a path no longer names the file that was opened.

It must not know connections or tables. SQLite writes to a deleted file without an error, and all of these writes are lost
when the process ends.
"""

from __future__ import annotations

import os
from errno import EDQUOT, EIO, EMFILE, ENFILE, ENOSPC
from pathlib import Path

from tornado_sessions.errors import StoreDenied, StoreUnavailable

__all__ = ["WatchedFile"]

# The database and the two files that SQLite keeps beside it; -wal contains the latest commits.
_SUFFIXES = ("", "-wal", "-shm")
# Errors that may pass without a change of the path or its permissions.
_MAY_PASS = {EDQUOT, EIO, EMFILE, ENFILE, ENOSPC}


class WatchedFile:
    """The path of an open database, and the identities of its files when it was opened.

    Args:
        path: the path from the configuration. It is made absolute, so that a later ``chdir`` has no effect. Symbolic links
            are not resolved: pointing one to another file counts as a replacement.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow symbolic links
        self._opened: list[tuple[str, tuple[int, int]]] = []

    def create(self) -> None:
        """Create the file and its directory, unless it exists.

        Raises:
            StoreDenied: the path or its permissions are wrong.
            StoreUnavailable: there is no space, or another reason that may pass.
        """
        if Path(self.path).exists():
            # Leave it alone: it may be on a disk that is full or read-only.
            return
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            # Readable by the owner only: it contains names, addresses and hashes. SQLite gives -wal and -shm the same mode.
            Path(self.path).touch(mode=0o600)
        except OSError as error:
            kind = StoreUnavailable if error.errno in _MAY_PASS else StoreDenied
            raise kind("sqlite", f"{self.path} cannot be created: {error.strerror}") from None

    def identify(self) -> list[tuple[str, tuple[int, int]]]:
        """Return name, device and inode of each existing file."""
        names = (self.path + suffix for suffix in _SUFFIXES)
        return [(name, found) for name in names if (found := _identity(name)) is not None]

    def remember(self) -> None:
        """Record the files that exist now as the open ones."""
        self._opened = self.identify()

    def check(self) -> None:
        """Check that the path still names the files that were opened; takes a few microseconds.

        If the original files are moved back, the check passes again: they contain everything that was committed.

        Raises:
            StoreUnavailable: the database was deleted, replaced or truncated, or -wal or -shm was deleted or replaced.
        """
        self.check_database()
        for name, identity in self._opened[1:]:
            if _identity(name) != identity:
                raise self._lost(name)

    def check_database(self) -> None:
        """Check the database file only, with one system call; see ``check``."""
        for name, identity in self._opened[:1]:
            # An open database has at least one page. If it is truncated, SQLite still answers from its cache and -wal.
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
