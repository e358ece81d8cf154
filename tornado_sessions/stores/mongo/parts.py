"""Parts of MongoDB's indexes, and the place of a document in them, also where a field is damaged.

Pure; it must not know connections.

Fields may hold any value. MongoDB sorts null and missing ones first, then numbers, then texts, then all other types, and a list by
its smallest entry, or its largest where the order is descending. A document is placed if the value that it is sorted by is a
number, or a text for users; a scan shows these. The others are found by filters that an index answers, and shown last.
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
    """A part of an index.

    Attributes:
        index: its name.
        where: which part.
        time: the field of its order; the latest comes first, except for ``expires_at``.
        is_by_user: whether users come before times in its order.
    """

    index: str
    where: dict[str, Any]
    time: str = "last_seen_at"
    is_by_user: bool = False

    @property
    def direction(self) -> int:
        """Of the times: 1 ascending, -1 descending."""
        return 1 if self.time == "expires_at" else -1

    @property
    def order(self) -> list[tuple[str, int]]:
        """The sort."""
        users = [("user", 1)] if self.is_by_user else []
        return [*users, (self.time, self.direction), ("_id", 1)]

    @property
    def placed(self) -> dict[str, Any]:
        """The filter of documents that can be placed; ``key`` decides where a field is a list."""
        text = {"user": {"$gte": ""}} if self.is_by_user else {}
        return {**text, self.time: {"$gte": -inf}}

    @property
    def unplaced(self) -> tuple[str, dict[str, Any]]:
        """An index, and the filter of documents whose time may have no place; every branch is a range of the index."""
        wrong = {"$or": [{self.time: how} for how in _NO_NUMBER]}
        # In the index by user, times are ranges of each user.
        return ("by_last_seen", wrong) if self.is_by_user else (self.index, {"$and": [self.where, wrong]})

    def after(self, key: SortKey) -> dict[str, Any]:
        """Return the filter of what comes after a row."""
        at, worse, than = (key.at, "$gte", "$gt") if self.direction == 1 else (-key.at, "$lte", "$lt")
        behind = {"$or": [{self.time: {than: at}}, {"_id": {"$gt": key.handle}}]}
        later = {"$and": [{self.time: {worse: at}}, behind]}
        if not self.is_by_user:
            return later
        # The first condition alone bounds the scan of the index.
        return {
            "$and": [{"user": {"$gte": key.name}}, {"$or": [{"user": {"$gt": key.name}}, {"user": key.name, **later}]}]
        }

    def key(self, document: dict[str, Any], part: int) -> SortKey | None:
        """Return the place of a document that meets ``where``; ``None`` if it has none here."""
        user = document.get("user")
        kind, value = _rank(document.get(self.time), self.direction)
        name_kind, name = _rank(user, 1) if self.is_by_user else (_TEXT, "")
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
}


def part_of(scan: IndexScan) -> Part:
    """Return the part of an index that a scan reads."""
    if scan.index is Index.OF_USER:
        return Part("by_user", {"user": scan.value})
    return Part("by_ip", {"ip": scan.value}) if scan.index is Index.OF_IP else _PARTS[scan.index]


def unplaced_users() -> tuple[str, dict[str, Any]]:
    """Return an index, and the filter of documents whose user is neither missing nor a text."""
    lower: list[Any] = [None, [], nan, {"$lte": inf}, {"$gte": ""}]
    higher = {"$nor": [{"user": how} for how in lower]}
    return "by_user", {"$or": [{"user": {"$in": [[], nan]}}, {"user": {"$lte": inf}}, higher]}


def _is_visitor(user: Any) -> bool:
    """Return whether MongoDB finds this by null."""
    return user is None or (isinstance(user, list) and None in user)


def _has_user(user: Any) -> bool:
    """Return whether the index by sign-in has this, and the part of visitors has not."""
    if isinstance(user, list):
        return not _is_visitor(user) and any(not isinstance(entry, list) for entry in user)
    return user is not None


def _rank(value: Any, direction: int) -> tuple[int, Any]:
    """Return which kind of value MongoDB sorts this by, and the value if it is a number or a text."""
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
