"""The columns of sessions and tombstones, in the order in which they are selected, and how a user agent is stored.

It must not know connections. A user agent is long and shared by many sessions, so its text is stored once, in ``agents``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tornado_sessions.stores.stored_fields import SUMMARY_FIELDS

__all__ = ["ADD_AGENT", "ENDING", "FACTS", "RECORD", "TOMBSTONE", "assigned", "selected"]

FACTS = SUMMARY_FIELDS
#: ``private`` holds the other fields of a record. A SELECT adds era and id after these.
RECORD = (*FACTS, "private")
#: Fields of an ending and their columns.
ENDING = {
    "at": "ended_at", "cause": "cause", "by": "ended_by", "reason": "reason", "action": "action", "keep_until": "keep_until",
}  # fmt: skip
TOMBSTONE = (*FACTS, *ENDING.values())

#: Stores a user agent, before a row with it is written.
ADD_AGENT = "INSERT INTO agents (text) VALUES (?) ON CONFLICT DO NOTHING"


def selected(columns: Iterable[str]) -> str:
    """Return the list of a SELECT, with the text of the user agent."""
    agent = "(SELECT text FROM agents WHERE id = user_agent) AS user_agent"
    return ", ".join(agent if name == "user_agent" else name for name in columns)


def assigned(column: str) -> str:
    """Return the expression that stores a parameter in a column."""
    return "(SELECT id FROM agents WHERE text = ?)" if column == "user_agent" else "?"
