"""Parts of MongoDB's indexes, and the position of a document in them, even if its fields are damaged.

Pure; it must not know connections.

Fields may have any value. MongoDB sorts missing fields and null first, then numbers, then strings, then all other types.
An array sorts by its smallest element, or by its largest in descending order. A document has a position if its sort
field is a number, and its user a string in lists by user; scans return these. Other documents are found by filters that
an index supports, and come last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, nan
from sys import float_info
from typing import Any

from bson.decimal128 import Decimal128
from bson.min_key import MinKey

from tornado_sessions.stores.cursor import SortKey
from tornado_sessions.stores.indexes import Index, IndexScan
from tornado_sessions.stores.mongo import documents

__all__ = ["Part", "part_of", "unplaced_users"]

_LOW, _NUMBER, _TEXT, _HIGH = range(4)
_OTHER_TYPES = [
    "string",
    "object",
    "binData",
    "objectId",
    "bool",
    "date",
    "regex",
    "javascript",
    "timestamp",
    "minKey",
    "maxKey",
]
_NO_NUMBER: list[dict[str, Any]] = [{"$in": [None, [], nan]}, {"$type": _OTHER_TYPES}, {"$not": {"$lte": inf}}]
_VISITOR = {"user": None}


@dataclass(frozen=True, slots=True)
class Part:
    """The part of an index that holds one list.

    Attributes:
        index: the name of the index.
        where: the filter that selects the part.
        time: the field to sort by; the latest comes first, except for ``expires_at``.
        is_by_user: whether the list is sorted by user first.
    """

    index: str
    where: dict[str, Any]
    time: str = "last_seen_at"
    is_by_user: bool = False

    @property
    def direction(self) -> int:
        """The sort direction of the time: 1 ascending, -1 descending."""
        return 1 if self.time == "expires_at" else -1

    def order(self, *, is_backwards: bool) -> list[tuple[str, int]]:
        """Return the sort, with the handle as a tie-breaker; MongoDB reads the index in either direction."""
        users = [("user", 1)] if self.is_by_user else []
        terms = [*users, (self.time, self.direction), ("_id", 1)]
        return [(field, -direction if is_backwards else direction) for field, direction in terms]

    @property
    def placed(self) -> dict[str, Any]:
        """The filter of documents that may have a position; for array fields, ``key`` decides."""
        text = {"user": {"$gte": ""}} if self.is_by_user else {}
        return {**text, self.time: {"$gte": -inf}}

    @property
    def unplaced(self) -> tuple[str, dict[str, Any]]:
        """An index, and the filter of documents whose time may have no position; each branch is a range of the index."""
        wrong = {"$or": [{self.time: how} for how in _NO_NUMBER]}
        # In the index by user, a range of times exists only within each user.
        return ("by_last_seen", wrong) if self.is_by_user else (self.index, {"$and": [self.where, wrong]})

    def after(self, key: SortKey, request: IndexScan) -> dict[str, Any]:
        """Return the filter of the rows of a scan after a position."""
        beyond = "$lt" if request.is_backwards else "$gt"
        than = beyond if self.direction == 1 else {"$lt": "$gt", "$gt": "$lt"}[beyond]
        at, handle = self.direction * key.at, {f"{beyond}e" if request.includes_after else beyond: key.handle}
        later = {"$and": [{self.time: {f"{than}e": at}}, {"$or": [{self.time: {than: at}}, {"_id": handle}]}]}
        if not self.is_by_user:
            return later
        # Redundant, but only the first condition bounds the index scan.
        user = {"$or": [{"user": {beyond: key.name}}, {"user": key.name, **later}]}
        return {"$and": [{"user": {f"{beyond}e": key.name}}, user]}

    def key(self, document: dict[str, Any], part: int, *, is_backwards: bool = False) -> SortKey | None:
        """Return the position of a document that matches ``where``; ``None`` if it has none in this part.

        A document with an array has another position if the index is read backwards.
        """
        user, direction = document.get("user"), -1 if is_backwards else 1
        kind, value = _rank(document.get(self.time), self.direction * direction)
        name_kind, name = _rank(user, direction) if self.is_by_user else (_TEXT, "")
        is_here = _is_visitor(user) if self.where == _VISITOR else self.where != documents.HAS_USER or _has_user(user)
        if kind != _NUMBER or name_kind != _TEXT or not is_here:
            return None
        return SortKey(part, name, self.direction * value, str(document["_id"]))


_PARTS = {
    Index.LAST_SEEN: Part("by_last_seen", {}),
    Index.EXPIRES: Part("by_expiry", {}, "expires_at"),
    Index.SIGNED_IN: Part("by_sign_in", documents.HAS_USER, "signed_in_at"),
    Index.USERS: Part("by_user", {"user": {"$ne": None}}, is_by_user=True),
    Index.VISITORS: Part("by_user", _VISITOR),
    Index.ENDED: Part("by_end", {}, "ended_at"),
    Index.ENDED_OF_IP: Part("by_end", {}, "ended_at"),
}


def part_of(scan: IndexScan) -> Part:
    """Return the part of an index that a scan reads."""
    if scan.index is Index.OF_USER:
        return Part("by_user", {"user": scan.value})
    return Part("by_ip", {"ip": scan.value}) if scan.index is Index.OF_IP else _PARTS[scan.index]


def unplaced_users() -> tuple[str, dict[str, Any]]:
    """Return an index, and the filter of documents whose user is neither missing nor a string."""
    lower: list[Any] = [None, [], nan, {"$lte": inf}, {"$gte": ""}]
    higher = {"$nor": [{"user": how} for how in lower]}
    return "by_user", {"$or": [{"user": {"$in": [[], nan]}}, {"user": {"$lte": inf}}, higher]}


def _is_visitor(user: Any) -> bool:
    """Return whether the filter ``{"user": None}`` matches this value."""
    return user is None or (isinstance(user, list) and None in user)


def _has_user(user: Any) -> bool:
    """Return whether this value is in the index by sign-in and is not that of a visitor."""
    if isinstance(user, list):
        return not _is_visitor(user) and any(not isinstance(entry, list) for entry in user)
    return user is not None


def _rank(value: Any, direction: int) -> tuple[int, Any]:
    """Return the kind of value by which MongoDB sorts this, and the value if it is a number or a string."""
    if isinstance(value, list) and value:
        ranks = [_rank(entry, direction) for entry in value if not isinstance(entry, list)] or [(_HIGH, None)]
        best = min(kind for kind, _ in ranks) if direction == 1 else max(kind for kind, _ in ranks)
        among = [entry for kind, entry in ranks if kind == best]
        if best in (_LOW, _HIGH):
            return best, None
        return best, min(among) if direction == 1 else max(among)
    if value is None or isinstance(value, list | MinKey):
        return _LOW, None
    if isinstance(value, Decimal128):
        value = float(value.to_decimal())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (_LOW, None) if isnan(value) else (_NUMBER, max(-float_info.max, min(float(value), float_info.max)))
    return (_TEXT, value) if type(value) is str else (_HIGH, None)
