"""Records, changes and endings ⇄ MongoDB's documents, filters and updates.

It must not know connections. A session and its tombstone are one document: ending it is one update in place, so its handle is never
free again while it is remembered.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import Cause, Change, Ending, Event, EventKind, Facts, Record, Tombstone

__all__ = [
    "EVERYBODY",
    "confirmation",
    "guards",
    "is_guarded",
    "keep_until",
    "live",
    "read",
    "read_event",
    "read_facts",
    "to_document",
    "to_ending",
    "update",
]

#: The document that says when everybody's sessions were ended last. No handle has a colon.
EVERYBODY = "everybody:"
#: Seconds that MongoDB keeps a session longer than it lives, so that its end can be told; expiry is checked at every load.
_SLACK = 3600.0
#: Writes with a guard that a document remembers, so that each of a batch learns whether it was its own that was applied.
_REMEMBERED = 8
_FACTS = Facts.__struct_fields__[1:]
_FIELDS = tuple(name for name in Record.__struct_fields__ if name not in ("handle", "data"))
# A dot parts a path and a dollar begins an operator; NUL ends a name, and an empty one is no path.
_UNSAFE = re.compile(r"[%.$\x00]")


def live(now: float, not_before: float) -> dict[str, Any]:
    """The filter of who would be let in."""
    found: dict[str, Any] = {"live": True, "expires_at": {"$gt": now}}
    # Asked only where everybody was ever ended: without it the index by expiry counts alone.
    return {**found, "created_at": {"$gte": not_before}} if not_before else found


def keep_until(seconds: float) -> datetime:
    """When the server may remove a document, by its own clock and whatever ours says."""
    return datetime.fromtimestamp(time.time() + seconds + _SLACK, UTC)


def to_document(record: Record) -> dict[str, Any]:
    """The document of a new session."""
    fields = {name: getattr(record, name) for name in _FIELDS}
    data = {_escape(key): value for key, value in record.data.items()}
    purge_at = keep_until(record.expires_at - record.last_seen_at)
    return {"_id": record.handle, "live": True, **fields, "data": data, "purge_at": purge_at}


def read(document: dict[str, Any]) -> Record | Tombstone:
    """A document. Raises ``StoreMismatch`` when something else has written it."""
    handle = str(document.get("_id"))
    try:
        if document.get("live"):
            data = {_unescape(key): bytes(value) for key, value in document.get("data", {}).items()}
            return Record(handle=handle, data=data, **{name: document[name] for name in _FIELDS})
        return Tombstone(
            handle=handle, ending=to_ending(document["ending"]), **{name: document[name] for name in _FACTS}
        )
    except (KeyError, TypeError, ValueError):
        raise StoreMismatch("mongodb", f"the document of {handle} was written by something else") from None


def read_facts(document: dict[str, Any]) -> Facts:
    """What a list shows of a live session. Raises ``StoreMismatch`` as ``read`` does."""
    try:
        return Facts(handle=document["_id"], **{name: document[name] for name in _FACTS})
    except (KeyError, TypeError):
        raise StoreMismatch("mongodb", f"the document of {document.get('_id')} was written by something else") from None


def to_ending(stored: dict[str, Any]) -> Ending:
    """An ending as it is stored."""
    return Ending(**{**stored, "cause": Cause(stored["cause"])})


def is_guarded(change: Change) -> bool:
    """Whether a change may meet another state, as a live session."""
    return bool(change.expect) or change.rotation is not None


def guards(change: Change, not_before: float) -> dict[str, Any]:
    """The filter that a change needs to be met."""
    found: dict[str, Any] = {"_id": change.handle, **live(change.now, not_before)}
    for key, value in change.expect.items():
        found[f"data.{_escape(key)}"] = {"$exists": False} if value is None else value
    if change.rotation is not None:
        found["secret_hash"] = change.rotation.expected_hash
    return found


def update(change: Change, mark: bytes) -> dict[str, Any]:
    """What a change does to a document whose guards are met; ``mark`` stays in one with guards, as the proof."""
    sets: dict[str, Any] = {}
    unsets: dict[str, Any] = {}
    if change.clear:
        sets["data"] = {_escape(key): value for key, value in change.set.items()}
    else:
        sets |= {f"data.{_escape(key)}": value for key, value in change.set.items()}
        unsets = {f"data.{_escape(key)}": "" for key in change.delete - change.set.keys()}
    sets |= {
        name: value
        for name in ("ip", "user_agent", "user", "signed_in_at")
        if (value := getattr(change, name)) is not None
    }
    if change.rotation is not None:
        new = change.rotation
        sets |= {
            name: getattr(new, name) for name in ("secret_hash", "previous_hash", "rotated_at", "confirmed_at", "grace")
        }
    later = {"last_seen_at": change.last_seen_at}
    if change.lifetime is not None:
        sets["absolute_at"], sets["idle_timeout"], sets["persistent"] = change.lifetime
        if change.expires_at is not None:
            sets["expires_at"] = change.expires_at
    else:
        later["expires_at"] = change.expires_at
    if change.expires_at is not None:
        sets["purge_at"] = keep_until(change.expires_at - change.now)
    made: dict[str, Any] = {
        "$set": sets,
        "$unset": unsets,
        "$max": {name: value for name, value in later.items() if value is not None},
    }
    if is_guarded(change):
        made["$push"] = {"marks": {"$each": [mark], "$slice": -_REMEMBERED}}
    # An empty operator is refused by servers before 5.0; an update that says nothing still has to find its document.
    return {name: value for name, value in made.items() if value} or {"$set": {"live": True}}


def confirmation(change: Change) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Filter and update for the newest secret having arrived; it holds whatever becomes of the rest."""
    if change.confirmed_at is None or change.rotation is not None:
        return None
    found = {"_id": change.handle, "live": True, "secret_hash": change.confirms, "confirmed_at": None}
    return found, {"$set": {"confirmed_at": change.confirmed_at}}


def end(ending: Ending, kind: EventKind | None, mark: bytes) -> dict[str, Any]:
    """The update that makes a tombstone of a session; with ``kind`` it is told to who listens, by the server's clock."""
    stored = {name: getattr(ending, name) for name in Ending.__struct_fields__}
    made: dict[str, Any] = {
        "$set": {
            "ending": {**stored, "cause": ending.cause.value},
            "ended_at": ending.at,
            "keep_until": ending.keep_until,
            "purge_at": keep_until(ending.keep_until - ending.at),
            "mark": mark,
            "told": kind.value if kind is not None else None,
        },
        "$unset": dict.fromkeys(("live", "data", "marks", "secret_hash", "previous_hash"), ""),
    }
    if kind is not None:
        made["$currentDate"] = {"told_at": True}
    return made


def read_event(document: dict[str, Any]) -> Event | None:
    """What a document tells of, if anything."""
    if document["_id"] == EVERYBODY:
        ending = to_ending(document["ending"])
        at = document["not_before"]
        return Event(kind=EventKind.ENDED_ALL, handle="", at=at, cause=ending.cause, by=ending.by)
    if not document.get("told"):
        return None
    ending = to_ending(document["ending"])
    return Event(
        kind=EventKind(document["told"]),
        handle=document["_id"],
        at=ending.at,
        user=document.get("user"),
        cause=ending.cause,
        by=ending.by,
    )


def _escape(key: str) -> str:
    return "k" + _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", key)


def _unescape(name: str) -> str:
    return unquote(name[1:])
