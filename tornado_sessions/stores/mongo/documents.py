"""Records, changes and endings ⇄ MongoDB's documents, filters and updates.

It must not know connections. A session and its tombstone are one document: ending a session is one update in place, so its handle
stays taken while it is remembered. ``live`` is in the documents of sessions only. It names the era in which the session counts as
live: ``True`` at first, then 1, 2, 3, … one for each end of everybody. What carries an older era is dead, and no list walks it.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from math import inf
from typing import Any, NamedTuple

from msgspec import convert

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import (
    LATEST,
    Change,
    Damaged,
    Ending,
    Event,
    EventKind,
    Record,
    SessionSummary,
    Tombstone,
    bury,
)
from tornado_sessions.stores.mongo.reading import (
    RECORD_FIELDS,
    SUMMARY_FIELDS,
    number_or,
    read_ending,
    read_record,
    read_summary,
    read_values,
    salvage,
)

__all__ = [
    "EVERYBODY",
    "HAS_USER",
    "SHOWN",
    "Everybody",
    "alive",
    "confirmation",
    "end",
    "guards",
    "is_guarded",
    "is_live",
    "is_session",
    "keep_until",
    "live",
    "mended",
    "new_era",
    "purge_time",
    "read",
    "read_event",
    "read_everybody",
    "read_shown",
    "to_document",
    "update",
]

#: The document that says when everybody's sessions were ended last. No handle has a colon.
EVERYBODY = "everybody:"
#: Seconds that MongoDB keeps a document longer than needed, so that its end can be told; expiry is checked at every load.
_SLACK = 3600.0
#: The latest time that a ``datetime`` can hold, in UTC seconds.
_LATEST = LATEST - 1
#: Guarded writes that a document remembers, so that each of a batch learns whether it was its own that was applied.
_REMEMBERED = 8
# A dot parts a path and a dollar begins an operator; NUL ends a name, and an empty one is no path.
_UNSAFE = re.compile(r"[%.$\x00]")
_NO_MARKS: list[bytes] = []
_NO_NULL = (
    "string double int long decimal object array binData objectId bool date regex javascript timestamp minKey maxKey"
)
#: The filter of sessions that have a user, readable or not; the index ``by_sign_in`` is partial by the same.
HAS_USER: dict[str, Any] = {"user": {"$type": _NO_NULL.split()}}
#: The projection for ``read_shown`` and ``read_everybody``: no values, only of which type they are together.
SHOWN: dict[str, Any] = {
    **dict.fromkeys((*RECORD_FIELDS, "live", "ended_at", "ending", "keep_until", "not_before", "era"), True),
    "values": {"$type": "$data"},
}


class Everybody(NamedTuple):
    """When everybody's sessions were ended last.

    Attributes:
        not_before: sessions created earlier have ended; 0.0 when nobody ever ended everybody.
        era: how many ends of everybody there have been.
        ending: who did it and why; ``None`` where that is not known.
    """

    not_before: float = 0.0
    era: int = 0
    ending: Ending | None = None

    @property
    def live(self) -> int:
        """What ``live`` is in the documents of live sessions."""
        # Earlier versions, which knew no eras, stored True.
        return self.era or True

    def is_over(self, live: object) -> bool:
        """Whether the era that a document carries has ended."""
        return self.era > 0 and (live is True or (isinstance(live, int) and live < self.era))


def read_everybody(document: dict[str, Any] | None) -> Everybody:
    """Read the document of everybody's end. Raises ``StoreMismatch`` when it is damaged."""
    if document is None:
        return Everybody()
    not_before, era = number_or(document.get("not_before"), None), document.get("era", 0)
    if not_before is not None and not 0 <= not_before <= _LATEST:
        # Some other number: nobody could undo an end of everybody at such a time.
        not_before = None
    if not_before is None or not isinstance(era, int) or isinstance(era, bool) or era < 0:
        field = "not_before" if not_before is None else "era"
        raise StoreMismatch(
            "mongodb",
            f"{field} of the document {EVERYBODY!r} in the collection of sessions is damaged: without it nobody can tell "
            "whose session has ended; restore the document from a backup",
        )
    ending = read_ending(document.get("ending"))
    return Everybody(not_before, int(era), ending if isinstance(ending, Ending) else None)


