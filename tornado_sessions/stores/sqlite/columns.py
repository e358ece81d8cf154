"""The columns of sessions and tombstones, in the order in which they are selected.

It must not know connections or statements.
"""

from __future__ import annotations

from tornado_sessions.stores.stored_fields import RECORD_FIELDS, SUMMARY_FIELDS

__all__ = ["ENDING", "FACTS", "RECORD", "TOMBSTONE"]

FACTS = SUMMARY_FIELDS
#: ``data`` is the last; a SELECT adds era and rowid after it.
RECORD = RECORD_FIELDS
#: Fields of an ending and their columns.
ENDING = {"at": "ended_at", "cause": "cause", "by": "ended_by", "reason": "reason", "keep_until": "keep_until"}
TOMBSTONE = (*FACTS, *ENDING.values())
