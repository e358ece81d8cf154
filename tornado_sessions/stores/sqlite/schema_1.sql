-- Sessions, tombstones, events and the time at which all sessions were ended. Never edit the statements of a released version:
-- add a file for the next one.
CREATE TABLE sessions (
    handle TEXT PRIMARY KEY, user TEXT, ip TEXT NOT NULL, user_agent TEXT NOT NULL,
    created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
    secret_hash BLOB NOT NULL, previous_hash BLOB, rotated_at REAL NOT NULL, confirmed_at REAL, grace REAL NOT NULL,
    absolute_at REAL NOT NULL, idle_timeout REAL NOT NULL, persistent INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX sessions_by_last_seen ON sessions (last_seen_at DESC, handle);
CREATE INDEX sessions_by_user ON sessions (user, last_seen_at DESC, handle) WHERE user IS NOT NULL;
CREATE INDEX sessions_by_ip ON sessions (ip, last_seen_at DESC, handle);
-- Includes created_at, so that counting live sessions reads only this index.
CREATE INDEX sessions_by_expiry ON sessions (expires_at, created_at);
CREATE INDEX sessions_by_creation ON sessions (created_at);
CREATE TABLE tombstones (
    handle TEXT PRIMARY KEY, user TEXT, ip TEXT NOT NULL, user_agent TEXT NOT NULL,
    created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
    ended_at REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT, reason TEXT NOT NULL, keep_until REAL NOT NULL);
CREATE INDEX tombstones_by_end ON tombstones (ended_at DESC, handle);
CREATE INDEX tombstones_by_user ON tombstones (user, ended_at DESC, handle) WHERE user IS NOT NULL;
CREATE INDEX tombstones_by_ip ON tombstones (ip, ended_at DESC, handle);
CREATE INDEX tombstones_by_keep_until ON tombstones (keep_until);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, handle TEXT NOT NULL, at REAL NOT NULL,
    user TEXT, cause TEXT, ended_by TEXT);
-- One row: when all sessions were last ended, by whom and why.
CREATE TABLE ended_all (
    id INTEGER PRIMARY KEY CHECK (id = 1), not_before REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT,
    reason TEXT NOT NULL, keep_until REAL NOT NULL);
