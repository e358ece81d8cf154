"""``Entry``: one line of the audit log, and its stored form.

Plain data and pure functions. A damaged record is returned as a ``DamagedEntry``, so it never makes a list fail. It must not know
where entries are stored or the keys of their hashes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, salvaged, struct_of
from tornado_sessions.server.documents import Document, LogQuery

__all__ = ["AuditQuery", "DamagedEntry", "Entry", "read_entry", "tags_of", "time_of"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log.

    Attributes:
        id: counts up from 1 without gaps; 0 until the entry is stored.
        at: UTC seconds.
        actor: a username, ``token NAME`` or ``cli``.
        user: the user concerned; empty if there is none.
        ip: the actor's IP address.
        act: an ``Action``.
        target: the object of the action, for example a handle.
        reason: the actor's reason.
        ended: the number of sessions ended; ``None`` while the action runs, if it failed, and for actions that end none.
        previous: the hash of the previous entry, hexadecimal.
        hash: the HMAC over this entry and ``previous``, hexadecimal.
        seal: the HMAC that protects ``ended``, hexadecimal; empty until ``ended`` is set.
    """

    id: int = 0
    at: float
    actor: str
    user: str = ""
    ip: str = ""
    act: str
    target: str = ""
    reason: str = ""
    ended: int | None = None
    previous: str = ""
    hash: str = ""
    seal: str = ""


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
        who: the actor or the user concerned; empty matches all.
        act: an ``Action``; empty matches all.
        since, until: UTC seconds.
        limit: maximum number of entries.
    """

    before: int | None = None
    who: str = ""
    act: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50

    @property
    def of_log(self) -> LogQuery:
        """The equivalent query for the document log."""
        return LogQuery(self.before, _tag(self.who, self.act), self.since, self.until, self.limit)


def tags_of(entry: Entry) -> list[str]:
    """Return the tags of an entry: one for each combination of ``who`` and ``act`` that finds it."""
    found = (_tag(who, act) for who in (entry.actor, entry.user, "") for act in (entry.act, ""))
    return [tag for tag in dict.fromkeys(found) if tag]


def _tag(who: str, act: str) -> str:
    # Users choose their names freely, but a tag must not contain NUL.
    return f"{act}:{who}".replace("\0", "") if who or act else ""


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
    """Return the time at which an entry was written, in UTC seconds; ``None`` if it cannot be read."""
    return read_entry(document).at or None
