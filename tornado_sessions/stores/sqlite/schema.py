"""The tables of sessions and their indexes, version by version.

It must not know how they are used. A released version is never edited; a new one is added below it.
"""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

_VERSION_1 = (
    """CREATE TABLE sessions (
        handle TEXT PRIMARY KEY, user TEXT, ip TEXT NOT NULL, user_agent TEXT NOT NULL,
        created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
        secret_hash BLOB NOT NULL, previous_hash BLOB, rotated_at REAL NOT NULL, confirmed_at REAL, grace REAL NOT NULL,
        absolute_at REAL NOT NULL, idle_timeout REAL NOT NULL, persistent INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE INDEX sessions_by_last_seen ON sessions (last_seen_at DESC, handle)",
    "CREATE INDEX sessions_by_user ON sessions (user, last_seen_at DESC, handle) WHERE user IS NOT NULL",
    "CREATE INDEX sessions_by_ip ON sessions (ip, last_seen_at DESC, handle)",
    # With created_at inside, counting the live ones reads this index alone.
    "CREATE INDEX sessions_by_expiry ON sessions (expires_at, created_at)",
    "CREATE INDEX sessions_by_creation ON sessions (created_at)",
    """CREATE TABLE tombstones (
        handle TEXT PRIMARY KEY, user TEXT, ip TEXT NOT NULL, user_agent TEXT NOT NULL,
        created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
        ended_at REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT, reason TEXT NOT NULL, keep_until REAL NOT NULL)""",
    "CREATE INDEX tombstones_by_end ON tombstones (ended_at DESC, handle)",
    "CREATE INDEX tombstones_by_user ON tombstones (user, ended_at DESC, handle) WHERE user IS NOT NULL",
    "CREATE INDEX tombstones_by_ip ON tombstones (ip, ended_at DESC, handle)",
    "CREATE INDEX tombstones_by_keep_until ON tombstones (keep_until)",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, handle TEXT NOT NULL, at REAL NOT NULL,
        user TEXT, cause TEXT, ended_by TEXT)""",
    # One row: when everybody's sessions were ended last, and by whom.
    """CREATE TABLE ended_all (
        id INTEGER PRIMARY KEY CHECK (id = 1), not_before REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT,
        reason TEXT NOT NULL, keep_until REAL NOT NULL)""",
)

# Lists in other orders, and how many sessions end in each minute: kept by the database itself, so that no write can forget it.
_VERSION_2 = (
    "DROP INDEX sessions_by_expiry",
    "CREATE INDEX sessions_by_expiry ON sessions (expires_at, handle)",
    "CREATE INDEX sessions_by_signed_in ON sessions (signed_in_at DESC, handle) WHERE user IS NOT NULL",
    "CREATE INDEX sessions_of_visitors ON sessions (last_seen_at DESC, handle) WHERE user IS NULL",
    "CREATE TABLE ending_in (minute INTEGER PRIMARY KEY, sessions INTEGER NOT NULL)",
    "INSERT INTO ending_in SELECT CAST(expires_at / 60 AS INTEGER), count(*) FROM sessions GROUP BY 1",
    """CREATE TRIGGER sessions_counted AFTER INSERT ON sessions BEGIN
        INSERT INTO ending_in VALUES (CAST(new.expires_at / 60 AS INTEGER), 1)
        ON CONFLICT (minute) DO UPDATE SET sessions = sessions + 1; END""",
    """CREATE TRIGGER sessions_discounted AFTER DELETE ON sessions BEGIN
        UPDATE ending_in SET sessions = sessions - 1 WHERE minute = CAST(old.expires_at / 60 AS INTEGER);
        DELETE FROM ending_in WHERE minute = CAST(old.expires_at / 60 AS INTEGER) AND sessions <= 0; END""",
    """CREATE TRIGGER sessions_recounted AFTER UPDATE OF expires_at ON sessions
        WHEN CAST(old.expires_at / 60 AS INTEGER) <> CAST(new.expires_at / 60 AS INTEGER) BEGIN
        UPDATE ending_in SET sessions = sessions - 1 WHERE minute = CAST(old.expires_at / 60 AS INTEGER);
        DELETE FROM ending_in WHERE minute = CAST(old.expires_at / 60 AS INTEGER) AND sessions <= 0;
        INSERT INTO ending_in VALUES (CAST(new.expires_at / 60 AS INTEGER), 1)
        ON CONFLICT (minute) DO UPDATE SET sessions = sessions + 1; END""",
)

MIGRATIONS = (_VERSION_1, _VERSION_2)
