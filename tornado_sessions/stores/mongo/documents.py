"""Reading MongoDB's documents: sessions, tombstones and everybody's end.

It must not know connections or updates. A session and its tombstone are one document: ending a session is one update in place, so
its handle stays taken as long as the tombstone is kept.

Only sessions have the field ``live``. It names the era in which the session counts as live: ``True`` at first, then 1, 2,
3, …, one for each end of everybody. A session with an older era is dead, and no list walks it, because every index of
lists begins with ``live``.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple
from urllib.parse import unquote

from tornado_sessions import change
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.record import (
    LATEST,
    Damaged,
    Ending,
    Event,
    EventKind,
    Record,
    SessionSummary,
    Tombstone,
    bury,
    summary_of,
)
from tornado_sessions.stores.stored_fields import (
    RECORD_FIELDS,
    SUMMARY_FIELDS,
    number_or,
    read_ending,
    read_record,
    read_summary,
    salvage,
)

__all__ = [
    "EVERYBODY",
    "FIELDS",
    "HAS_USER",
    "LATEST_DATE",
    "SHOWN",
    "SUMMARY",
    "Everybody",
    "alive",
    "is_live",
    "is_session",
    "live",
    "read",
    "read_event",
    "read_everybody",
    "read_shown",
]

#: The document that says when everybody's sessions were last ended. No handle has a colon.
EVERYBODY = "everybody:"
#: The latest time that a ``datetime`` can hold, in UTC seconds.
LATEST_DATE = LATEST - 1
_NO_MARKS: list[bytes] = []
_NO_NULL = (
    "string double int long decimal object array binData objectId bool date regex javascript timestamp minKey maxKey"
)
#: The filter of sessions that have a user, readable or not; the index ``by_sign_in`` is partial by the same.
HAS_USER: dict[str, Any] = {"user": {"$type": _NO_NULL.split()}}
#: All of a record but its handle and its values.
FIELDS = RECORD_FIELDS[1:-1]
#: What a tombstone shows but the handle.
SUMMARY = SUMMARY_FIELDS[1:]
#: The projection for ``read_shown`` and ``read_everybody``: instead of the values, only their type.
SHOWN: dict[str, Any] = {
    **dict.fromkeys((*FIELDS, "live", "ended_at", "ending", "keep_until", "not_before", "era"), True),
    "values": {"$type": "$data"},
}


class Everybody(NamedTuple):
    """When everybody's sessions were last ended.

    Attributes:
        not_before: sessions created earlier have ended; 0.0 if everybody was never ended.
        era: the number of ends of everybody.
        ending: who did it and why; ``None`` if unknown.
    """

    not_before: float = 0.0
    era: int = 0
    ending: Ending | None = None

    @property
    def live(self) -> int:
        """The value of ``live`` in live sessions. Before the first end of everybody it is ``True``."""
        return self.era or True

    def is_over(self, live: object) -> bool:
        """Whether the era of a document has ended."""
        return self.era > 0 and (live is True or (isinstance(live, int) and live < self.era))


def read_everybody(document: dict[str, Any] | None) -> Everybody:
    """Read the document of everybody's end.

    Raises:
        StoreMismatch: it is damaged. Taking it for "never ended" would let everybody in again who was signed out.
    """
    if document is None:
        return Everybody()
    not_before, era = number_or(document.get("not_before"), -1.0), document.get("era", 0)
    field = None
    if not 0 <= not_before <= LATEST_DATE:
        field = "not_before"
    elif not isinstance(era, int) or isinstance(era, bool) or era < 0:
        field = "era"
    if field is not None:
        raise StoreMismatch(
            "mongodb",
            f"{field} of the document {EVERYBODY!r} in the collection of sessions is damaged: without it nobody can tell "
            "whose session has ended; restore the document from a backup",
        )
    ending = read_ending(document.get("ending"))
    return Everybody(not_before, int(era), ending if isinstance(ending, Ending) else None)


def live(now: float, everybody: Everybody) -> dict[str, Any]:
    """Return the filter of sessions that would be let in, and of damaged ones with an unreadable expiry."""
    # Not "greater than now", which finds numbers only: a damaged session must be seen to be ended.
    found: dict[str, Any] = {"live": everybody.live, "expires_at": {"$not": {"$lte": now}}}
    if not everybody.era and everybody.not_before:
        # A version without eras has ended everybody.
        found["created_at"] = {"$not": {"$lt": everybody.not_before}}
    return found


def alive(handle: str, now: float, not_before: float) -> dict[str, Any]:
    """Return the filter of one session that would be let in, whatever its era."""
    found: dict[str, Any] = {"_id": handle, "live": {"$exists": True}, "expires_at": {"$gt": now}}
    return {**found, "created_at": {"$gte": not_before}} if not_before else found


def is_session(document: dict[str, Any]) -> bool:
    """Whether a document is a session, damaged or not, and no tombstone."""
    return document.get("live") is not None or not ("ended_at" in document or "ending" in document)


def is_live(item: SessionSummary, document: dict[str, Any], now: float, everybody: Everybody) -> bool:
    """Whether a session would be let in. A damaged one counts as live until it expires or is ended."""
    if everybody.is_over(document.get("live")) and not item.created_at >= everybody.not_before:
        return False
    if isinstance(item, Damaged):
        return number_or(document.get("expires_at"), inf) > now
    return change.is_live(item, now, everybody.not_before)


def read(document: dict[str, Any]) -> Record | Tombstone | Damaged:
    """Read a session or a tombstone."""
    if not is_session(document):
        return _read_tombstone(document)
    data = document.get("data")
    if type(data) is dict:
        data = {_unescape(name): value for name, value in data.items()}
    return _read_session(document, data)


def read_shown(document: dict[str, Any]) -> SessionSummary:
    """Read what lists show of a session or a tombstone, from a document without its values (``SHOWN``)."""
    if not is_session(document):
        return _read_tombstone(document)
    found = _read_session(document, {} if document.get("values") == "object" else None)
    return found if isinstance(found, Damaged) else SessionSummary(**summary_of(found))  # type: ignore[arg-type]


def _read_session(document: dict[str, Any], data: Any) -> Record | Damaged:
    fields = {**document, "handle": str(document["_id"]), "data": data}
    found = read_record(fields)
    era = document.get("live")
    if isinstance(found, Damaged):
        return found
    if not (era is True or (isinstance(era, int) and era >= 1)):
        return salvage(fields, "live is not a number")
    return found if type(document.get("marks", _NO_MARKS)) is list else salvage(fields, "marks is not a list")


def _read_tombstone(document: dict[str, Any]) -> Tombstone | Damaged:
    fields = {**document, "handle": str(document["_id"])}
    facts, ending = read_summary(fields), read_ending(document.get("ending"))
    if isinstance(facts, Damaged):
        return facts
    return salvage(fields, ending) if isinstance(ending, str) else bury(facts, ending)


def read_event(document: dict[str, Any]) -> Event | None:
    """Return the event that a document reports, if any."""
    found = read_ending(document.get("ending"))
    ending = found if isinstance(found, Ending) else None
    cause, by = (ending.cause, ending.by) if ending is not None else (None, None)
    if document["_id"] == EVERYBODY:
        at = number_or(document.get("not_before"), 0.0)
        return Event(kind=EventKind.ENDED_ALL, handle="", at=at, cause=cause, by=by)
    try:
        kind = EventKind(document.get("told", ""))
    except ValueError:
        return None
    at = ending.at if ending is not None else number_or(document.get("ended_at"), 0.0)
    user = document.get("user")
    user = user if isinstance(user, str) else None
    return Event(kind=kind, handle=str(document["_id"]), at=at, user=user, cause=cause, by=by)


def _unescape(name: str) -> str:
    return name[1:] if "%" not in name else unquote(name[1:])
