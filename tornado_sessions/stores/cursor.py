"""Sort keys of list rows, and cursors: the place where a page starts or ends, encoded as opaque text.

Every store orders by the same keys, so a cursor stays valid while sessions move between stores. A cursor that was not returned by
a page of the same order is refused. Pure functions; they must not know where rows are stored.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Page, Query, Sort, State
from tornado_sessions.record import SessionSummary, Tombstone

__all__ = [
    "END", "UNPLACED", "VISITORS_LAST", "Edge", "SortKey", "bad_cursor", "edge_of", "encode_edge", "in_order", "is_backwards",
    "order_of", "pack_cursor", "page_between", "page_of", "reverse_cursor", "sort_key", "unpack_cursor",
]  # fmt: skip

T = TypeVar("T")

#: Values of ``SortKey.part``: visitors in an order by user, and damaged rows without a readable sort key.
VISITORS_LAST, UNPLACED = 1, 3
#: The first character of the cursor of a page that ends at its place. The rest is the cursor of the page that starts there.
_BACKWARDS = "~"


class SortKey(NamedTuple):
    """The position of a row in a list: sorting the keys gives the usual order of the list.

    Attributes:
        part: the part of the list: 0, then ``VISITORS_LAST``, then ``UNPLACED``; further spellings of an address are parts, too.
        name: the user in the order by user, otherwise empty.
        at: the time that the list is ordered by, in UTC seconds; negated if the latest comes first.
        handle: orders rows with the same time.
    """

    part: int
    name: str
    at: float
    handle: str


class Edge(NamedTuple):
    """A place between two rows, where a page starts or, if it is read backwards, ends.

    Attributes:
        key: of the row before or after the place.
        is_after: whether the place is after that row.
        is_backwards: whether the page ends here.
        number: the number of the first row after the place, counted from 1; 0 if unknown.
    """

    key: SortKey
    is_after: bool
    is_backwards: bool = False
    number: int = 0

    @property
    def includes_key(self) -> bool:
        """Whether the page includes the row with the key."""
        return self.is_after is self.is_backwards

    def is_on_page(self, key: SortKey, *, is_reversed: bool) -> bool:
        """Return whether a row is on the page's side of this place."""
        if key == self.key:
            return self.includes_key
        if key.part != self.key.part:
            return (key.part > self.key.part) is not self.is_backwards
        return (key > self.key) is (is_reversed is self.is_backwards)


#: The end of every list: the place where the last page ends.
END = Edge(SortKey(UNPLACED + 1, "", 0.0, ""), is_after=False, is_backwards=True)

_decoder = msgspec.msgpack.Decoder(tuple[str, int, str, float, str, bool, int])


def sort_key(item: SessionSummary, sort: Sort) -> SortKey:
    """Return the sort key of a session or a tombstone."""
    if isinstance(item, Tombstone):
        return SortKey(0, "", -item.ending.at, item.handle)
    if sort is Sort.EXPIRES:
        return SortKey(0, "", item.expires_at, item.handle)
    if sort is Sort.LAST_SEEN:
        return SortKey(0, "", -item.last_seen_at, item.handle)
    if item.user is None:
        return SortKey(VISITORS_LAST, "", -item.last_seen_at, item.handle)
    if sort is Sort.SIGNED_IN:
        return SortKey(0, "", -(item.signed_in_at or 0.0), item.handle)
    return SortKey(0, item.user, -item.last_seen_at, item.handle)


def in_order(keyed: Iterable[tuple[SortKey, T]], *, is_reversed: bool) -> list[tuple[SortKey, T]]:
    """Sort rows by their keys. In a reversed list, the parts keep their order, and the rows of each are reversed."""
    # Sort by key alone: two damaged rows may have equal keys, and sessions cannot be compared.
    found = sorted(keyed, key=lambda entry: entry[0], reverse=is_reversed)
    return sorted(found, key=lambda entry: entry[0].part) if is_reversed else found


