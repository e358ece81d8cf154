"""What a ``Change`` makes of a ``Record``: the one meaning that every store gives to it.

Pure. Stores that merge in Python use it inside their atomic step; it must not know any of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tornado_sessions.record import Change, Conflict, Record

__all__ = ["apply", "apply_change", "is_live"]


def is_live(record: Record, now: float, not_before: float) -> bool:
    """Whether a session would be let in: not expired, not ended with everybody's."""
    return record.expires_at > now and record.created_at >= not_before


def apply(change: Change, record: Record) -> Record | Conflict:
    """The record after a change, or ``Conflict`` when an ``expect`` or the rotation's guard is not met.

    Whether the session is live is asked before, with ``is_live(record, change.now, …)``.
    """
    for key, expected in change.expect.items():
        if record.data.get(key) != expected:
            return Conflict(record)
    if change.rotation is not None and change.rotation.expected_hash != record.secret_hash:
        return Conflict(record)
    return apply_change(change, record)


def apply_change(change: Change, record: Record) -> Record:
    """The record after a change whose guards are met."""
    data = _values(change, record.data)
    if change.is_of_values_only:
        return msgspec.structs.replace(record, data=data)
    fields: dict[str, Any] = {"data": data}
    if change.last_seen_at is not None:
        fields["last_seen_at"] = max(record.last_seen_at, change.last_seen_at)
    if change.lifetime is not None:
        fields["absolute_at"], fields["idle_timeout"], fields["persistent"] = change.lifetime
        fields["expires_at"] = change.expires_at if change.expires_at is not None else record.expires_at
    elif change.expires_at is not None:
        fields["expires_at"] = max(record.expires_at, change.expires_at)
    for name in ("ip", "user_agent", "user", "signed_in_at"):
        value = getattr(change, name)
        if value is not None:
            fields[name] = value
    if change.rotation is not None:
        new = change.rotation
        fields.update(
            secret_hash=new.secret_hash,
            previous_hash=new.previous_hash,
            rotated_at=new.rotated_at,
            confirmed_at=new.confirmed_at,
            grace=new.grace,
        )
    elif change.confirmed_at is not None and record.confirmed_at is None and change.confirms == record.secret_hash:
        fields["confirmed_at"] = change.confirmed_at
    return msgspec.structs.replace(record, **fields)


def _values(change: Change, stored: dict[str, bytes]) -> dict[str, bytes]:
    """The values after a change; the stored dict is never altered, since readers may hold it."""
    if change.clear:
        return change.set
    if not change.delete:
        return {**stored, **change.set} if change.set else stored
    return {**{key: value for key, value in stored.items() if key not in change.delete}, **change.set}
