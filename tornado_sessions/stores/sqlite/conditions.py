"""Conditions of SQL for filters, and texts of rows for cursors.

Pure functions. They must not know connections or pages.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_sessions.query import Query
from tornado_sessions.stores.cursor import bad_cursor
from tornado_sessions.stores.indexes import Index, Range, index_ranges
from tornado_sessions.stores.matching import family

__all__ = ["condition", "necessary", "shown", "text_of"]

# In a cursor, the prefix of text that is not UTF-8, as hexadecimal digits.
_BYTES = "\U0010ffff"


def condition(part: Range) -> tuple[str, list[Any]]:
    """Return the condition of the rows in a range, and its parameters."""
    if part.is_prefix:
        return f"{part.field} >= ? AND {part.field} < ?", [part.value, part.value + _BYTES]
    return f"{part.field} = ?", [part.value]


def necessary(query: Query, index: Index) -> tuple[str, list[Any]]:
    """Return necessary conditions of a match, and their parameters. They only save time: ``paging`` applies all filters."""
    answered = {Index.OF_USER: "user", Index.OF_IP: "ip", Index.ENDED_OF_IP: "ip"}.get(index)
    ranges = index_ranges(msgspec.structs.replace(query, **{answered: None}) if answered is not None else query)
    found = [condition(part) for part in ranges or []]
    conditions = [" OR ".join(where for where, _ in found)] if found else []
    values = [value for _, bound in found for value in bound]
    if query.signed_in_since is not None:
        conditions.append("signed_in_at >= ?")
        values.append(query.signed_in_since)
    if query.text is not None and query.text.isascii() and "\0" not in query.text:
        # Other letters have upper cases that SQLite does not know, and a NUL ends what it compares.
        starts = [f"substr({column}, 1, ?) = ? COLLATE NOCASE" for column in ("user", "ip", "handle")]
        conditions.append(" OR ".join(starts))
        values += [len(query.text), query.text] * 3
    for word in family(query.device).has if query.device is not None else ():
        conditions.append("instr(user_agent, ?) > 0")
        values.append(word)
    return " AND ".join(f"({condition})" for condition in conditions), values


def shown(stored: str | bytearray) -> str:
    """Return a text for a cursor; as hexadecimal digits if it is not UTF-8, or if it starts with their prefix itself."""
    if isinstance(stored, str) and not stored.startswith(_BYTES):
        return stored
    return _BYTES + (stored.encode() if isinstance(stored, str) else stored).hex()


def text_of(shown: str) -> str | bytes:
    """Return the text that ``shown`` encoded, for ``CAST(? AS TEXT)``; raise ``QueryError`` if it is malformed."""
    if not shown.startswith(_BYTES):
        return shown
    try:
        return bytes.fromhex(shown.removeprefix(_BYTES))
    except ValueError:
        raise bad_cursor() from None