def new_era(not_before: float, ending: Ending, *, even_if_equal: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Filter and update that end everybody's sessions. Where a later ``not_before`` is stored, the filter finds nothing.

    Args:
        not_before: sessions created earlier have ended.
        ending: who did it and why.
        even_if_equal: whether a new era also begins where this ``not_before`` is the stored one.
    """
    where = {"_id": EVERYBODY, "not_before": {"$lte" if even_if_equal else "$lt": not_before}}
    sets = {"not_before": not_before, "ending": _from_ending(ending)}
    return where, {"$set": sets, "$inc": {"era": 1}, "$currentDate": {"told_at": True}}


def live(now: float, everybody: Everybody) -> dict[str, Any]:
    """The filter of sessions that would be let in, and of damaged ones of which nobody knows when they expire."""
    # Not "greater than now", which only finds numbers: what cannot be read must be seen to be ended.
    found: dict[str, Any] = {"live": everybody.live, "expires_at": {"$not": {"$lte": now}}}
    if not everybody.era and everybody.not_before:
        # Everybody was ended by a version that knew no eras.
        found["created_at"] = {"$not": {"$lt": everybody.not_before}}
    return found


def alive(handle: str, now: float, not_before: float) -> dict[str, Any]:
    """The filter of one session that would be let in, whatever its era."""
    found: dict[str, Any] = {"_id": handle, "live": {"$exists": True}, "expires_at": {"$gt": now}}
    return {**found, "created_at": {"$gte": not_before}} if not_before else found


def is_session(document: dict[str, Any]) -> bool:
    """Whether a document is a session, damaged or not, and no tombstone."""
    return document.get("live") is not None or not ("ended_at" in document or "ending" in document)


def is_live(item: SessionSummary, document: dict[str, Any], now: float, everybody: Everybody) -> bool:
    """Whether a session would be let in. A damaged one counts as live until it expires or somebody ends it."""
    if everybody.is_over(document.get("live")) and not item.created_at >= everybody.not_before:
        return False
    if isinstance(item, Damaged):
        return number_or(document.get("expires_at"), inf) > now
    return item.expires_at > now and item.created_at >= everybody.not_before


def keep_until(seconds: float) -> datetime:
    """When the server may remove a document, by its own clock and whatever ours says."""
    return purge_time(time.time() + seconds)


def purge_time(at: float) -> datetime:
    """When the server may remove a document that is not needed after ``at``, in UTC seconds."""
    return datetime.fromtimestamp(min(max(at, 0.0) + _SLACK, _LATEST), UTC)


def to_document(record: Record, live: int) -> dict[str, Any]:
    """The document of a new session."""
    fields = {name: getattr(record, name) for name in RECORD_FIELDS}
    data = {_escape(key): value for key, value in record.data.items()}
    purge_at = keep_until(record.expires_at - record.last_seen_at)
    return {"_id": record.handle, "live": live, **fields, "data": data, "purge_at": purge_at}


def read(document: dict[str, Any]) -> Record | Tombstone | Damaged:
    """Read a session or a tombstone, whatever is stored in it."""
    if not is_session(document):
        return _read_tombstone(document)
    data = read_values(document.get("data"))
    if data is None:
        return salvage(document, "data is no values by key")
    return _checked(document, read_record(document, data))


def read_shown(document: dict[str, Any]) -> SessionSummary:
    """Read what lists show of a session or a tombstone: a document without its values (``SHOWN``)."""
    if not is_session(document):
        return _read_tombstone(document)
    if document.get("values") != "object":
        return salvage(document, "data is no values by key")
    found = _checked(document, read_record(document))
    return found if isinstance(found, Damaged) else convert(found, SessionSummary, from_attributes=True)


def _checked(document: dict[str, Any], found: Record | str) -> Record | Damaged:
    if isinstance(found, str):
        return salvage(document, found)
    if not _is_era(document.get("live")):
        return salvage(document, "live is no number")
    return found if type(document.get("marks", _NO_MARKS)) is list else salvage(document, "marks is no list")


def _is_era(value: object) -> bool:
    return value is True or (isinstance(value, int) and value >= 1)


def _read_tombstone(document: dict[str, Any]) -> Tombstone | Damaged:
    facts, ending = read_summary(document), read_ending(document.get("ending"))
    if isinstance(facts, str) or isinstance(ending, str):
        return salvage(document, facts if isinstance(facts, str) else str(ending))
    return bury(facts, ending)


def is_guarded(change: Change) -> bool:
    """Whether a change may meet another state, as a live session."""
    return bool(change.expect) or change.rotation is not None


def guards(change: Change, not_before: float) -> dict[str, Any]:
    """The filter that a change needs to be met. It does not ask for the era: that may just be moving on."""
    found = alive(change.handle, change.now, not_before)
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
    return {name: value for name, value in made.items() if value} or {"$setOnInsert": {"live": True}}


def confirmation(change: Change) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Filter and update for the newest secret having arrived; it holds whatever becomes of the rest."""
    if change.confirmed_at is None or change.rotation is not None:
        return None
    found = {"_id": change.handle, "live": {"$exists": True}, "secret_hash": change.confirms, "confirmed_at": None}
    return found, {"$set": {"confirmed_at": change.confirmed_at}}


def end(ending: Ending, kind: EventKind | None, mark: bytes) -> dict[str, Any]:
    """The update that makes a tombstone of a session; with ``kind`` it is told to who listens, by the server's clock."""
    made: dict[str, Any] = {
        "$set": {
            "ending": _from_ending(ending),
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


def mended(item: Damaged) -> dict[str, Any]:
    """What replaces the fields of a damaged session in its tombstone, so that the tombstone can be read."""
    return {name: getattr(item, name) for name in SUMMARY_FIELDS}


def read_event(document: dict[str, Any]) -> Event | None:
    """The event that a document reports, if any."""
    found = read_ending(document.get("ending"))
    ending = found if isinstance(found, Ending) else None
    cause, by = (ending.cause, ending.by) if ending is not None else (None, None)
    if document["_id"] == EVERYBODY:
        at = number_or(document.get("not_before"), 0.0)
        return Event(kind=EventKind.ENDED_ALL, handle="", at=at or 0.0, cause=cause, by=by)
    try:
        kind = EventKind(document.get("told", ""))
    except ValueError:
        return None
    at = ending.at if ending is not None else number_or(document.get("ended_at"), 0.0)
    user = document.get("user")
    user = user if isinstance(user, str) else None
    return Event(kind=kind, handle=str(document["_id"]), at=at or 0.0, user=user, cause=cause, by=by)


def _from_ending(ending: Ending) -> dict[str, Any]:
    stored = {name: getattr(ending, name) for name in Ending.__struct_fields__}
    return {**stored, "cause": ending.cause.value}


def _escape(key: str) -> str:
    return "k" + _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", key)
