"""The rules: whether a session is let in, what one commit writes, when a token rotates.

Pure functions. No I/O, no event loop, no clock, no Tornado. Arguments with the same name have the same meaning everywhere:
``record`` is the loaded record, ``carried`` the hash of the secret that the request carried, ``info`` the request's time and
origin, ``config`` the options, ``now`` the time in UTC seconds, ``not_before`` a time in UTC seconds kept by the store: sessions
created earlier have ended.
"""

from __future__ import annotations

from enum import Enum
from hmac import compare_digest
from typing import NamedTuple

import msgspec

from tornado_sessions.change import Delta, is_live
from tornado_sessions.config import SessionConfig
from tornado_sessions.history import Step, kept_steps, with_step
from tornado_sessions.record import Cause, Change, Damaged, Ending, Record, Rotation, Tombstone, bury, expired
from tornado_sessions.request import RequestInfo
from tornado_sessions.validation import check_action, check_by, check_cause, check_reason

__all__ = [
    "Judgement", "Verdict", "due", "ending", "is_replaced", "judge", "make", "max_age", "may_rotate", "plan", "rotation",
    "rotation_due", "tombstone", "touch_due", "write",
]  # fmt: skip

# Seconds after a sign-out in which a late request of the same browser may still arrive.
_REPLACED_WITHIN = 60.0


class Verdict(Enum):
    """The result of judging a presented token."""

    LIVE = "live"  #: the newest secret of a live session
    PREVIOUS = "previous"  #: the previous secret, still valid: the response with the new one may be on its way, or lost
    STALE = "stale"  #: a replaced secret that is no longer valid: a sign of theft
    ENDED = "ended"  #: the session has ended; its tombstone says how
    UNKNOWN = "unknown"  #: the session does not exist, or the secret was never one of its secrets
    DAMAGED = "damaged"  #: the record cannot be read, so the session is not let in


class Judgement(NamedTuple):
    """A verdict, with the tombstone of the session if it has ended."""

    verdict: Verdict
    ended: Tombstone | None = None


_LIVE = Judgement(Verdict.LIVE)
_PREVIOUS = Judgement(Verdict.PREVIOUS)
_STALE = Judgement(Verdict.STALE)
_UNKNOWN = Judgement(Verdict.UNKNOWN)
_DAMAGED = Judgement(Verdict.DAMAGED)


def judge(found: Record | Tombstone | Damaged | None, secret_hash: bytes, now: float, not_before: float) -> Judgement:
    """Judge a presented secret. It is valid if the session exists, is readable and live, and the secret matches."""
    if not isinstance(found, Record):
        if isinstance(found, Tombstone):
            return Judgement(Verdict.ENDED, found)
        return _UNKNOWN if found is None else _DAMAGED
    if not is_live(found, now, not_before):
        return Judgement(Verdict.ENDED, tombstone(found, now, not_before))
    # Compare in constant time: the duration must not reveal how much of a guessed secret is right.
    if compare_digest(found.secret_hash, secret_hash):
        return _LIVE
    if found.previous_hash is None or not compare_digest(found.previous_hash, secret_hash):
        return _UNKNOWN
    # Until the new secret is presented, the response that carried it may have been lost. Refusing the old secret before
    # that would sign the user out.
    valid = found.confirmed_at is None or now < found.confirmed_at + found.grace
    return _PREVIOUS if valid else _STALE


def tombstone(record: Record, now: float, not_before: float) -> Tombstone:
    """Return the tombstone of a session that is no longer live: it expired, or all sessions were ended."""
    if record.expires_at <= now:
        return expired(record, now, keep_until=now)
    return bury(record, Ending(at=not_before, cause=Cause.OPERATOR, keep_until=now))


