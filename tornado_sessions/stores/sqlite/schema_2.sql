-- Indexes for more lists, and the number of sessions that expire in each minute. Triggers maintain it, so that no write can omit it.
DROP INDEX sessions_by_expiry;
CREATE INDEX sessions_by_expiry ON sessions (expires_at, handle);
CREATE INDEX sessions_by_signed_in ON sessions (signed_in_at DESC, handle) WHERE user IS NOT NULL;
CREATE INDEX sessions_of_visitors ON sessions (last_seen_at DESC, handle) WHERE user IS NULL;
CREATE TABLE ending_in (minute INTEGER PRIMARY KEY, sessions INTEGER NOT NULL);
INSERT INTO ending_in SELECT CAST(expires_at / 60 AS INTEGER), count(*) FROM sessions GROUP BY 1;
CREATE TRIGGER sessions_counted AFTER INSERT ON sessions BEGIN
    INSERT INTO ending_in VALUES (CAST(new.expires_at / 60 AS INTEGER), 1)
    ON CONFLICT (minute) DO UPDATE SET sessions = sessions + 1;
END;
CREATE TRIGGER sessions_discounted AFTER DELETE ON sessions BEGIN
    UPDATE ending_in SET sessions = sessions - 1 WHERE minute = CAST(old.expires_at / 60 AS INTEGER);
    DELETE FROM ending_in WHERE minute = CAST(old.expires_at / 60 AS INTEGER) AND sessions <= 0;
END;
CREATE TRIGGER sessions_recounted AFTER UPDATE OF expires_at ON sessions
    WHEN CAST(old.expires_at / 60 AS INTEGER) <> CAST(new.expires_at / 60 AS INTEGER) BEGIN
    UPDATE ending_in SET sessions = sessions - 1 WHERE minute = CAST(old.expires_at / 60 AS INTEGER);
    DELETE FROM ending_in WHERE minute = CAST(old.expires_at / 60 AS INTEGER) AND sessions <= 0;
    INSERT INTO ending_in VALUES (CAST(new.expires_at / 60 AS INTEGER), 1)
    ON CONFLICT (minute) DO UPDATE SET sessions = sessions + 1;
END;
