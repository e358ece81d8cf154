"""The rules: whether a session is let in, what one commit changes, when a token rotates.

Pure functions of a record, the time and the configuration. No I/O, no event loop, no clock, no Tornado.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from hmac import compare_digest
from typing import NamedTuple

import msgspec

from tornado_sessions.config import MAX_LIFETIME, SessionConfig
from tornado_sessions.record import Cause, Change, Damaged, Ending, Record, Rotation, Tombstone, bury, expired
from tornado_sessions.request import RequestInfo
from tornado_sessions.validation import check_by, check_cause, check_duration, check_flag, check_reason

__all__ = [
    "NO_CHANGES",
    "Delta",
    "Judgement",
    "Lifetime",
    "Verdict",
    "due",
    "ending",
    "is_replaced",
    "judge",
    "make",
    "max_age",
    "may_rotate",
    "own_lifetime",
    "plan",
    "rotation",
    "rotation_due",
    "touch_due",
    "write",
]


class Verdict(Enum):
    """What a presented token is worth."""

    LIVE = "live"  #: the newest secret of a live session
    PREVIOUS = "previous"  #: the secret before it, still good: the answer with the new one may be under way, or lost
    STALE = "stale"  #: a secret that was rotated away and is good no more: a sign of theft
    ENDED = "ended"  #: the session ended, and it is known how
    UNKNOWN = "unknown"  #: no such session, or never its secret
    DAMAGED = "damaged"  #: what is stored cannot be read, so nobody can be let in by it


class Judgement(NamedTuple):
    """A verdict, with the tombstone of what ended."""

    verdict: Verdict
    ended: Tombstone | None = None


_LIVE = Judgement(Verdict.LIVE)
# Seconds after a sign-out in which a late request of the same browser may still arrive.
_REPLACED_WITHIN = 60.0


class Lifetime(NamedTuple):
    """How long one session lives.

    Attributes:
        seconds: from now, whatever happens.
        persistent: whether its cookie outlives the browser.
        idle_timeout: seconds without use after which it ends; ``None``: as many as it lives.
    """

    seconds: float
    persistent: bool
    idle_timeout: float | None = None

    @property
    def idle(self) -> float:
        """Seconds without use after which it ends."""
        return self.seconds if self.idle_timeout is None else min(self.idle_timeout, self.seconds)


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler changed, as encoded values; fields mean what they mean in ``Change``.

    ``increments`` is what the values in ``set`` that have an ``expect`` were summed up with.
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


def own_lifetime(seconds: object, idle_timeout: object, persistent: object) -> Lifetime:
    """Check a lifetime of a session's own.

    Args:
        seconds: a number or a ``timedelta``, more than 0 and at most 400 days.
        idle_timeout: the same, or ``None``: as long as the session lives.
        persistent: whether its cookie outlives the browser.

    Raises:
        UsageError: one of them is anything else.
    """
    idle = None if idle_timeout is None else check_duration("idle_timeout", idle_timeout, MAX_LIFETIME)
    return Lifetime(check_duration("lifetime", seconds, MAX_LIFETIME), check_flag("persistent", persistent), idle)


def judge(found: Record | Tombstone | Damaged | None, secret_hash: bytes, now: float, not_before: float) -> Judgement:
    """Whether the bearer of a secret is let in. In this order: exists, readable, not ended, not expired, right secret."""
    if found is None:
        return Judgement(Verdict.UNKNOWN)
    if isinstance(found, Damaged):
        return Judgement(Verdict.DAMAGED)
    if isinstance(found, Tombstone):
        return Judgement(Verdict.ENDED, found)
    if found.expires_at <= now:
        return Judgement(Verdict.ENDED, expired(found, now, keep_until=now))
    if found.created_at < not_before:
        return Judgement(Verdict.ENDED, bury(found, Ending(at=not_before, cause=Cause.OPERATOR, keep_until=now)))
    if compare_digest(found.secret_hash, secret_hash):
        return _LIVE
    if found.previous_hash is None or not compare_digest(found.previous_hash, secret_hash):
        return Judgement(Verdict.UNKNOWN)
    # Until the new secret was presented, its answer may have been lost on the way: the old one must go on working.
    good = found.confirmed_at is None or now < found.confirmed_at + found.grace
    return Judgement(Verdict.PREVIOUS if good else Verdict.STALE)


def is_replaced(found: object, verdict: Verdict, now: float) -> bool:
    """Whether the browser that sent a genuine token probably holds a newer one by now.

    That is so when the session lives under another secret, or was signed out of a info ago. Requests that were sent together with
    the sign-in arrive like this; a cookie set in their answer would replace the signed-in one.

    Args:
        found: what is stored under the token's handle.
        verdict: what ``judge`` said of it.
        now: the time, in UTC seconds.
    """
    if isinstance(found, Tombstone):
        return found.ending.cause is Cause.LOGOUT and now - found.ending.at < _REPLACED_WITHIN
    return isinstance(found, Record) and verdict in (Verdict.UNKNOWN, Verdict.STALE)


def ending(now: float, config: SessionConfig, cause: Cause | str, *, by: str | None = None, reason: str = "") -> Ending:
    """An ending that is remembered for as long as the configuration says.

    Args:
        now: when, in UTC seconds.
        config: the options.
        cause: why, as a ``Cause`` or its value.
        by: user id of who ends it; ``None`` when nobody does.
        reason: in the operator's words; more than 500 characters are cut.

    Raises:
        UsageError: ``cause``, ``by`` or ``reason`` is of a wrong type, or not Unicode.
    """
    return Ending(
        at=now,
        cause=check_cause(cause),
        by=check_by(by),
        reason=check_reason(reason),
        keep_until=now + _seconds(config.keep_ended_for),
    )


def make(
    handle: str,
    secret_hash: bytes,
    delta: Delta,
    info: RequestInfo,
    config: SessionConfig,
    user: str | None = None,
    not_before: float = 0.0,
) -> Record:
    """The record of a new session; its first secret counts as confirmed.

    Args:
        handle, secret_hash: of its token.
        delta: what the handler put in, encrypted if it has to be.
        info: the request.
        config: the options.
        user: who signs in with it; ``None`` for a visitor.
        not_before: the store's, where that lies ahead of this host's clock: nobody is kept from starting a session.
    """
    now = info.now
    created_at = max(now, not_before)
    idle, absolute, persistent = _seconds(config.idle_timeout), _seconds(config.absolute_timeout), config.persistent
    if delta.lifetime is not None:
        idle, absolute = delta.lifetime.idle, delta.lifetime.seconds
        persistent = delta.lifetime.persistent
    return Record(
        handle=handle,
        user=user,
        ip=info.ip,
        user_agent=info.user_agent,
        created_at=created_at,
        signed_in_at=created_at if user is not None else None,
        last_seen_at=created_at,
        expires_at=now + min(idle, absolute),
        secret_hash=secret_hash,
        rotated_at=now,
        confirmed_at=now,
        absolute_at=now + absolute,
        idle_timeout=idle,
        persistent=persistent,
        data=dict(delta.set),
    )


def touch_due(record: Record, now: float, config: SessionConfig) -> bool:
    """Whether the last use has to be written. The lag never exceeds a tenth of the idle timeout."""
    return now - record.last_seen_at >= min(_seconds(config.touch_after), record.idle_timeout / 10)


def due(record: Record, carried: bytes | None, info: RequestInfo, config: SessionConfig) -> bool:
    """Whether a request that changed nothing writes anyway: to touch, to confirm the new secret, or to rotate."""
    touches = info.touches and touch_due(record, info.now, config)
    return touches or _confirms(record, carried) or rotation_due(record, carried, info, config)


def plan(
    record: Record,
    carried: bytes | None,
    delta: Delta,
    info: RequestInfo,
    config: SessionConfig,
    rotate: Rotation | None = None,
    user: str | None = None,
) -> Change | None:
    """The change that one commit writes, or ``None`` when there is nothing to say.

    Args:
        record: what was loaded.
        carried: hash of the secret that the request carried.
        delta: what the handler changed.
        info: the request.
        config: the options.
        rotate: a new secret to store with it.
        user: who logs in with it.
    """
    confirms = rotate is None and _confirms(record, carried)
    touches = info.touches and (rotate is not None or touch_due(record, info.now, config))
    seen = touches or user is not None or delta.lifetime is not None
    if not (delta or confirms or seen or rotate):
        return None
    lifetime, expires_at = None, None
    if delta.lifetime is not None:
        own = delta.lifetime
        expires_at = info.now + own.idle
        lifetime = (info.now + own.seconds, own.idle, own.persistent)
    elif seen and config.rolling:
        expires_at = min(info.now + record.idle_timeout, record.absolute_at)
    return Change(
        handle=record.handle,
        now=info.now,
        set=delta.set,
        delete=delta.delete,
        clear=delta.clear,
        expect=delta.expect,
        # Between two touches a write moves no time: that would move three index entries with every one.
        last_seen_at=info.now if seen else None,
        expires_at=expires_at,
        lifetime=lifetime,
        ip=info.ip if info.ip != record.ip and info.touches else None,
        user_agent=info.user_agent if info.user_agent != record.user_agent and info.touches else None,
        user=user,
        signed_in_at=info.now if user is not None else None,
        rotation=rotate,
        confirmed_at=info.now if confirms else None,
        confirms=carried if confirms else None,
    )


def write(record: Record, delta: Delta, now: float) -> Change:
    """A change of values alone, outside any request."""
    return Change(
        handle=record.handle, now=now, set=delta.set, delete=delta.delete, clear=delta.clear, expect=delta.expect
    )


def _confirms(record: Record, carried: bytes | None) -> bool:
    # Compared without constant time: this is no test of the secret, which was judged before.
    return record.confirmed_at is None and carried == record.secret_hash


def rotation_due(record: Record, carried: bytes | None, info: RequestInfo, config: SessionConfig) -> bool:
    """Whether a request gets a new secret by time: the newest is old, or the response that carried it was evidently lost."""
    if config.rotate_after is None or not info.touches or not may_rotate(record, carried, info.now):
        return False
    return carried != record.secret_hash or info.now - record.rotated_at >= _seconds(config.rotate_after)


def may_rotate(record: Record, carried: bytes | None, now: float) -> bool:
    """Whether a request may rotate. With the previous secret only when the newest never arrived: else the browser could be
    left with a token in the middle, which no answer has told it to forget.
    """
    return carried == record.secret_hash or (record.confirmed_at is None and now - record.rotated_at >= record.grace)


def rotation(record: Record, secret_hash: bytes, carried: bytes | None, now: float, grace: float | None) -> Rotation:
    """A new secret in place.

    Args:
        record: what was loaded.
        secret_hash: hash of the new secret.
        carried: hash of the secret that the request carried, which stays good for a while.
        now: the time.
        grace: seconds for which it stays good once the new one was seen; ``None`` kills it at once (log-in).
    """
    dead = grace is None
    return Rotation(
        expected_hash=record.secret_hash,
        secret_hash=secret_hash,
        previous_hash=None if dead else carried,
        rotated_at=now,
        confirmed_at=now if dead else None,
        grace=0.0 if grace is None else grace,
    )


def max_age(record: Record, now: float) -> float | None:
    """Seconds for the cookie's ``Max-Age``; ``None`` for one that ends with the browser."""
    return record.expires_at - now if record.persistent else None


def size_of(data: Mapping[str, bytes]) -> int:
    """Bytes that encoded values take, with their keys."""
    return sum(len(key.encode()) + len(value) for key, value in data.items())


def _seconds(value: object) -> float:
    """A duration of the configuration, which has made every ``timedelta`` a number."""
    return value  # type: ignore[return-value]
