"""Decoded records that this process remembers as long as no other process changes sessions in the file.

It must not know statements or policy. Every change of a session also changes the number in the table ``revision``, whoever makes
it: this package writes a random number of its own, and triggers count for any other program. A record is therefore current if the
number that was stored with it is still the one in the file, or if all changes since then were made and published here.

The event loop reads; the writer's thread publishes what it is about to commit, and looks up what it does not have to read again.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from tornado_sessions.record import Record
from tornado_sessions.stores.sqlite.eras import Standing

__all__ = ["Publication", "Reading", "Remembered"]

#: Maximum number of records.
_MOST = 8192
#: Maximum number of bytes in the values of a remembered record; at most 32 MiB in all.
_LARGEST = 4096
#: Maximum number of publications that are kept. Those of transactions that were rolled back are never seen in the file.
_MOST_PUBLISHED = 64

_chance = random.SystemRandom()


class Publication(NamedTuple):
    """The changes of one job of the writer, which the file contains as soon as its revision is ``after``.

    Attributes:
        before: the revision on which the job started.
        after: the revision that the job wrote.
        standing: the state after the latest ``end_all``.
        records: the record after the change for each handle; ``None`` if the session has ended.
    """

    before: int
    after: int
    standing: Standing
    records: Mapping[str, Record | None]


class Reading:
    """A read that another thread does: the handles whose records may be remembered once it has finished."""

    __slots__ = ("handles", "is_current")

    def __init__(self, handles: Iterable[str]) -> None:
        self.handles = set(handles)
        self.is_current = True


class Remembered:
    """Records by handle, as they are in the file at ``revision``."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        #: ``None`` until it is known, and if the number in the file is damaged.
        self.revision: int | None = None
        #: ``None`` until it is known.
        self.standing: Standing | None = None
        self._published: dict[int, Publication] = {}
        self._readings: set[Reading] = set()
        self._lock = threading.Lock()

    # --- on the event loop ---------------------------------------------------------------------------------------

    def follow(self, revision: object) -> None:
        """Bring the records to the revision that is now in the file; forget them if others have changed sessions."""
        if revision == self.revision:
            return
        with self._lock:
            news, is_known = self._since(revision)
            if not is_known:
                self._forget()
            for publication in reversed(news):
                self._apply(publication)
            self.revision = revision if type(revision) is int else None

    def start_reading(self, handles: Iterable[str]) -> Reading:
        """Start a read of the file whose result is remembered, except for what changes until ``finish_reading``."""
        reading = Reading(handles)
        self._readings.add(reading)
        return reading

    def finish_reading(self, reading: Reading, records: Iterable[Record], standing: Standing) -> None:
        """Remember what was read. The caller has called ``follow`` after the read."""
        self._readings.discard(reading)
        if not reading.is_current or self.revision is None or not standing.is_certain:
            return
        with self._lock:
            self.standing = standing
            for record in records:
                if record.handle in reading.handles:
                    self._put(record)

    def cancel_reading(self, reading: Reading) -> None:
        """Give up a read that failed."""
        self._readings.discard(reading)

    # --- in the writer's thread, inside a transaction --------------------------------------------------------------

    def known(self, revision: object, handles: Iterable[str]) -> tuple[dict[str, Record | None], Standing | None]:
        """Return the records that are known at a revision, and the state after the latest ``end_all`` if that is known."""
        with self._lock:
            news, is_known = self._since(revision)
            found: dict[str, Record | None] = {}
            older: Mapping[str, Record | None] = self.records if is_known else {}
            for handle in handles:
                known = next((one.records for one in news if handle in one.records), older)
                if handle in known:
                    found[handle] = known[handle]
            return found, news[0].standing if news else self.standing if is_known else None

    def publish(self, publication: Publication) -> None:
        """Publish to the event loop what the file will contain at the revision ``after``."""
        with self._lock:
            self._published[publication.after] = publication
            for old in list(islice(self._published, max(0, len(self._published) - _MOST_PUBLISHED))):
                del self._published[old]

    @staticmethod
    def new_revision() -> int:
        """Return a revision that neither another process nor a trigger writes."""
        return _chance.getrandbits(62)

    # --------------------------------------------------------------------------------------------------------------

    def _since(self, revision: object) -> tuple[list[Publication], bool]:
        """Return the publications that lead to a revision, latest first, and whether they start at that of the records."""
        found: list[Publication] = []
        while revision != self.revision:
            publication = self._published.get(revision) if type(revision) is int else None
            if publication is None:
                return found, False
            found.append(publication)
            revision = publication.before
        return found, revision is not None

    def _apply(self, publication: Publication) -> None:
        del self._published[publication.after]
        self.standing = publication.standing if publication.standing.is_certain else None
        for reading in self._readings:
            reading.handles.difference_update(publication.records)
        for handle, record in publication.records.items():
            if record is not None:
                self._put(record)
            else:
                self.records.pop(handle, None)

    def _put(self, record: Record) -> None:
        # The record that was remembered first goes first.
        self.records.pop(record.handle, None)
        if sum(map(len, record.data.values())) <= _LARGEST:
            self.records[record.handle] = record
            if len(self.records) > _MOST:
                del self.records[next(iter(self.records))]

    def _forget(self) -> None:
        self.records.clear()
        self.standing = None
        for reading in self._readings:
            reading.is_current = False
