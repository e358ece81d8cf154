"""``Entry``: one line of the audit log, and its stored form.

Plain data and pure functions. A damaged record is returned as a ``DamagedEntry``, so it never makes a list fail. It must not know
where entries are stored or where the keys of their hashes come from.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, salvaged, struct_of
from tornado_sessions.server.documents import Document, LogQuery
from tornado_sessions.server.operations.action_names import Action

__all__ = [
    "AuditQuery", "DamagedEntry", "Entry", "hash_of", "is_same", "outcome_tag", "read_entry", "tags_of", "time_of",
    "with_outcome",
]  # fmt: skip


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log. A field that is added later needs a default, or earlier hashes no longer match.

    Attributes:
        id: counts up from 1 without gaps; 0 until the entry is stored.
        at: UTC seconds.
        actor: a username, ``token NAME``, ``cli`` or ``server``.
        user: the user concerned; empty if there is none.
        ip, user_agent, request_id, session: the actor's IP address, browser, request and session (its handle); empty for
            commands.
        act: an ``Action``.
        target: the object of the action, for example a handle.
        reason: the actor's reason.
        ended: the number of sessions ended; ``None`` while the action runs, if it failed, and for actions that end none.
        error: the class of the error with which the action failed; empty if it did not.
        ref: connects an action with the entry of its outcome; empty for entries without one.
        stored_at: when the entry was stored, if that was later than the action because the store was down or full.
        done_at: the time of its outcome, in lists only: it is not stored.
        previous: the hash of the previous entry, hexadecimal.
        hash: the HMAC over all other fields, hexadecimal.
    """

    id: int = 0
    at: float
    actor: str
    user: str = ""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    session: str = ""
    act: str
    target: str = ""
    reason: str = ""
    ended: int | None = None
    error: str = ""
    ref: str = ""
    stored_at: float | None = None
    done_at: float | None = None
    previous: str = ""
    hash: str = ""


class DamagedEntry(Entry, frozen=True, kw_only=True):
    """An entry whose record cannot be read. Its readable fields are set, the others are blank.

    Attributes:
        why: a description of the damage for operators; contains no stored values.
    """

    at: float = 0.0
    actor: str = ""
    act: str = ""
    why: str


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A query for audit entries, newest first.

    Attributes:
        before: match only entries with a smaller id.
        after: match only entries with a greater id, those next to it; may not be given with ``before`` or ``until``.
        who: the actor or the user concerned; empty matches all.
        act: an ``Action``; empty matches all.
        ref: the action with this ``ref``, which may have an entry for each session; given without ``who`` and ``act``.
        since, until: UTC seconds.
        limit: maximum number of entries.
    """

    before: int | None = None
    after: int | None = None
    who: str = ""
    act: str = ""
    ref: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50

    @property
    def of_log(self) -> LogQuery:
        """The equivalent query for the document log."""
        return LogQuery(self.before, self.tag, self.since, self.until, self.limit)

    @property
    def tag(self) -> str:
        """The tag of the matching entries."""
        return f"action {self.ref}" if self.ref else _tag(self.who, self.act)


def tags_of(entry: Entry) -> list[str]:
    """Return the tags of an entry: one for each combination of ``who`` and ``act`` that finds it.

    Only a query for outcomes finds an outcome: lists show it as part of the action that it belongs to.
    """
    acts = (entry.act,) if entry.act == Action.OUTCOME else (entry.act, "")
    found = [_tag(who, act) for who in (entry.actor, entry.user, "") for act in acts]
    if entry.act == Action.OUTCOME:
        found.append(outcome_tag(entry.ref))
    elif entry.ref:
        found.append(AuditQuery(ref=entry.ref).tag)
    return list(dict.fromkeys(found))


def outcome_tag(ref: str = "") -> str:
    """Return the tag of the outcome of the action with this ``ref``, or of all outcomes."""
    return f"ref {ref}" if ref else _tag("", Action.OUTCOME)


def with_outcome(entry: Entry, outcome: Entry) -> Entry:
    """Return an action with the result that its outcome records."""
    ended = outcome.ended
    # One outcome covers all sessions that were selected together; it names those that had ended before.
    if entry.act == Action.END_SESSION and ended is not None:
        ended = int(entry.target not in outcome.target.split())
    return msgspec.structs.replace(entry, ended=ended, error=outcome.error, done_at=outcome.at)


def _tag(who: str, act: str) -> str:
    # Users choose their names freely, but a tag must not contain NUL.
    return f"{act}:{who}".replace("\0", "")


def read_entry(document: Document) -> Entry:
    """Return the entry of a stored document, a ``DamagedEntry`` if it cannot be read."""
    fields: dict[str, Any] = {}
    why = document.damage
    try:
        fields |= fields_of(document.body) if not why else {}
        entry = struct_of(Entry, fields)
        # A copy of a genuine entry under another number must not pass as genuine.
        if entry.id != int(document.key):
            why = "id is not the one it is filed under"
    except Unreadable as error:
        why = why or error.why
    return DamagedEntry(why=why, **{**salvaged(Entry, fields), "id": int(document.key)}) if why else entry


def time_of(document: Document) -> float | None:
    """Return the time at which an entry was stored, in UTC seconds; ``None`` if it cannot be read."""
    entry = read_entry(document)
    return entry.stored_at or entry.at or None


def hash_of(key: bytes, entry: Entry) -> str:
    """Return the HMAC of an entry. Fields with their default are left out, so that a later version can add fields."""
    # A JSON list keeps the fields apart: text moved from the end of one field to the start of the next changes the hash.
    values = ((name, getattr(entry, name)) for name in Entry.__struct_fields__ if name != "hash")
    covered = [(name, value) for name, value in values if value not in ("", None)]
    return hmac.new(key, msgspec.json.encode(covered), sha256).hexdigest()


def is_same(stored: str, expected: str) -> bool:
    """Compare a stored hash in constant time."""
    # compare_digest accepts only ASCII text, and a damaged entry may contain anything.
    return hmac.compare_digest(stored.encode("utf-8", "replace"), expected.encode())
