"""The data that stores hold and receive: records, changes, tombstones and events.

Plain data without I/O. It must not know how values are encoded, what the rules decide, or any store. All times are POSIX
timestamps in UTC seconds, as floats.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

__all__ = [
    "LATEST",
    "Cause",
    "Change",
    "Conflict",
    "Create",
    "Damaged",
    "Ending",
    "Event",
    "EventKind",
    "Loaded",
    "Outcome",
    "Record",
    "Rotation",
    "SessionSummary",
    "Swapped",
    "Tombstone",
    "bury",
    "expired",
    "summary_of",
]


#: The end of the year 9999, in UTC seconds. A later time is damage: no calendar can show it.
LATEST = 253_402_300_800.0


class Cause(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"  #: its user signed out, or the handler destroyed it
    IDLE = "idle"  #: it was unused for the idle timeout
    ABSOLUTE = "absolute"  #: it reached the absolute timeout
    EVICTED = "evicted"  #: it was the user's oldest session when a sign-in exceeded the limit
    OPERATOR = "operator"  #: an operator ended it
    USER = "user"  #: its user ended it from another device
    PASSWORD = "password"  #: the password was changed or reset
    THEFT = "theft"  #: a replaced secret was presented again
    MOVED = "moved"  #: it was moved to another store


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The public fields of a session, without secrets and values."""

    handle: str
    user: str | None = None
    ip: str = ""
    user_agent: str = ""
    created_at: float
    signed_in_at: float | None = None
    last_seen_at: float
    expires_at: float


class Record(SessionSummary, frozen=True, kw_only=True):
    """One stored session.

    Attributes:
        handle: the public name of the session.
        secret_hash: SHA-256 of the secret in the newest token.
        previous_hash: SHA-256 of the secret before it; ``None`` if there was none or it stopped working at once.
        rotated_at: when the newest secret was created.
        confirmed_at: when the newest secret was first presented; ``None`` until then. The first secret of a session counts
            as confirmed.
        grace: seconds for which the previous secret stays valid after ``confirmed_at``; 0 after a sign-in.
        user: the user's id; ``None`` for a visitor.
        signed_in_at: when the user signed in.
        created_at: when the session was created. A later ``not_before`` of the store ends it.
        last_seen_at: the latest use that was stored; never before ``created_at``.
        expires_at: when it ends if it is not used again: the earlier of the idle and the absolute limit.
        absolute_at: when it ends in any case.
        idle_timeout: seconds without use after which it ends. Stored per session, because "remember me" changes it.
        persistent: whether its cookie survives a restart of the browser (``Max-Age``).
        data: the encoded value of each key.
    """

    secret_hash: bytes
    previous_hash: bytes | None = None
    rotated_at: float
    confirmed_at: float | None = None
    grace: float = 0.0
    absolute_at: float
    idle_timeout: float
    persistent: bool = False
    data: dict[str, bytes] = msgspec.field(default_factory=dict)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session: by whom, when and why. Part of its tombstone.

    Attributes:
        at: time of the end.
        cause: machine-readable cause.
        by: id of the user who ended it; ``None`` for a timeout.
        reason: the operator's explanation.
        action: the id of the action that ended it, chosen by the caller; empty if it has none.
        keep_until: time after which the tombstone may be removed.
    """

    at: float
    cause: Cause
    by: str | None = None
    reason: str = ""
    action: str = ""
    keep_until: float


class Tombstone(SessionSummary, frozen=True, kw_only=True):
    """The summary of an ended session, kept for a while so that pages can show how it ended."""

    ending: Ending


class Damaged(SessionSummary, frozen=True, kw_only=True):
    """A stored session or tombstone that cannot be read. Its browser gets an empty session; operators can end it.

    Readable fields have their values; other texts are empty, and other times are 0.0.

    Attributes:
        why: the damage, for the log and for operators; never contains a value.
    """

    created_at: float = 0.0
    last_seen_at: float = 0.0
    expires_at: float = 0.0
    why: str


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret for a session, valid only while the stored secret is still ``expected_hash``.

    ``previous_hash``, ``rotated_at``, ``confirmed_at`` and ``grace`` replace the record's fields of those names.
    """

    expected_hash: bytes
    secret_hash: bytes
    previous_hash: bytes | None
    rotated_at: float
    confirmed_at: float | None
    grace: float


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Insert a record under a new handle. If the handle exists or has a tombstone, the outcome is ``Outcome.GONE``."""

    record: Record

    @property
    def handle(self) -> str:
        """The handle of the new session."""
        return self.record.handle


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One atomic change of an existing session. A field that is ``None`` or empty changes nothing.

    Attributes:
        handle: of the session.
        now: the time of the change; a session with ``expires_at <= now`` is gone.
        set: encoded values to write, by key.
        delete: keys to remove; a missing key is no error.
        clear: whether to remove every key before ``set``.
        expect: the encoded value that each named key must still have (``None``: the key must be missing), else ``Conflict``.
        last_seen_at, expires_at: only move forward: the store keeps the later of the stored and the given time, unless
            ``lifetime`` is given.
        lifetime: replaces ``(absolute_at, idle_timeout, persistent)``; ``expires_at`` is then taken as given.
        ip, user_agent: of the latest request.
        user, signed_in_at: set together at sign-in.
        rotation: a new secret. If the stored secret is not the expected one, the whole change is a ``Conflict``.
        confirmed_at: when the newest secret was presented. Written only if none is stored and the stored secret is ``confirms``.
        confirms: the hash of the secret that ``confirmed_at`` belongs to.
    """

    handle: str
    now: float
    set: dict[str, bytes] = msgspec.field(default_factory=dict)
    delete: frozenset[str] = frozenset()
    clear: bool = False
    expect: dict[str, bytes | None] = msgspec.field(default_factory=dict)
    last_seen_at: float | None = None
    expires_at: float | None = None
    lifetime: tuple[float, float, bool] | None = None
    ip: str | None = None
    user_agent: str | None = None
    user: str | None = None
    signed_in_at: float | None = None
    rotation: Rotation | None = None
    confirmed_at: float | None = None
    confirms: bytes | None = None

    @property
    def is_of_values_only(self) -> bool:
        """Whether only values change, so that a store can leave its indexes alone."""
        return (
            self.last_seen_at is None
            and self.expires_at is None
            and self.lifetime is None
            and self.ip is None
            and self.user_agent is None
            and self.user is None
            and self.rotation is None
            and self.confirmed_at is None
        )


