CREATE TABLE stored_counts (
    key TEXT PRIMARY KEY, amount INTEGER NOT NULL, ends_at REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX stored_counts_by_end ON stored_counts (ends_at);
