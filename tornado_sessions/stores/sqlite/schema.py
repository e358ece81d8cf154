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


def _minute(column: str) -> str:
    """The minute of a time. Text and blobs come after every time, as in all of SQLite's comparisons."""
    return (
        f"CASE WHEN typeof({column}) IN ('text', 'blob') THEN 9223372036854775807"
        f" ELSE coalesce(CAST({column} / 60 AS INTEGER), 0) END"
    )


def _count(row: str) -> str:
    return f"""INSERT INTO ending_in VALUES ({row}.era, {_minute(f"{row}.expires_at")}, 1)
        ON CONFLICT (era, minute) DO UPDATE SET sessions = sessions + 1;"""


def _discount(row: str) -> str:
    key = f"era = {row}.era AND minute = {_minute(f'{row}.expires_at')}"
    return f"""UPDATE ending_in SET sessions = sessions - 1 WHERE {key};
        DELETE FROM ending_in WHERE {key} AND sessions <= 0;"""


# Every index of living sessions begins with their era, so ``end_all`` starts a new era by writing one row, and lists and
# counts never walk the ended sessions that ``expire`` has not yet removed.
_VERSION_3 = (
    "DROP TRIGGER sessions_counted",
    "DROP TRIGGER sessions_discounted",
    "DROP TRIGGER sessions_recounted",
    "DROP TABLE ending_in",
    *(
        f"DROP INDEX sessions_{name}"
        for name in ("by_last_seen", "by_user", "by_ip", "by_expiry", "by_creation", "by_signed_in", "of_visitors")
    ),
    "ALTER TABLE sessions ADD COLUMN era INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE ended_all ADD COLUMN era INTEGER NOT NULL DEFAULT 0",
    "UPDATE sessions SET era = -1 WHERE created_at < (SELECT not_before FROM ended_all)",
    "CREATE INDEX sessions_by_last_seen ON sessions (era, last_seen_at DESC, handle)",
    "CREATE INDEX sessions_by_user ON sessions (era, user, last_seen_at DESC, handle) WHERE user IS NOT NULL",
    "CREATE INDEX sessions_by_ip ON sessions (era, ip, last_seen_at DESC, handle)",
    "CREATE INDEX sessions_by_expiry ON sessions (era, expires_at, handle)",
    "CREATE INDEX sessions_by_creation ON sessions (era, created_at)",
    "CREATE INDEX sessions_by_signed_in ON sessions (era, signed_in_at DESC, handle) WHERE user IS NOT NULL",
    "CREATE INDEX sessions_of_visitors ON sessions (era, last_seen_at DESC, handle) WHERE user IS NULL",
    "CREATE TABLE ending_in (era INTEGER, minute INTEGER, sessions INTEGER NOT NULL, PRIMARY KEY (era, minute)) WITHOUT ROWID",
    f"INSERT INTO ending_in SELECT era, {_minute('expires_at')}, count(*) FROM sessions GROUP BY 1, 2",
    f"CREATE TRIGGER sessions_counted AFTER INSERT ON sessions BEGIN {_count('new')} END",
    f"CREATE TRIGGER sessions_discounted AFTER DELETE ON sessions BEGIN {_discount('old')} END",
    f"""CREATE TRIGGER sessions_recounted AFTER UPDATE OF era, expires_at ON sessions
        WHEN old.era IS NOT new.era OR {_minute("old.expires_at")} <> {_minute("new.expires_at")}
        BEGIN {_discount("old")} {_count("new")} END""",
    # Small values for ``Store.swap``.
    "CREATE TABLE cells (name TEXT PRIMARY KEY, value BLOB NOT NULL, keep_until REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX cells_by_keep_until ON cells (keep_until)",
)

MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