class Outcome(StrEnum):
    """The result of a change that is not a ``Conflict``."""

    SAVED = "saved"
    GONE = "gone"  #: the session does not exist, or the handle of a ``Create`` is taken


class Conflict(msgspec.Struct, frozen=True):
    """The stored state does not match ``expect`` or a rotation's guard. Nothing was written; ``record`` is the stored state."""

    record: Record


class Swapped(NamedTuple):
    """The answer to ``Store.swap``.

    Attributes:
        done: whether the value was the expected one and has been replaced.
        value: the value stored now; ``None`` if there is none.
    """

    done: bool
    value: bytes | None


class Loaded(NamedTuple):
    """The answer to one batch of loads.

    Attributes:
        records: for each handle, in order: its record, its tombstone, ``Damaged`` if it cannot be read, or ``None``.
        not_before: all sessions created earlier have ended; 0.0 if ``end_all`` was never called.
    """

    records: list[Record | Tombstone | Damaged | None]
    not_before: float


class EventKind(StrEnum):
    """The way in which a session ended."""

    DESTROYED = "destroyed"
    EXPIRED = "expired"
    ENDED_ALL = "ended_all"  #: every session created before ``at``; ``handle`` is empty


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a session, published to every process that shares the store."""

    kind: EventKind
    handle: str
    at: float
    user: str | None = None
    cause: Cause | None = None
    by: str | None = None


def summary_of(item: SessionSummary) -> dict[str, str | float | None]:
    """Return the fields of ``SessionSummary``, by name."""
    return {name: getattr(item, name) for name in SessionSummary.__struct_fields__}


def bury(facts: SessionSummary, ending: Ending) -> Tombstone:
    """Return the tombstone of a session."""
    return Tombstone(ending=ending, **summary_of(facts))  # type: ignore[arg-type]


def expired(record: Record, now: float, keep_until: float) -> Tombstone:
    """Return the tombstone of a session that ended at ``expires_at``; the cause is the limit that it reached."""
    cause = Cause.ABSOLUTE if record.absolute_at <= now else Cause.IDLE
    return bury(record, Ending(at=record.expires_at, cause=cause, keep_until=keep_until))