def is_replaced(found: object, verdict: Verdict, now: float) -> bool:
    """Return whether the browser that sent a genuine but invalid token probably holds a newer one.

    That is the case if the session now has another secret, or was signed out a moment ago. A page sends several requests at
    once; those sent together with a sign-in arrive with the old token after it. If one of them started a session, its cookie
    would overwrite the cookie of the sign-in.
    """
    if isinstance(found, Tombstone):
        return found.ending.cause is Cause.LOGOUT and now - found.ending.at < _REPLACED_WITHIN
    return isinstance(found, Record) and verdict in (Verdict.UNKNOWN, Verdict.STALE)


def ending(
    now: float,
    config: SessionConfig,
    cause: Cause | str,
    *,
    by: str | None = None,
    reason: str = "",
    action: str = "",
) -> Ending:
    """Return an ending; its tombstone is kept for the configured time.

    Args:
        cause: a ``Cause`` or its value.
        by: id of the user who ends it; ``None`` for a timeout.
        reason: the operator's explanation; cut to 500 characters.
        action: the id of the action that ends it.

    Raises:
        UsageError: ``cause``, ``by``, ``reason`` or ``action`` has a wrong type, or is not Unicode.
    """
    return Ending(
        at=now,
        cause=check_cause(cause),
        by=check_by(by),
        reason=check_reason(reason),
        action=check_action(action),
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
    """Return the record of a new session. Its first secret counts as confirmed.

    Args:
        handle, secret_hash: of its token.
        delta: the handler's changes, encrypted if there is a key.
        user: id of the user who signs in with it; ``None`` for a visitor.
        not_before: the earliest allowed creation time; may be ahead of this host's clock.
    """
    now, own = info.now, delta.lifetime
    created_at = max(now, not_before)
    idle = own.idle if own is not None else _seconds(config.idle_timeout)
    absolute = own.seconds if own is not None else _seconds(config.absolute_timeout)
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
        persistent=own.persistent if own is not None else config.persistent,
        data=dict(delta.set),
    )


def plan(
    record: Record,
    carried: bytes | None,
    delta: Delta,
    info: RequestInfo,
    config: SessionConfig,
    rotate: Rotation | None = None,
    user: str | None = None,
) -> Change | None:
    """Return the change that one commit writes, or ``None`` if there is nothing to write.

    Args:
        delta: the handler's changes, encrypted if there is a key.
        rotate: a new secret to store with it.
        user: id of the user who signs in with it.
    """
    # A new secret is confirmed when it is first presented. Not compared in constant time: the secret has already been judged.
    confirms = rotate is None and record.confirmed_at is None and carried == record.secret_hash
    # Use of a session is a touch that is due, a sign-in, or a new lifetime. A write of values alone does not move last_seen_at:
    # it is in three indexes of a store, and moving it costs more than the write itself.
    touches = info.touches and (rotate is not None or touch_due(record, info.now, config))
    seen = touches or user is not None or delta.lifetime is not None
    # A page's own request (touches=False) must not change the address or the user agent: that would be reported as a move.
    moves = info.touches and info.ip != record.ip
    has_other_agent = info.touches and info.user_agent != record.user_agent
    if not (delta or confirms or seen or rotate):
        return None
    change = write(record, delta, info.now)
    if not (confirms or seen or rotate or moves or has_other_agent):
        # Nearly every change is of values only.
        return change
    expires_at, lifetime = _new_end(record, delta, info.now, config) if seen else (None, None)
    return msgspec.structs.replace(
        change,
        set=_with_history(record, change.set, info, moves=moves, is_rotated=rotate is not None and user is None),
        last_seen_at=info.now if seen else None,
        expires_at=expires_at,
        lifetime=lifetime,
        ip=info.ip if moves else None,
        user_agent=info.user_agent if has_other_agent else None,
        user=user,
        signed_in_at=info.now if user is not None else None,
        rotation=rotate,
        # ``confirms`` names the secret: if another request rotates before this is written, its secret is not confirmed.
        confirmed_at=info.now if confirms else None,
        confirms=carried if confirms else None,
    )


