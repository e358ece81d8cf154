-- Eras. Every index of live sessions starts with the era: end_all starts a new era by writing one row, and lists and counts never read
-- the ended sessions that expire has not yet removed.
--
-- An expiry that is damaged (text or a blob) counts in the last possible minute, because SQLite sorts both after all numbers.
DROP TRIGGER sessions_counted;
DROP TRIGGER sessions_discounted;
DROP TRIGGER sessions_recounted;
DROP TABLE ending_in;
DROP INDEX sessions_by_last_seen;
DROP INDEX sessions_by_user;
DROP INDEX sessions_by_ip;
DROP INDEX sessions_by_expiry;
DROP INDEX sessions_by_creation;
DROP INDEX sessions_by_signed_in;
DROP INDEX sessions_of_visitors;
ALTER TABLE sessions ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ended_all ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET era = -1 WHERE created_at < (SELECT not_before FROM ended_all);
CREATE INDEX sessions_by_last_seen ON sessions (era, last_seen_at DESC, handle);
CREATE INDEX sessions_by_user ON sessions (era, user, last_seen_at DESC, handle) WHERE user IS NOT NULL;
CREATE INDEX sessions_by_ip ON sessions (era, ip, last_seen_at DESC, handle);
CREATE INDEX sessions_by_expiry ON sessions (era, expires_at, handle);
CREATE INDEX sessions_by_creation ON sessions (era, created_at);
CREATE INDEX sessions_by_signed_in ON sessions (era, signed_in_at DESC, handle) WHERE user IS NOT NULL;
CREATE INDEX sessions_of_visitors ON sessions (era, last_seen_at DESC, handle) WHERE user IS NULL;
CREATE TABLE ending_in (era INTEGER, minute INTEGER, sessions INTEGER NOT NULL, PRIMARY KEY (era, minute)) WITHOUT ROWID;
INSERT INTO ending_in
    SELECT era, CASE WHEN typeof(expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(expires_at / 60 AS INTEGER), 0) END, count(*)
    FROM sessions GROUP BY 1, 2;
CREATE TRIGGER sessions_counted AFTER INSERT ON sessions BEGIN
    INSERT INTO ending_in VALUES (
        new.era, CASE WHEN typeof(new.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(new.expires_at / 60 AS INTEGER), 0) END, 1)
    ON CONFLICT (era, minute) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_discounted AFTER DELETE ON sessions BEGIN
    UPDATE ending_in SET sessions = sessions - 1 WHERE era = old.era AND minute =
        CASE WHEN typeof(old.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(old.expires_at / 60 AS INTEGER), 0) END;
    DELETE FROM ending_in WHERE era = old.era AND minute =
        CASE WHEN typeof(old.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(old.expires_at / 60 AS INTEGER), 0) END
        AND sessions <= 0;
END;
CREATE TRIGGER sessions_recounted AFTER UPDATE OF era, expires_at ON sessions
    WHEN old.era IS NOT new.era
    OR CASE WHEN typeof(old.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(old.expires_at / 60 AS INTEGER), 0) END
    <> CASE WHEN typeof(new.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(new.expires_at / 60 AS INTEGER), 0) END BEGIN
    UPDATE ending_in SET sessions = sessions - 1 WHERE era = old.era AND minute =
        CASE WHEN typeof(old.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(old.expires_at / 60 AS INTEGER), 0) END;
    DELETE FROM ending_in WHERE era = old.era AND minute =
        CASE WHEN typeof(old.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(old.expires_at / 60 AS INTEGER), 0) END
        AND sessions <= 0;
    INSERT INTO ending_in VALUES (
        new.era, CASE WHEN typeof(new.expires_at) IN ('text', 'blob') THEN 9223372036854775807 ELSE coalesce(CAST(new.expires_at / 60 AS INTEGER), 0) END, 1)
    ON CONFLICT (era, minute) DO UPDATE SET sessions = sessions + 1;
END;
-- Small values for Store.swap.
CREATE TABLE cells (name TEXT PRIMARY KEY, value BLOB NOT NULL, keep_until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX cells_by_keep_until ON cells (keep_until);
