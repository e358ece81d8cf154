-- Sessions, tombstones, events and the time at which all sessions were ended. Never edit the statements of a released version: add a
-- file for the next one.
--
-- Every index of live sessions starts with the era: end_all starts a new era by writing one row, and lists and counts never read the
-- ended sessions that expire has not yet removed. The indexes do not contain the handle, which would be half of their size: SQLite
-- sorts the few rows of one moment. "private" holds the fields that no list reads, as one MessagePack array.
--
-- User agents are long, and many sessions have the same one: "user_agent" is an id of this table.
CREATE TABLE agents (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, uses INTEGER NOT NULL DEFAULT 0);
CREATE INDEX agents_unused ON agents (id) WHERE uses <= 0;
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, handle TEXT UNIQUE, user TEXT, ip TEXT NOT NULL, user_agent INTEGER NOT NULL,
    created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
    private BLOB NOT NULL, era INTEGER NOT NULL,
    -- A damaged expiry (text or a blob) counts in the last possible minute, because SQLite sorts both after all numbers.
    minute INTEGER AS (
        CASE WHEN typeof(expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE CAST(expires_at / 60 AS INTEGER) END));
CREATE INDEX sessions_by_last_seen ON sessions (era, last_seen_at);
CREATE INDEX sessions_by_user ON sessions (era, user, last_seen_at DESC) WHERE user IS NOT NULL;
CREATE INDEX sessions_by_ip ON sessions (era, ip, last_seen_at);
CREATE INDEX sessions_by_expiry ON sessions (era, expires_at);
-- Together with sessions_by_last_seen, this finds all sessions created since a time: the others were used after their creation.
CREATE INDEX sessions_used_before_creation ON sessions (era, created_at) WHERE created_at > last_seen_at;
CREATE INDEX sessions_by_signed_in ON sessions (era, signed_in_at) WHERE user IS NOT NULL;
CREATE INDEX sessions_of_visitors ON sessions (era, user, last_seen_at) WHERE user IS NULL;
-- Rows of sessions that have ended and have a tombstone. Deleting a row changes a page of each index, so a call that ends
-- many sessions leaves their rows to expire. Lists, counts and loads skip them.
CREATE TABLE leftovers (id INTEGER PRIMARY KEY);
CREATE TABLE tombstones (
    id INTEGER PRIMARY KEY, handle TEXT UNIQUE, user TEXT, ip TEXT NOT NULL, user_agent INTEGER NOT NULL,
    created_at REAL NOT NULL, signed_in_at REAL, last_seen_at REAL NOT NULL, expires_at REAL NOT NULL,
    ended_at REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT, reason TEXT NOT NULL, action TEXT NOT NULL,
    keep_until REAL NOT NULL);
CREATE INDEX tombstones_by_end ON tombstones (ended_at, handle);
CREATE INDEX tombstones_by_user ON tombstones (user, ended_at, handle) WHERE user IS NOT NULL;
CREATE INDEX tombstones_by_ip ON tombstones (ip, ended_at, handle);
CREATE INDEX tombstones_by_keep_until ON tombstones (keep_until);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, handle TEXT NOT NULL, at REAL NOT NULL,
    user TEXT, cause TEXT, ended_by TEXT);
-- One row: when all sessions were last ended, by whom, why and by which action, and the era that began then.
CREATE TABLE ended_all (
    id INTEGER PRIMARY KEY CHECK (id = 1), not_before REAL NOT NULL, cause TEXT NOT NULL, ended_by TEXT,
    reason TEXT NOT NULL, action TEXT NOT NULL, keep_until REAL NOT NULL, era INTEGER NOT NULL DEFAULT 0);
