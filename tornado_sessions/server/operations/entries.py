"""``Entry``: one line of the audit log, and how it is stored.

Plain data and pure functions. It must not know where entries are kept, nor the keys of their hashes. A damaged record costs one
entry: a ``DamagedEntry`` stands in its place.
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
        id: counts up from 1, without a gap; 0 until it is stored.
        at: UTC seconds.
        actor: who did it: a user, ``token NAME`` or ``cli``.
        user: the user it concerns; empty if it concerns none.
        ip: from which address.
        act: an ``Action``.
        target: what it was done to.
        reason: in the actor's words.
        ended: how many sessions it ended; ``None`` while it runs, when it failed, and for actions that end none.
        previous, hash: the chain: the hash of the entry before, and of this one with that; hexadecimal.
        seal: proves ``ended``, which is added later; hexadecimal, empty until then.
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
    """An entry that cannot be read. Fields that are readable by themselves have their value, the others are blank.

    Attributes:
        why: what is wrong with it, for operators; never a value.
    """

    at: float = 0.0
    actor: str = ""
    act: str = ""
    why: str


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which entries, the newest first.

    Attributes:
        before: only entries with a smaller id.
        who: the actor, or the user concerned; empty: anybody.
        act: an ``Action``; empty: any.
        since, until: UTC seconds.
        limit: at most this many.
    """

    before: int | None = None
    who: str = ""
    act: str = ""
    since: float | None = None
    until: float | None = None
    limit: int = 50

    @property
    def of_log(self) -> LogQuery:
        """The query of the log that finds these entries."""
        return LogQuery(self.before, _tag(self.who, self.act), self.since, self.until, self.limit)


def tags_of(entry: Entry) -> list[str]:
    """Return the tags by which an entry is found: for each combination of who and what that a query can name."""
    found = (_tag(who, act) for who in (entry.actor, entry.user, "") for act in (entry.act, ""))
    return [tag for tag in dict.fromkeys(found) if tag]


def _tag(who: str, act: str) -> str:
    # Strangers choose names; a tag has no NUL.
    return f"{act}:{who}".replace("\0", "") if who or act else ""


def read_entry(document: Document) -> Entry:
    """Return the entry of a stored document, or what can be read of it."""
    fields: dict[str, Any] = {}
    why = document.damage
    try:
        fields |= fields_of(document.body) if not why else {}
        entry = struct_of(Entry, fields)
        if entry.id != int(document.key):
            why = "id is not the one it is filed under"
    except Unreadable as error:
        why = why or error.why
    return DamagedEntry(why=why, **{**salvaged(Entry, fields), "id": int(document.key)}) if why else entry


def time_of(document: Document) -> float | None:
    """Return when an entry was written, in UTC seconds; ``None`` where that cannot be read."""
    return read_entry(document).at or None
