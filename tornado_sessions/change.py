"""Define what a handler changed (``Delta``) and how a ``Change`` applies to a ``Record``, for every store alike.

Pure functions. Stores that merge in Python call them inside their atomic step; they must not know any store.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec

from tornado_sessions.config import MAX_LIFETIME
from tornado_sessions.record import Change, Conflict, Record, SessionSummary, Tombstone, expired
from tornado_sessions.validation import check_duration, check_flag

__all__ = ["NO_CHANGES", "Delta", "Lifetime", "apply", "apply_change", "as_of", "is_live", "own_lifetime"]

Found = TypeVar("Found")


class Lifetime(NamedTuple):
    """The timeouts of one session that replace the configured ones.

    Attributes:
        seconds: seconds from now until the session ends in any case.
        persistent: whether its cookie survives a restart of the browser.
        idle_timeout: seconds without use after which it ends; ``None``: the same as ``seconds``.
    """

    seconds: float
    persistent: bool
    idle_timeout: float | None = None

    @property
    def idle(self) -> float:
        """Seconds without use after which it ends."""
        return self.seconds if self.idle_timeout is None else min(self.idle_timeout, self.seconds)


def own_lifetime(seconds: object, idle_timeout: object, persistent: object) -> Lifetime:
    """Check the arguments of a ``Lifetime`` and return it.

    Args:
        seconds, idle_timeout: a number of seconds or a ``timedelta``, more than 0 and at most 400 days.
        persistent: a bool.

    Raises:
        UsageError: an argument is anything else.
    """
    idle = None if idle_timeout is None else check_duration("idle_timeout", idle_timeout, MAX_LIFETIME)
    return Lifetime(check_duration("lifetime", seconds, MAX_LIFETIME), check_flag("persistent", persistent), idle)


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a handler, as encoded values. The fields have the same meaning as in ``Change``.

    Attributes:
        increments: the number added to each incremented key; the sum is in ``set``, the guard in ``expect``.
    """

    set: dict[str, bytes] = {}
    delete: frozenset[str] = frozenset()
    clear: bool = False
    expect: dict[str, bytes | None] = {}
    lifetime: Lifetime | None = None
    increments: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self.set or self.delete or self.clear or self.lifetime)


#: The delta of a handler that changed nothing.
NO_CHANGES = Delta()


def is_live(session: SessionSummary, now: float, not_before: float) -> bool:
    """Return whether a session would be let in now: it has not expired, and was not created before ``not_before``."""
    return session.expires_at > now and session.created_at >= not_before


def as_of(found: Found, now: float) -> Found | Tombstone:
    """Return what is stored as ``Store.load`` reports it: an expired session as its tombstone, anything else as it is."""
    if isinstance(found, Record) and found.expires_at <= now:
        return expired(found, now, keep_until=now)
    return found


def apply(change: Change, record: Record) -> Record | Conflict:
    """Return the record after a change, or ``Conflict`` if an ``expect`` or the rotation's guard is not met.

    The caller first checks that the session is live: ``is_live(record, change.now, …)``.
    """
    for key, expected in change.expect.items():
        if record.data.get(key) != expected:
            return Conflict(record)
    if change.rotation is not None and change.rotation.expected_hash != record.secret_hash:
        return Conflict(record)
    return apply_change(change, record)


def apply_change(change: Change, record: Record) -> Record:
    """Return the record after a change whose guards are met."""
    # The stored dict is never altered, because readers may hold it.
    kept = {} if change.clear else record.data
    if change.delete:
        kept = {key: value for key, value in kept.items() if key not in change.delete}
    data = {**kept, **change.set} if change.set else kept
    if change.is_of_values_only:
        return msgspec.structs.replace(record, data=data)
    return msgspec.structs.replace(record, data=data, **_other_fields(change, record))


def _other_fields(change: Change, record: Record) -> dict[str, Any]:
    """Return the fields that a change replaces besides the values."""
    fields: dict[str, Any] = {}
    # Requests finish out of order, so a late one must not move a time back.
    if change.last_seen_at is not None:
        fields["last_seen_at"] = max(record.last_seen_at, change.last_seen_at)
    if change.lifetime is not None:
        # Only a new lifetime may make a session end earlier; any other change moves the end forward.
        fields["absolute_at"], fields["idle_timeout"], fields["persistent"] = change.lifetime
        fields["expires_at"] = change.expires_at if change.expires_at is not None else record.expires_at
    elif change.expires_at is not None:
        fields["expires_at"] = max(record.expires_at, change.expires_at)
    for name in ("ip", "user_agent", "user", "signed_in_at"):
        value = getattr(change, name)
        if value is not None:
            fields[name] = value
    if change.rotation is not None:
        for name in ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace"):
            fields[name] = getattr(change.rotation, name)
    # If another request has rotated in the meantime, its secret has not been presented yet.
    elif change.confirmed_at is not None and record.confirmed_at is None and change.confirms == record.secret_hash:
        fields["confirmed_at"] = change.confirmed_at
    return fields
