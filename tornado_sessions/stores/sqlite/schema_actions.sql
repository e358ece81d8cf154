-- The id of the action that ended a session; empty for sessions that an earlier version ended.
ALTER TABLE tombstones ADD COLUMN action TEXT NOT NULL DEFAULT '';
ALTER TABLE ended_all ADD COLUMN action TEXT NOT NULL DEFAULT '';
