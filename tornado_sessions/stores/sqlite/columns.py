"""The columns of sessions and tombstones, in the order in which they are selected.

It must not know connections or statements.
"""

from __future__ import annotations

from tornado_sessions.stores.stored_fields import RECORD_FIELDS, SUMMARY_FIELDS

__all__ = ["ENDING", "FACTS", "RECORD", "TOMBSTONE"]

FACTS = SUMMARY_FIELDS
#: ``data`` comes last, then the row's era and rowid.
RECORD = RECORD_FIELDS
#: Columns of an ending, by the name of its field.
ENDING = {"at": "ended_at", "cause": "cause", "by": "ended_by", "reason": "reason", "keep_until": "keep_until"}
TOMBSTONE = (*FACTS, *ENDING.values())
