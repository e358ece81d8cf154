"""The columns of sessions and tombstones, in the order in which they are selected.

It must not know connections or statements.
"""

from __future__ import annotations

from tornado_sessions.stores.stored_fields import SUMMARY_FIELDS

__all__ = ["ENDING", "FACTS", "RECORD", "TOMBSTONE"]

FACTS = SUMMARY_FIELDS
#: ``private`` holds the other fields of a record. A SELECT adds era and id after these.
RECORD = (*FACTS, "private")
#: Fields of an ending and their columns.
ENDING = {
    "at": "ended_at", "cause": "cause", "by": "ended_by", "reason": "reason", "action": "action", "keep_until": "keep_until",
}  # fmt: skip
TOMBSTONE = (*FACTS, *ENDING.values())