-- Small values for Store.swap.
CREATE TABLE cells (name TEXT PRIMARY KEY, value BLOB NOT NULL, keep_until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX cells_by_keep_until ON cells (keep_until);
-- One row, changed by every change of a session, whoever makes it. Processes see by it whether the records that they remember are
-- still the stored ones.
CREATE TABLE revision (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL);
INSERT INTO revision VALUES (1, 0);
-- The number of sessions that expire in each minute. Triggers maintain it, so that no write can omit it.
CREATE TABLE ending_in (era INTEGER, minute INTEGER, sessions INTEGER NOT NULL, PRIMARY KEY (era, minute)) WITHOUT ROWID;
CREATE TRIGGER sessions_counted AFTER INSERT ON sessions BEGIN
    UPDATE revision SET number = number + 1;
    INSERT INTO ending_in VALUES (new.era, new.minute, 1) ON CONFLICT (era, minute) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_discounted AFTER DELETE ON sessions BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE ending_in SET sessions = sessions - 1
        WHERE era = old.era AND minute = old.minute AND NOT EXISTS (SELECT 1 FROM leftovers WHERE id = old.id);
    DELETE FROM ending_in WHERE era = old.era AND minute = old.minute AND sessions <= 0;
    DELETE FROM leftovers WHERE id = old.id;
END;
CREATE TRIGGER leftovers_discounted AFTER INSERT ON leftovers BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE ending_in SET sessions = sessions - 1
        WHERE (era, minute) = (SELECT era, minute FROM sessions WHERE id = new.id);
END;
CREATE TRIGGER sessions_changed AFTER UPDATE ON sessions BEGIN
    UPDATE revision SET number = number + 1;
END;
CREATE TRIGGER sessions_recounted AFTER UPDATE OF era, expires_at ON sessions
    WHEN (old.era IS NOT new.era OR old.minute <> new.minute) AND NOT EXISTS (SELECT 1 FROM leftovers WHERE id = old.id) BEGIN
    UPDATE ending_in SET sessions = sessions - 1 WHERE era = old.era AND minute = old.minute;
    DELETE FROM ending_in WHERE era = old.era AND minute = old.minute AND sessions <= 0;
    INSERT INTO ending_in VALUES (new.era, new.minute, 1) ON CONFLICT (era, minute) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER end_all_noticed AFTER INSERT ON ended_all BEGIN
    UPDATE revision SET number = number + 1;
END;
CREATE TRIGGER end_all_changed AFTER UPDATE ON ended_all BEGIN
    UPDATE revision SET number = number + 1;
END;
CREATE TRIGGER end_all_forgotten AFTER DELETE ON ended_all BEGIN
    UPDATE revision SET number = number + 1;
END;
-- The number of sessions and tombstones that have each user agent. "expire" removes those without any.
CREATE TRIGGER sessions_agent_added AFTER INSERT ON sessions BEGIN
    UPDATE agents SET uses = uses + 1 WHERE id = new.user_agent;
END;
CREATE TRIGGER sessions_agent_removed AFTER DELETE ON sessions BEGIN
    UPDATE agents SET uses = uses - 1 WHERE id = old.user_agent;
END;
CREATE TRIGGER sessions_agent_changed AFTER UPDATE OF user_agent ON sessions BEGIN
    UPDATE agents SET uses = uses - 1 WHERE id = old.user_agent;
    UPDATE agents SET uses = uses + 1 WHERE id = new.user_agent;
END;
CREATE TRIGGER tombstones_agent_added AFTER INSERT ON tombstones BEGIN
    UPDATE agents SET uses = uses + 1 WHERE id = new.user_agent;
END;
CREATE TRIGGER tombstones_agent_removed AFTER DELETE ON tombstones BEGIN
    UPDATE agents SET uses = uses - 1 WHERE id = old.user_agent;
END;
CREATE TRIGGER tombstones_agent_changed AFTER UPDATE OF user_agent ON tombstones BEGIN
    UPDATE agents SET uses = uses - 1 WHERE id = old.user_agent;
    UPDATE agents SET uses = uses + 1 WHERE id = new.user_agent;
END;
