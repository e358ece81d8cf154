"""End all sessions: each session belongs to an era, and ``end_all`` starts the next one.

It must not know threads or lists. The era is the first column of every index of live sessions. Changing the single row
of ``ended_all`` therefore removes all ended sessions from all lists and counts at once; they keep their old era until
``expire`` removes them.

The row holds the current era and ``not_before``. Both give the same answer: a session is in the current era if and only
if it was created at ``not_before`` or later. If one of them is damaged, the other decides.
"""

from __future__ import annotations

import math
import sqlite3
from typing import NamedTuple

from tornado_sessions.record import LATEST, Cause, Ending, Record
from tornado_sessions.stores.sqlite.rows import Stored
from tornado_sessions.stores.stored_fields import number_or

__all__ = ["Standing", "ending", "standing", "start"]

_WRITE = """INSERT OR REPLACE INTO ended_all (id, not_before, cause, ended_by, reason, action, keep_until, era)
    VALUES (1, ?, ?, ?, ?, ?, ?, ?)"""


class Standing(NamedTuple):
    """The state after the latest ``end_all``.

    Attributes:
        not_before: sessions created earlier have ended, in UTC seconds; 0.0 if there was no ``end_all`` or the value is
            damaged.
        era: the era of live sessions.
        is_certain: whether ``not_before`` is readable; if not, the era alone decides which sessions have ended.
    """

    not_before: float
    era: int
    is_certain: bool

    def holds(self, row: Stored) -> bool:
        """Whether no ``end_all`` has ended the session in this row; it may have expired."""
        if self.is_certain and isinstance(row.item, Record):
            return row.item.created_at >= self.not_before
        # A session with a damaged era may be live, so it must remain possible to end it.
        return type(row.era) is not int or row.era >= self.era


def standing(connection: sqlite3.Connection) -> Standing:
    """Read the state after the latest ``end_all``; if its era is damaged, derive it from the sessions."""
    row = connection.execute("SELECT not_before, era FROM ended_all").fetchone()
    if row is None:
        return Standing(0.0, 0, is_certain=True)
    since, era = number_or(row[0], -1.0), row[1]
    is_certain = since >= 0
    since = since if is_certain else 0.0
    return Standing(since, era if type(era) is int else _derived(connection, since), is_certain)


def _derived(connection: sqlite3.Connection, not_before: float) -> int:
    """Return the current era if the stored number is damaged.

    It is the latest era of any session, or the next one if all sessions of that era have ended.
    """
    # Text sorts after every number, so "< ''" finds readable eras only.
    row = connection.execute("SELECT era FROM sessions WHERE era < '' ORDER BY era DESC LIMIT 1").fetchone()
    latest = int(row[0]) if row is not None else 0
    sql = "SELECT 1 FROM sessions WHERE era = ? AND created_at >= ? LIMIT 1"
    return latest if connection.execute(sql, (latest, not_before)).fetchone() is not None else latest + 1


def start(connection: sqlite3.Connection, not_before: float | None, ending: Ending, latest: float) -> float | None:
    """Start a new era and move sessions created at ``not_before`` or later into it.

    Args:
        connection: inside a transaction.
        not_before: in UTC seconds; ``None`` for a time after that of every session.
        ending: who ends them and why.
        latest: times of sessions from this one on are ignored, in UTC seconds.

    Returns:
        The new ``not_before``; ``None`` if the current era started at that time or later, and nothing was written.
    """
    now = standing(connection)
    if not_before is not None and not_before <= now.not_before:
        return None
    since = not_before
    if since is None:
        since = max(_after_everybody(connection, now.era, ending.at, latest), now.not_before)
    values = (since, ending.cause.value, ending.by, ending.reason, ending.action, ending.keep_until, now.era + 1)
    connection.execute(_WRITE, values)
    if not_before is not None:
        # A damaged created_at is not in this range, so the session ends.
        created = "UPDATE sessions SET era = ? WHERE era = ? AND created_at >= ? AND created_at < ?"
        moved = (now.era + 1, now.era, not_before, LATEST)
        connection.execute(f"{created} AND last_seen_at >= ?", (*moved, not_before))
        connection.execute(f"{created} AND created_at > last_seen_at", moved)
    return since


def _after_everybody(connection: sqlite3.Connection, era: int, at: float, latest: float) -> float:
    """Return ``at``, or a microsecond after the latest time of any session if that is later.

    Times from ``latest`` on are ignored. A session is created before its latest use, so that of all others is enough.
    """
    for column, others in (
        ("last_seen_at", ""),
        ("created_at", "AND last_seen_at >= ?2"),
        ("created_at", "AND created_at > last_seen_at"),
    ):
        sql = f"SELECT {column} FROM sessions WHERE era = ?1 AND {column} < ?2 {others} ORDER BY {column} DESC LIMIT 1"
        row = connection.execute(sql, (era, latest)).fetchone()
        if row is not None:
            # For times far in the future, a microsecond is below the precision of a float.
            at = max(at, row[0] + 1e-6, math.nextafter(row[0], math.inf))
    return at


def ending(connection: sqlite3.Connection, keep_until: float) -> Ending:
    """Read the ending of the latest ``end_all``. Damaged fields are blank; ``keep_until`` replaces a damaged one."""
    row = connection.execute("SELECT not_before, cause, ended_by, reason, action, keep_until FROM ended_all").fetchone()
    at, cause, by, reason, action, until = row or (0.0, None, None, None, None, None)
    return Ending(
        at=max(number_or(at, 0.0), 0.0),
        cause=Cause(cause) if cause in tuple(Cause) else Cause.OPERATOR,
        by=by if type(by) is str else None,
        reason=reason if type(reason) is str else "",
        action=action if type(action) is str else "",
        keep_until=number_or(until, keep_until),
    )
