"""``KnownRecords``: decode records, and remember the latest ones by their bytes.

A browser asks for the same session again and again, and most changes are of values only. The bytes always come from the server,
so what is remembered saves the decoding and cannot be out of date. It must not know connections or keys.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from tornado_sessions.damage import Unreadable
from tornado_sessions.record import Damaged, Record
from tornado_sessions.stores.redis.records import read_data, read_head, salvaged

__all__ = ["KnownRecords"]

#: Maximum number of remembered records, and of bytes of each: at most about 20 MB.
_MOST, _LONGEST = 4096, 2048


class _Known(NamedTuple):
    """A decoded record: its bytes, those of them before its values, and what they say."""

    stored: bytes
    head: bytes
    record: Record


class KnownRecords:
    """Decodes the records of one store."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def load(self, handle: str, stored: bytes) -> Record | Damaged:
        """Return a session, as ``records.load_record`` does."""
        known = self._known.get(handle)
        if known is not None and known.stored == stored:
            return known.record
        try:
            if known is not None and stored.startswith(known.head):
                facts, at = known.record, len(known.head)
            else:
                facts, at = read_head(handle, stored)
            record = replace(facts, data=read_data(stored, at))
        except Unreadable as error:
            return salvaged(handle, stored, error.why)
        if len(stored) <= _LONGEST:
            if known is None and len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[handle] = _Known(stored, stored[:at], record)
        return record