def _with_history(
    record: Record, values: dict[str, bytes], info: RequestInfo, *, moves: bool, is_rotated: bool
) -> dict[str, bytes]:
    """Return the values to store, with the history of the session if it has a new address or secret."""
    # Both are rare. A sign-in comes with a new secret, and says so itself.
    steps = [Step(info.now, record.ip)] * moves + [Step(info.now)] * is_rotated
    return {**values, **with_step(record.data, *steps)} if steps else values


def _new_end(
    record: Record, delta: Delta, now: float, config: SessionConfig
) -> tuple[float | None, tuple[float, float, bool] | None]:
    """Return ``expires_at`` and ``lifetime`` of the change that a use of the session writes."""
    # Each use moves the end ("rolling"), but never beyond the absolute limit. Only a lifetime of the session's own replaces
    # both limits, and may make it end earlier than before.
    if (own := delta.lifetime) is not None:
        return now + own.idle, (now + own.seconds, own.idle, own.persistent)
    return (min(now + record.idle_timeout, record.absolute_at) if config.rolling else None), None


def write(record: Record, delta: Delta, now: float) -> Change:
    """Return a change that writes only values, and keeps the history of the session if the others are cleared."""
    return Change(
        handle=record.handle,
        now=now,
        set=delta.set if not delta.clear else {**delta.set, **kept_steps(record.data)},
        delete=delta.delete,
        clear=delta.clear,
        expect=delta.expect,
    )


def due(record: Record, carried: bytes | None, info: RequestInfo, config: SessionConfig) -> bool:
    """Return whether a request that changed nothing must write anyway: to touch, to confirm the new secret, or to rotate."""
    # Almost no request has anything due, and all of them ask.
    if record.confirmed_at is None and carried == record.secret_hash:
        return True
    return info.touches and (touch_due(record, info.now, config) or rotation_due(record, carried, info, config))


def touch_due(record: Record, now: float, config: SessionConfig) -> bool:
    """Return whether ``last_seen_at`` must be written. Its lag never exceeds a tenth of the idle timeout."""
    lag = now - record.last_seen_at
    return lag >= config.touch_after or lag >= record.idle_timeout / 10  # type: ignore[operator] # both are seconds


def rotation_due(record: Record, carried: bytes | None, info: RequestInfo, config: SessionConfig) -> bool:
    """Return whether the secret must be replaced: it is old enough, or the response that carried it was lost."""
    if config.rotate_after is None or not info.touches or not may_rotate(record, carried, info.now):
        return False
    return carried != record.secret_hash or info.now - record.rotated_at >= _seconds(config.rotate_after)


def may_rotate(record: Record, carried: bytes | None, now: float) -> bool:
    """Return whether a request may rotate.

    A request with the previous secret may rotate only if the newest one never arrived. Otherwise the browser could be left with
    a token between the two, which no response would ever replace.
    """
    return carried == record.secret_hash or (record.confirmed_at is None and now - record.rotated_at >= record.grace)


def rotation(record: Record, secret_hash: bytes, carried: bytes | None, now: float, grace: float | None) -> Rotation:
    """Return the rotation to a new secret.

    The carried secret stays valid for ``grace`` seconds after the new one is first presented; ``None`` ends it at once (sign-in).
    """
    at_once = grace is None
    return Rotation(
        expected_hash=record.secret_hash,
        secret_hash=secret_hash,
        previous_hash=None if at_once else carried,
        rotated_at=now,
        confirmed_at=now if at_once else None,
        grace=0.0 if grace is None else grace,
    )


def max_age(record: Record, now: float) -> float | None:
    """Return the seconds for the cookie's ``Max-Age``; ``None`` for a cookie that ends with the browser."""
    return record.expires_at - now if record.persistent else None


def _seconds(value: object) -> float:
    """Return a duration of the configuration, which has converted every ``timedelta`` to seconds."""
    return value  # type: ignore[return-value]
