"""``Entry``: one line of the audit log, and how it is stored.

Plain data and pure functions. It must not know where entries are kept, nor the keys of their hashes. A damaged record costs one
entry: a ``DamagedEntry`` stands in its place.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, salvaged, struct_of
from tornado_sessions.server.documents import LogEntry, LogQuery

__all__ = ["AuditQuery", "DamagedEntry", "Entry", "outcome_of", "read_entry", "tags_of"]


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
        tags = [_tag(name, value) for name, value in (("who", self.who), ("act", self.act)) if value]
        return LogQuery(self.before, tags, self.since, self.until, self.limit)


def tags_of(entry: Entry) -> list[str]:
    """Return the tags by which an entry is found."""
    return list(dict.fromkeys((_tag("who", entry.actor), _tag("who", entry.user), _tag("act", entry.act))))


def _tag(name: str, value: str) -> str:
    # Strangers choose names; a tag has no NUL.
    return f"{name}:{value}".replace("\0", "")


def outcome_of(ended: int, seal: str) -> bytes:
    """Return what is stored beside an entry once its action is over."""
    return msgspec.json.encode({"ended": ended, "seal": seal})


def read_entry(stored: LogEntry) -> Entry:
    """Return the entry of a stored record, or what can be read of it."""
    fields: dict[str, Any] = {}
    why = stored.damage
    try:
        fields |= fields_of(stored.body) if stored.body or not why else {}
        if stored.outcome and fields.get("ended") is None:
            fields |= fields_of(stored.outcome)
        entry = struct_of(Entry, fields)
        if entry.id != stored.number:
            why = why or "id is not the one it is filed under"
    except Unreadable as error:
        why = why or error.why
    return DamagedEntry(why=why, **{**salvaged(Entry, fields), "id": stored.number}) if why else entry