def page_of(items: Iterable[SessionSummary], query: Query) -> Page:
    """Sort sessions that are all in memory, and return one page of them."""
    edge = edge_of(query)
    rows = in_order(((sort_key(item, query.sort), item) for item in items), is_reversed=query.is_reversed)
    total = len(rows)
    if edge is not None:
        rows = [row for row in rows if edge.is_on_page(row[0], is_reversed=query.is_reversed)]
    is_backwards = edge is not None and edge.is_backwards
    shown = rows[-query.limit :] if is_backwards else rows[: query.limit]
    reached = shown[0 if is_backwards else -1][0] if len(rows) > query.limit else None
    return page_between([item for _, item in shown], query, edge, reached)._replace(total=total)


def page_between(items: Sequence[SessionSummary], query: Query, edge: Edge | None, reached: SortKey | None) -> Page:
    """Return a page with its cursors.

    Args:
        items: the rows, in the order of the list.
        query: its order is encoded in the cursors.
        edge: where the page starts or ends; ``None`` for the start of the list.
        reached: the key of the last row read, if the list may continue in that direction.
    """
    shown = list(items)
    if edge is None or not edge.is_backwards:
        start = edge.number if edge is not None else 1
        following = Edge(reached, is_after=True, number=start and start + len(shown)) if reached is not None else None
        before = edge._replace(is_backwards=True) if edge is not None else None
    else:
        start = max(0, edge.number - len(shown))
        # Rows may have come or gone since the numbers were counted. Only the first page is known to start with the first row.
        start = 1 if reached is None else start if start > 1 else 0
        before = Edge(reached, is_after=False, is_backwards=True, number=start) if reached is not None else None
        number = start + len(shown) if start else 0
        following = edge._replace(is_backwards=False, number=number) if edge.key != END.key else None
    next_cursor, previous_cursor = (encode_edge(place, query) if place else None for place in (following, before))
    # A first page that is also the last has all rows.
    total = len(shown) if next_cursor is None and previous_cursor is None else None
    return Page(shown, next_cursor, previous_cursor, start if shown and start else None, total)


def order_of(query: Query) -> str:
    """Return the order of a list, for its cursors."""
    order = State.ENDED.value if query.state is State.ENDED else query.sort.value
    return f"-{order}" if query.is_reversed else order


def encode_edge(edge: Edge, query: Query) -> str:
    """Return the cursor of the page that starts or ends at a place."""
    part, name, at, handle = edge.key
    packed = pack_cursor((order_of(query), part, name, float(at), handle, edge.is_after, edge.number))
    return _BACKWARDS + packed if edge.is_backwards else packed


def edge_of(query: Query) -> Edge | None:
    """Return where the page of a query starts or ends; ``None`` for the start of the list.

    Raises ``QueryError`` for a cursor of another order or other text.
    """
    if query.cursor is None:
        return None
    order, part, name, at, handle, is_after, number = unpack_cursor(query.cursor.removeprefix(_BACKWARDS), _decoder)
    if order != order_of(query) or not math.isfinite(at) or number < 0 or not _is_unicode(handle + name):
        raise bad_cursor()
    return Edge(SortKey(part, name, at, handle), is_after, is_backwards(query.cursor), number)


def is_backwards(cursor: str) -> bool:
    """Return whether a cursor is that of the page that ends at its place."""
    return cursor.startswith(_BACKWARDS)


def reverse_cursor(cursor: str) -> str:
    """Return the cursor of the page that is read from the same place in the other direction."""
    return cursor.removeprefix(_BACKWARDS) if is_backwards(cursor) else _BACKWARDS + cursor


def pack_cursor(fields: tuple[Any, ...]) -> str:
    """Encode fields as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(fields)).decode("ascii").rstrip("=")


def unpack_cursor(cursor: str, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """Decode the fields of ``pack_cursor``. Raises ``QueryError`` if the decoder refuses them."""
    try:
        return decoder.decode(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise bad_cursor() from None


def bad_cursor() -> QueryError:
    """Return the error for an invalid cursor."""
    return QueryError("the cursor is not one that a page of this order gave; start from the first page")


def _is_unicode(text: str) -> bool:
    try:
        return text.encode() is not None
    except UnicodeEncodeError:
        return False
