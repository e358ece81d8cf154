"""``HeadKeeper``: remembers the newest entry of the audit log in places that do not change together with the log.

The chain of entries cannot show that its newest entries are missing. A signed head does: it is kept in a document of its own,
in a file beside the secret, in the memory of each process, and in the metrics. It must not know actions or how entries are stored.
"""

from __future__ import annotations

import fcntl
import hmac
import logging
import os
from asyncio import to_thread
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents import Document, DocumentStore

__all__ = ["HEAD_KIND", "TOLERANCE", "Head", "HeadKeeper", "Place", "Witness"]

logger = logging.getLogger("tornado_sessions.audit")

HEAD_KIND = "audit_head"
_KEY = "head"
_ATTEMPTS = 100
#: How many entries the signed head may be behind the log. It is written just after an entry, so ``kill -9`` may come in between.
TOLERANCE = 1000
#: The size of the file in bytes; the head is shorter.
_FILE_SIZE = 512


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the audit log at one time.

    Attributes:
        key: the key of its document.
        number, hash: of the newest entry; 0 and empty for an empty log.
        forgotten, forgotten_hash: of the newest entry that was removed because of its age; everything up to it may be missing.
        tolerance: how many entries the log may be ahead of this head.
        at: when it was signed, in UTC seconds.
        seal: the HMAC over all other fields, hexadecimal.
    """

    key: str = _KEY
    number: int = 0
    hash: str = ""
    forgotten: int = 0
    forgotten_hash: str = ""
    tolerance: int = TOLERANCE
    at: float = 0.0
    seal: str = ""

    def joined(self, other: Head) -> Head:
        """Return the later state of two: a log only grows at its end and is only forgotten from its start."""
        newest = max(self, other, key=lambda head: head.number)
        oldest = max(self, other, key=lambda head: head.forgotten)
        return msgspec.structs.replace(newest, forgotten=oldest.forgotten, forgotten_hash=oldest.forgotten_hash)


class Place(Enum):
    """Where a head is kept."""

    STORE = "store"
    FILE = "file"
    MEMORY = "memory"


class Witness(NamedTuple):
    """What one place remembers of the log.

    Attributes:
        place: see ``Place``.
        head: the head; ``None`` if there is none or its signature is wrong.
        is_forged: whether there is one that cannot be read or has a wrong signature.
    """

    place: Place
    head: Head | None
    is_forged: bool = False


class HeadKeeper:
    """Reads and writes the head.

    Args:
        documents: stores one copy.
        clock: the time in UTC seconds.
        keys: newest first; the newest signs, all verify.
        file: holds another copy; ``None`` if the server has no directory of its own.
    """

    def __init__(
        self, documents: DocumentStore, clock: Callable[[], float], keys: Sequence[bytes], file: Path | None
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._keys = keys
        self.file = file
        #: The latest state that this process knows. It never goes back.
        self.known = Head()
        self._written = Head()
        self._revision = 0
        self._has_warned = False

    @property
    def is_behind(self) -> bool:
        """Whether the stored head is older than the one in memory."""
        return (self._written.number, self._written.forgotten) != (self.known.number, self.known.forgotten)

    def remember(self, head: Head) -> None:
        """Note a newer state in memory."""
        self.known = self.known.joined(head)

    async def witnesses(self) -> list[Witness]:
        """Return what store, file and memory remember. Read the log afterwards: it can only have grown since."""
        written, known = self._written, self.known
        in_file = await to_thread(self._read_file)
        _, stored = await self._stored()
        if stored.head is not None and stored.head.number < written.number:
            # This process has written a later head: somebody has put an older copy back.
            stored = stored._replace(is_forged=True)
        return [stored, *([in_file] if in_file is not None else []), Witness(Place.MEMORY, known)]

    async def write(self) -> bool:
        """Store the state in memory, joined with what other processes have stored. Raises ``StoreUnavailable``.

        Returns:
            ``False`` if the stored head had been changed, removed or replaced by an older one. It is correct again now.
        """
        was_right = True
        for _ in range(_ATTEMPTS):
            if not self._revision:
                self._revision, stored = await self._stored()
                found = stored.head or Head()
                was_right &= not stored.is_forged and found.number >= self._written.number
                self.remember(found)
                if stored.is_forged:
                    await self._documents.delete(HEAD_KIND, _KEY)
                    self._revision = 0
            target = self.known
            if await self._put(target):
                self._written = self._written.joined(target)
                await to_thread(self._write_file, target)
                return was_right
            self._revision = 0
        raise StoreUnavailable("audit", "too many processes write at the same time")

    async def _put(self, head: Head) -> bool:
        document = Document(_KEY, self._revision + 1, msgspec.json.encode(self._sealed(head)))
        if not await self._documents.put(HEAD_KIND, document):
            return False
        self._revision += 1
        return True

    async def _stored(self) -> tuple[int, Witness]:
        """Return the revision of the stored head, and the head."""
        found = await self._documents.get(HEAD_KIND, _KEY)
        if found is None:
            return 0, Witness(Place.STORE, None)
        try:
            return found.revision, self._judged(Place.STORE, found.read(Head, "key"))
        except Unreadable:
            return found.revision, Witness(Place.STORE, None, is_forged=True)

    def _judged(self, place: Place, head: Head) -> Witness:
        is_genuine = any(hmac.compare_digest(head.seal.encode(), _seal(key, head).encode()) for key in self._keys)
        return Witness(place, head if is_genuine else None, not is_genuine)

    def _sealed(self, head: Head) -> Head:
        head = msgspec.structs.replace(head, at=self._clock(), tolerance=TOLERANCE)
        return msgspec.structs.replace(head, seal=_seal(self._keys[0], head))

    # --- the file, in another thread -----------------------------------------------------------------------------

    def _read_file(self) -> Witness | None:
        if self.file is None:
            return None
        try:
            with self.file.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return self._in_file(file.read())
        except FileNotFoundError:
            return None
        except OSError:
            return Witness(Place.FILE, None, is_forged=True)

    def _in_file(self, text: bytes) -> Witness:
        try:
            return self._judged(Place.FILE, msgspec.json.decode(text, type=Head))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Witness(Place.FILE, None, is_forged=True)

    def _write_file(self, head: Head) -> None:
        """Write the file, unless another process has written a later head. A failure is only logged: the store has the head."""
        if self.file is None:
            return
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "rb+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                there = self._in_file(file.read()).head
                text = msgspec.json.encode(self._sealed(head if there is None else head.joined(there)))
                # One write of constant length into one block: it needs no space on a full disk, and ``kill -9`` cannot cut it.
                os.pwrite(descriptor, text.ljust(_FILE_SIZE), 0)
        except OSError as error:
            # Once: a secret is often mounted read-only.
            level = logging.DEBUG if self._has_warned else logging.WARNING
            self._has_warned = True
            logger.log(level, "the head of the audit log is not written to %s: %s", self.file, error.strerror)


def _seal(key: bytes, head: Head) -> str:
    covered = msgspec.json.encode(["head", msgspec.structs.replace(head, seal="")])
    return hmac.digest(key, covered, "sha256").hex()
