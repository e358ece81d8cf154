"""Build MongoDB's filters and updates for changes and endings.

It must not know connections or how a document is decoded.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tornado_sessions.record import Change, Damaged, Ending, EventKind, Record
from tornado_sessions.stores.mongo.documents import EVERYBODY, FIELDS, LATEST_DATE, SUMMARY, alive

__all__ = [
    "confirmation",
    "end",
    "guards",
    "is_guarded",
    "new_era",
    "purge_time",
    "repaired",
    "to_document",
    "update",
]

#: Seconds that MongoDB keeps an expired document, so that its end can be published. Loads check the expiry themselves.
_SLACK = 3600.0
#: Removal times are rounded up to a multiple of this, in seconds: a touch seldom moves the entry in the TTL index.
_COARSE = 3600.0
#: The number of marks of guarded writes that a document keeps.
_REMEMBERED = 8
# "." separates the parts of a path, "$" starts an operator, NUL ends a name; "%" is the escape character.
_UNSAFE = re.compile(r"[%.$\x00]")


def to_document(record: Record, live: int) -> dict[str, Any]:
    """Return the document of a new session."""
    fields = {name: getattr(record, name) for name in FIELDS}
    data = {_escape(key): value for key, value in record.data.items()}
    purge_at = _purge_after(record.expires_at - record.last_seen_at)
    return {"_id": record.handle, "live": live, **fields, "data": data, "purge_at": purge_at}


def is_guarded(change: Change) -> bool:
    """Whether a change of a live session may conflict with another."""
    return bool(change.expect) or change.rotation is not None


def guards(change: Change, not_before: float) -> dict[str, Any]:
    """Return the filter that must match for a change to apply. It omits the era, which ``end_all`` may be changing."""
    found = alive(change.handle, change.now, not_before)
    for key, value in change.expect.items():
        found[f"data.{_escape(key)}"] = {"$exists": False} if value is None else value
    if change.rotation is not None:
        found["secret_hash"] = change.rotation.expected_hash
    return found


def update(change: Change, mark: bytes) -> dict[str, Any]:
    """Return the update for a document that matches the guards of a change.

    Args:
        change: the change of one session.
        mark: a random value of this batch that guarded updates store. If some did not match, it proves which did: the
            guard itself cannot, because the update may have changed the guarded value.
    """
    values = {_escape(key): value for key, value in change.set.items()}
    sets = {"data": values} if change.clear else {f"data.{name}": value for name, value in values.items()}
    made: dict[str, Any] = {"$set": sets}
    if change.delete and not change.clear:
        made["$unset"] = {f"data.{_escape(key)}": "" for key in change.delete - change.set.keys()}
    if not change.is_of_values_only:
        others, made["$max"] = _other_fields(change)
        sets |= others
    if is_guarded(change):
        made["$push"] = {"marks": {"$each": [mark], "$slice": -_REMEMBERED}}
    # Servers before 5.0 refuse an empty operator. An empty change must still match its document, so it gets a no-op.
    return {name: value for name, value in made.items() if value} or {"$setOnInsert": {"live": True}}


def _other_fields(change: Change) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that a change replaces, except values, and those that only move forward."""
    sets: dict[str, Any] = {}
    if change.rotation is not None:
        names = ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace")
        sets = {name: getattr(change.rotation, name) for name in names}
    given = {name: getattr(change, name) for name in ("ip", "user_agent", "user", "signed_in_at")}
    later = {"last_seen_at": change.last_seen_at}
    if change.lifetime is not None:
        sets["absolute_at"], sets["idle_timeout"], sets["persistent"] = change.lifetime
        given["expires_at"] = change.expires_at
    else:
        later["expires_at"] = change.expires_at
    if change.expires_at is not None:
        given["purge_at"] = _purge_after(change.expires_at - change.now)
    return {**sets, **_without_none(given)}, _without_none(later)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def confirmation(change: Change) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the filter and the update that confirm the newest secret; they are independent of the rest of the change."""
    if change.confirmed_at is None or change.rotation is not None:
        return None
    found = {"_id": change.handle, "live": {"$exists": True}, "secret_hash": change.confirms, "confirmed_at": None}
    return found, {"$set": {"confirmed_at": change.confirmed_at}}


def end(ending: Ending, kind: EventKind | None, mark: bytes) -> dict[str, Any]:
    """Return the update that turns a session into a tombstone.

    Args:
        ending: who ends it and why.
        kind: the kind of event to publish; ``None`` for no event.
        mark: a random value that identifies this call if several processes end the session at once.
    """
    made: dict[str, Any] = {
        "$set": {
            "ending": _from_ending(ending),
            "ended_at": ending.at,
            "keep_until": ending.keep_until,
            "purge_at": _purge_after(ending.keep_until - ending.at),
            "mark": mark,
            "told": kind.value if kind is not None else None,
        },
        "$unset": dict.fromkeys(("live", "data", "marks", "secret_hash", "previous_hash"), ""),
    }
    if kind is not None:
        made["$currentDate"] = {"told_at": True}
    return made


def repaired(item: Damaged) -> dict[str, Any]:
    """Return valid values for the fields of a damaged session, so that its tombstone is readable."""
    return {name: getattr(item, name) for name in SUMMARY}


def new_era(not_before: float, ending: Ending, *, even_if_equal: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the filter and the update that end all sessions. The filter does not match if a later time is stored.

    Args:
        not_before: sessions created earlier end, in UTC seconds.
        ending: who ends them and why.
        even_if_equal: whether to start a new era even if the stored ``not_before`` is equal.
    """
    where = {"_id": EVERYBODY, "not_before": {"$lte" if even_if_equal else "$lt": not_before}}
    sets = {"not_before": not_before, "ending": _from_ending(ending)}
    return where, {"$set": sets, "$inc": {"era": 1}, "$currentDate": {"told_at": True}}


def purge_time(at: float) -> datetime:
    """Return the time at which the server may remove a document that is not needed after ``at``, in UTC seconds."""
    coarse = math.ceil((min(max(at, 0.0), LATEST_DATE) + _SLACK) / _COARSE) * _COARSE
    return datetime.fromtimestamp(min(coarse, LATEST_DATE), UTC)


def _purge_after(seconds: float) -> datetime:
    # The server compares with its own clock, so start from the real time instead of a caller's, which may be simulated.
    return purge_time(time.time() + seconds)


def _from_ending(ending: Ending) -> dict[str, Any]:
    stored = {name: getattr(ending, name) for name in Ending.__struct_fields__}
    return {**stored, "cause": ending.cause.value}


@lru_cache(maxsize=1024)
def _escape(key: str) -> str:
    return "k" + _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", key)
