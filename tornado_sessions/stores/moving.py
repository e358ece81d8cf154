"""What must hold for a session that moves from one store to another: who counts as ended, and what follows it.

Pure. ``stores.dual`` moves sessions under traffic and ``migrate`` copies them; it must not know either.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from tornado_sessions.record import Cause, Change, Ending, Record, Rotation, SessionSummary, Tombstone

__all__ = ["REMEMBERED", "difference", "ended_there", "is_elsewhere", "is_newer", "was_ended"]

#: Seconds for which a store remembers that a session has moved away, or that everybody was ended in the other store.
REMEMBERED = 86400.0

# A copy that was left behind runs out of time, which says nothing about the session that moved.
_NOBODY_DID = frozenset({Cause.MOVED, Cause.IDLE, Cause.ABSOLUTE})
_OF_SECRET = ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace")
_OF_LIFETIME = ("absolute_at", "idle_timeout", "persistent")


def is_elsewhere(found: SessionSummary | None) -> bool:
    """Whether a store leaves it to the other one: it never had the session, or no longer has."""
    return found is None or (isinstance(found, Tombstone) and found.ending.cause is Cause.MOVED)


def was_ended(found: SessionSummary | None) -> TypeGuard[Tombstone]:
    """Whether somebody ended the session, which holds in every store that has a copy."""
    return isinstance(found, Tombstone) and found.ending.cause not in _NOBODY_DID


def ended_there(now: float) -> Ending:
    """The ending of what ended in the other store by an act whose author that store does not name."""
    return Ending(at=now, cause=Cause.OPERATOR, keep_until=now + REMEMBERED)


def is_newer(record: Record, than: Record) -> bool:
    """Whether one copy was used, rotated or confirmed later than the other."""
    times = [(item.last_seen_at, item.rotated_at, item.confirmed_at or 0.0) for item in (record, than)]
    return times[0] > times[1]


def difference(old: Record, new: Record, now: float) -> Change:
    """The change that makes ``new`` of ``old``; a conflict where the secret is no longer that of ``old``."""
    fields: dict[str, Any] = {
        name: getattr(new, name)
        for name in ("ip", "user_agent", "user", "signed_in_at")
        if getattr(new, name) != getattr(old, name)
    }
    if any(getattr(new, name) != getattr(old, name) for name in _OF_SECRET):
        secrets = {name: getattr(new, name) for name in _OF_SECRET}
        fields["rotation"] = Rotation(expected_hash=old.secret_hash, **secrets)
    if any(getattr(new, name) != getattr(old, name) for name in _OF_LIFETIME):
        fields["lifetime"] = (new.absolute_at, new.idle_timeout, new.persistent)
    return Change(
        handle=new.handle,
        now=now,
        set={key: value for key, value in new.data.items() if old.data.get(key) != value},
        delete=frozenset(old.data) - frozenset(new.data),
        last_seen_at=new.last_seen_at,
        expires_at=new.expires_at,
        **fields,
    )
