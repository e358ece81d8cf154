-- Version 1 of the documents' tables. Never edit the statements of a released version.
CREATE TABLE stored_documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;

CREATE TABLE document_tags (
    kind TEXT NOT NULL, tag TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (kind, tag, key)
) WITHOUT ROWID;

CREATE INDEX document_tags_by_key ON document_tags (kind, key);

CREATE TABLE document_names (
    kind TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE INDEX document_names_by_key ON document_names (kind, key);
