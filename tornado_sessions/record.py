"""What a store holds and is told: records, changes, tombstones and events.

Plain data, no behaviour and no I/O. It must not know how values are encoded, what a policy decides, or any store.
All times are POSIX timestamps in UTC seconds, as floats.
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

    LOGOUT = "logout"  #: its bearer logged out or the handler destroyed it
    IDLE = "idle"  #: not used for longer than the idle timeout
    ABSOLUTE = "absolute"  #: older than the absolute timeout
    EVICTED = "evicted"  #: the user's limit of sessions ended the oldest
    OPERATOR = "operator"  #: an operator ended it
    USER = "user"  #: its user ended it from another device
    PASSWORD = "password"  #: the password was changed or reset
    THEFT = "theft"  #: a secret that was rotated away showed up again
    MOVED = "moved"  #: it lives on in another store


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of a session: no secret and no value."""

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
        handle: the public name under which the session is filed.
        secret_hash: SHA-256 of the secret that the newest token carries.
        previous_hash: SHA-256 of the secret before it, while that is still recognised; else ``None``.
        rotated_at: when the newest secret was made.
        confirmed_at: when the newest secret was first presented, ``None`` until then. A session's first
            secret counts as confirmed.
        grace: how many seconds the previous secret stays good after ``confirmed_at``; 0 after a log-in.
        user: the user's id, ``None`` for a visitor.
        signed_in_at: when the user logged in.
        created_at: when the session was made. A global ``not_before`` later than this ends it.
        last_seen_at: when it was last used as far as is stored; never before ``created_at``.
        expires_at: when it ends if nothing more happens: the earlier of the idle and the absolute limit.
        absolute_at: when it ends whatever happens.
        idle_timeout: seconds without use after which it ends; fixed per session ("remember me").
        persistent: whether its cookie outlives the browser (``Max-Age``).
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
    """Who ended a session, when and why; a store keeps it in the tombstone.

    Attributes:
        at: when.
        cause: the machine-readable why.
        by: user id of who did it; ``None`` when nobody did (a timeout).
        reason: the operator's words.
        keep_until: when the tombstone itself may be removed.
    """

    at: float
    cause: Cause
    by: str | None = None
    reason: str = ""
    keep_until: float


class Tombstone(SessionSummary, frozen=True, kw_only=True):
    """What stays of an ended session for a while, so that people can be told what happened."""

    ending: Ending


class Damaged(SessionSummary, frozen=True, kw_only=True):
    """A stored session, or the tombstone of one, that cannot be read: its holder is a visitor, operators can end it.

    Whatever could still be read stands in its fields; a text that could not is empty, a time that could not is 0.0.

    Attributes:
        why: what is wrong with it, for the log and for operators; never a value.
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
    """Insert a record whose handle was never used; an existing or an ended handle makes it ``Outcome.GONE``."""

    record: Record

    @property
    def handle(self) -> str:
        """The handle of the session to be made."""
        return self.record.handle


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One atomic change of an existing session. Fields left ``None`` (or empty) stay as they are.

    Attributes:
        handle: which session.
        now: the time of the change; a session with ``expires_at <= now`` is gone.
        set: encoded values to write, per key.
        delete: keys to remove; a missing one is no error.
        clear: remove every key first, before ``set``.
        expect: encoded value that each named key must still have (``None``: must be missing), else ``Conflict``.
        last_seen_at, expires_at: move forward only: the store keeps the later of the stored and the given one,
            unless ``lifetime`` is given.
        lifetime: ``(absolute_at, idle_timeout, persistent)`` to replace, with ``expires_at`` taken as given.
        ip, user_agent: of the latest request.
        user, signed_in_at: set together at log-in.
        rotation: a new secret; when the stored secret is not the expected one the whole change is a ``Conflict``.
        confirmed_at: the newest secret was presented at this time; kept only if none is stored and the stored
            secret is ``confirms``.
        confirms: the secret hash that ``confirmed_at`` speaks of.
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
        """Whether nothing but values changes, so that a store can leave its indexes alone."""
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
    """What became of a change, where it is not a ``Conflict``."""

    SAVED = "saved"
    GONE = "gone"  #: the session does not exist (any more), or the handle of a ``Create`` is taken


class Conflict(msgspec.Struct, frozen=True):
    """An ``expect`` or a rotation met another state; nothing was written. ``record`` is what is stored now."""

    record: Record


class Swapped(NamedTuple):
    """The answer to ``Store.swap``.

    Attributes:
        done: whether the value was the expected one, and has been replaced.
        value: what is stored now; ``None`` when nothing is.
    """

    done: bool
    value: bytes | None


class Loaded(NamedTuple):
    """The answer to one batch of loads.

    Attributes:
        records: for each handle asked for, in order: the record, the tombstone of what it was, ``Damaged`` where what is
            stored cannot be read, or ``None``.
        not_before: sessions created earlier than this have ended, all of them; 0.0 when nobody ever said so.
    """

    records: list[Record | Tombstone | Damaged | None]
    not_before: float


class EventKind(StrEnum):
    """What happened to a session."""

    DESTROYED = "destroyed"
    EXPIRED = "expired"
    ENDED_ALL = "ended_all"  #: every session made before ``at``; ``handle`` is empty


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that ended, as told to every process that shares the store."""

    kind: EventKind
    handle: str
    at: float
    user: str | None = None
    cause: Cause | None = None
    by: str | None = None


def summary_of(item: SessionSummary) -> dict[str, str | float | None]:
    """What may be shown of a session, by name."""
    return {name: getattr(item, name) for name in SessionSummary.__struct_fields__}


def bury(facts: SessionSummary, ending: Ending) -> Tombstone:
    """The tombstone of a session: its facts and how it ended."""
    return Tombstone(ending=ending, **summary_of(facts))  # type: ignore[arg-type]


def expired(record: Record, now: float, keep_until: float) -> Tombstone:
    """The tombstone of a session that ended by time, at ``expires_at``, by the limit that came first."""
    cause = Cause.ABSOLUTE if record.absolute_at <= now else Cause.IDLE
    return bury(record, Ending(at=record.expires_at, cause=cause, keep_until=keep_until))
