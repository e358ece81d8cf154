"""Decode MongoDB's documents: sessions, tombstones, and the document ``everybody:``.

It must not know connections or updates. Ending a session turns its document into the tombstone, so that its handle
cannot be used again while the tombstone is kept.

Only sessions have the field ``live``: the era to which the session belongs. The first era is ``True``; ending all
sessions starts the next: 1, 2, 3, …. A session of an older era has ended. Lists never read it, because ``live`` is the
first key of every index that they use.
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
    "is_damaged",
    "is_live",
    "is_session",
    "live",
    "read",
    "read_event",
    "read_everybody",
    "read_shown",
]

#: The key of the document that records when all sessions were last ended. No handle contains a colon.
EVERYBODY = "everybody:"
#: The latest time that a ``datetime`` can represent, in UTC seconds.
LATEST_DATE = LATEST - 1
_NO_MARKS: list[bytes] = []
_NO_NULL = (
    "string double int long decimal object array binData objectId bool date regex javascript timestamp minKey maxKey"
)
#: The filter of sessions that have a user, readable or not. The index ``by_sign_in`` has the same filter.
HAS_USER: dict[str, Any] = {"user": {"$type": _NO_NULL.split()}}
#: The fields of a record, except handle and data.
FIELDS = RECORD_FIELDS[1:-1]
#: The fields of a summary, except the handle.
SUMMARY = SUMMARY_FIELDS[1:]
#: The projection for ``read_shown`` and ``read_everybody``: without the data, but with its type, which reveals damage.
SHOWN: dict[str, Any] = {
    **dict.fromkeys((*FIELDS, "live", "ended_at", "ending", "keep_until", "not_before", "era"), True),
    "values": {"$type": "$data"},
}


class Everybody(NamedTuple):
    """When all sessions were last ended.

    Attributes:
        not_before: sessions created earlier have ended, in UTC seconds; 0.0 if all sessions have never been ended.
        era: the number of times that all sessions were ended.
        ending: who ended them and why; ``None`` if unknown.
    """

    not_before: float = 0.0
    era: int = 0
    ending: Ending | None = None

    @property
    def live(self) -> int:
        """The value of ``live`` in sessions of the current era; ``True`` in the first."""
        return self.era or True

    def is_over(self, live: object) -> bool:
        """Whether the era of a document has ended."""
        return self.era > 0 and (live is True or (isinstance(live, int) and live < self.era))


def read_everybody(document: dict[str, Any] | None) -> Everybody:
    """Decode the document ``everybody:``; ``None`` means that all sessions have never been ended.

    Raises:
        StoreMismatch: it is damaged. Reading it as "never ended" would revive every session that it ended.
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
            f"{field} of the document {EVERYBODY!r} in the collection of sessions is damaged: without it the store cannot "
            "know which sessions have ended; restore the document from a backup",
        )
    ending = read_ending(document.get("ending"))
    return Everybody(not_before, int(era), ending if isinstance(ending, Ending) else None)


def live(now: float, everybody: Everybody) -> dict[str, Any]:
    """Return the filter of live sessions, including damaged ones with an unreadable expiry."""
    # "$gt" would match numbers only; operators must see a damaged session to be able to end it.
    return {"live": everybody.live, "expires_at": {"$not": {"$lte": now}}}


def alive(handle: str, now: float, not_before: float) -> dict[str, Any]:
    """Return the filter of one session if it is live, in any era."""
    found: dict[str, Any] = {"_id": handle, "live": {"$exists": True}, "expires_at": {"$gt": now}}
    return {**found, "created_at": {"$gte": not_before}} if not_before else found


def is_session(document: dict[str, Any]) -> bool:
    """Whether a document is a session, possibly damaged, rather than a tombstone."""
    return document.get("live") is not None or not ("ended_at" in document or "ending" in document)


def is_live(item: SessionSummary, document: dict[str, Any], now: float, everybody: Everybody) -> bool:
    """Whether a session is live. A damaged one counts as live until it expires or is ended."""
    if everybody.is_over(document.get("live")) and not item.created_at >= everybody.not_before:
        return False
    if isinstance(item, Damaged):
        return number_or(document.get("expires_at"), inf) > now
    return change.is_live(item, now, everybody.not_before)


def read(document: dict[str, Any]) -> Record | Tombstone | Damaged:
    """Decode a session or a tombstone."""
    if not is_session(document):
        return _read_tombstone(document)
    data = document.get("data")
    if type(data) is dict:
        data = {_unescape(name): value for name, value in data.items()}
    return _read_session(document, data)


def read_shown(document: dict[str, Any]) -> SessionSummary:
    """Decode a session or a tombstone for a list, from a document with the projection ``SHOWN``."""
    found = _read_shown(document)
    return SessionSummary(**summary_of(found)) if isinstance(found, Record) else found  # type: ignore[arg-type]


def is_damaged(document: dict[str, Any]) -> bool:
    """Whether a session or a tombstone cannot be read, from a document with the projection ``SHOWN``."""
    return isinstance(_read_shown(document), Damaged)


def _read_shown(document: dict[str, Any]) -> Record | Tombstone | Damaged:
    if not is_session(document):
        return _read_tombstone(document)
    return _read_session(document, {} if document.get("values") == "object" else None)


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
    """Return the event recorded in a document; ``None`` if there is none."""
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
