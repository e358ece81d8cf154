"""Where documents stand in a list, also those whose place cannot be read.

Pure. MongoDB sorts values of any type: what is missing, null or an empty list before numbers, numbers before texts, texts before
the rest. A list sorts by its smallest entry, or by its largest one if the order is descending. So a page can meet three regions:
rows before all that can be placed, rows with a place, and the rest. In the first and the last, a place is a count of rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isnan, nan
from sys import float_info
from typing import Any, NamedTuple

from bson.decimal128 import Decimal128
from bson.min_key import MinKey

from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.cursor import Place
from tornado_sessions.stores.mongo.documents import read_shown

__all__ = ["FIRST", "REST", "Row", "rest_of", "rows_of"]

#: Instead of a handle, in places of rows that stand before or behind all that can be placed. No handle has a colon.
FIRST, REST = ":first", ":rest"
_LOW, _NUMBER, _TEXT, _HIGH = range(4)


class Row(NamedTuple):
    """A row of a list."""

    place: Place
    item: SessionSummary


class _Region:
    """Counts the rows before and behind those that have a place.

    Args:
        name: ``FIRST`` or ``REST``.
        passed: rows of this region that were passed over.
        kind: of values that have a place.
        direction: of the order.
    """

    def __init__(self, name: str, passed: int, kind: int, direction: int) -> None:
        self.name, self.passed, self.kind, self.direction = name, passed, kind, direction

    def place(self, kind: int, at: float, handle: str) -> tuple[float, str]:
        """``Place.at`` and ``Place.handle`` of the next row; no handle for a row that has been in another region."""
        if kind == self.kind:
            if self.name == FIRST:
                self.name, self.passed = REST, 0
            return at, handle
        if self.name == REST and (kind < self.kind) is (self.direction == 1):
            return 0.0, ""
        self.passed += 1
        return float(self.passed), self.name


def rows_of(
    documents: Iterable[dict[str, Any]],
    sort: list[tuple[str, int]],
    *,
    last: bool,
    skip: int,
    first: str,
    user: str = "",
) -> list[Row]:
    """Documents as rows, in their order.

    Args:
        documents: as a query along an index returned them.
        sort: the order.
        last: ``Place.last`` of all of them.
        skip: how many of them were passed over.
        first: the region that they begin in, ``FIRST`` or ``REST``.
        user: in the order by user: the one whose sessions they begin with.
    """
    name, direction = sort[0]
    if name == "user":
        return _rows_by_user(documents, last=last, skip=skip, first=first, user=user)
    region, rows = _Region(first, skip, _NUMBER, direction), []
    for document in documents:
        kind, value = _rank(document.get(name), direction)
        at, handle = region.place(kind, direction * (value or 0.0), str(document["_id"]))
        rows.append(Row(Place(last=last, name="", at=at, handle=handle), read_shown(document)))
    return rows


def _rows_by_user(documents: Iterable[dict[str, Any]], *, last: bool, skip: int, first: str, user: str) -> list[Row]:
    """Rows by user, and those of each user by last use: each user has regions of its own."""
    users = _Region(REST if user else first, 0 if user else skip, _TEXT, 1)
    times, rows = _Region(first, skip, _NUMBER, -1), []
    for document in documents:
        kind, name = _rank(document.get("user"), 1)
        at, handle = users.place(kind, 0.0, str(document["_id"]))
        if kind == _TEXT:
            times = times if name == user else _Region(FIRST, 0, _NUMBER, -1)
            user = name
            at, handle = times.place(*_time(document), str(document["_id"]))
        rows.append(
            Row(Place(last=last, name=name if kind == _TEXT else "", at=at, handle=handle), read_shown(document))
        )
    return rows


def _time(document: dict[str, Any]) -> tuple[int, float]:
    kind, seen = _rank(document.get("last_seen_at"), -1)
    return kind, -seen if kind == _NUMBER else 0.0


def _rank(value: Any, direction: int) -> tuple[int, Any]:
    """Which kind of value MongoDB sorts this by, and the value where it is a number or a text."""
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


def rest_of(name: str, direction: int) -> dict[str, Any]:
    """The filter of what comes behind all that can be placed."""
    low: list[dict[str, Any]] = [{name: None}, {name: []}, {name: nan}]
    if direction == -1:
        return {name: {"$in": [None, [], nan]}}
    return {"$nor": [*low, {name: {"$lte": inf}}, *([{name: {"$gte": ""}}] if name == "user" else [])]}
