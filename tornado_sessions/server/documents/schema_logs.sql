-- Version 3: the entries of a log can be added and, from the oldest on, forgotten; SQLite refuses every other change.
-- This stops mistakes and injected statements. A person who can write to the file can also drop triggers: only signatures show that.
CREATE TABLE document_logs (
    kind TEXT NOT NULL PRIMARY KEY, forgotten TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO document_logs VALUES ('audit', '');

CREATE TRIGGER logs_stay BEFORE DELETE ON document_logs
BEGIN SELECT RAISE(ABORT, 'a log cannot be made deletable'); END;

CREATE TRIGGER logs_forget_forwards BEFORE UPDATE ON document_logs WHEN NEW.kind <> OLD.kind OR NEW.forgotten < OLD.forgotten
BEGIN SELECT RAISE(ABORT, 'a log forgets from its oldest entry on'); END;

CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON stored_documents
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind IN (OLD.kind, NEW.kind))
BEGIN SELECT RAISE(ABORT, 'entries of a log cannot be changed'); END;

-- INSERT OR REPLACE deletes without firing the trigger of deletions.
CREATE TRIGGER entries_are_not_replaced BEFORE INSERT ON stored_documents
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind = NEW.kind)
AND EXISTS (SELECT 1 FROM stored_documents WHERE kind = NEW.kind AND key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'entries of a log cannot be changed'); END;

CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON stored_documents
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind = OLD.kind AND OLD.key > forgotten)
BEGIN SELECT RAISE(ABORT, 'entries of a log cannot be deleted'); END;

CREATE TRIGGER tags_of_entries_are_not_changed BEFORE UPDATE ON document_tags
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind IN (OLD.kind, NEW.kind))
BEGIN SELECT RAISE(ABORT, 'tags of a log cannot be changed'); END;

CREATE TRIGGER tags_of_entries_are_not_deleted BEFORE DELETE ON document_tags
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind = OLD.kind AND OLD.key > forgotten)
BEGIN SELECT RAISE(ABORT, 'tags of a log cannot be deleted'); END;

CREATE TRIGGER logs_are_not_replaced BEFORE INSERT ON document_logs
WHEN EXISTS (SELECT 1 FROM document_logs WHERE kind = NEW.kind)
BEGIN SELECT RAISE(ABORT, 'a log forgets from its oldest entry on'); END;
