"""Sort keys of list rows, and cursors: the sort key of a page's last row, encoded as opaque text.

Every store orders by the same keys, so a cursor stays valid while sessions move between stores. A cursor that was not returned by
a page of the same order is refused. Pure functions; they must not know where rows are stored.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Page, Query, Sort
from tornado_sessions.record import SessionSummary, Tombstone

__all__ = [
    "UNPLACED",
    "VISITORS_LAST",
    "SortKey",
    "bad_cursor",
    "decode_cursor",
    "encode_cursor",
    "pack_cursor",
    "page_of",
    "sort_key",
    "unpack_cursor",
]

T = TypeVar("T")

#: Values of ``SortKey.part``: visitors in an order by user, and damaged rows without a readable sort key.
VISITORS_LAST, UNPLACED = 1, 2


class SortKey(NamedTuple):
    """The position of a row in a list: sorting the keys gives the order of the list.

    Attributes:
        part: the part of the list: 0, then ``VISITORS_LAST``, then ``UNPLACED``.
        name: the user in the order by user, otherwise empty.
        at: the time that the list is ordered by, in UTC seconds; negated if the latest comes first.
        handle: orders rows with the same time.
    """

    part: int
    name: str
    at: float
    handle: str


_decoder = msgspec.msgpack.Decoder(tuple[str, int, str, float, str])


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


def page_of(items: Iterable[SessionSummary], query: Query) -> Page:
    """Sort sessions that are all in memory, and return one page of them."""
    # Sort by key alone: two damaged rows may have equal keys, and sessions cannot be compared.
    keyed = sorted(((sort_key(item, query.sort), item) for item in items), key=lambda entry: entry[0])
    if query.cursor is not None:
        after = decode_cursor(query.cursor, query.sort)
        keyed = [entry for entry in keyed if entry[0] > after]
    shown = keyed[: query.limit]
    cursor = encode_cursor(shown[-1][0], query.sort) if len(keyed) > query.limit else None
    return Page([item for _, item in shown], cursor)


def encode_cursor(key: SortKey, sort: Sort) -> str:
    """Return the cursor of the page that starts after a row."""
    return pack_cursor((sort.value, key.part, key.name, float(key.at), key.handle))


def decode_cursor(cursor: str, sort: Sort) -> SortKey:
    """Return the sort key of the row before the page. Raises ``QueryError`` for a cursor of another order or other text."""
    made_for, part, name, at, handle = unpack_cursor(cursor, _decoder)
    found = SortKey(part, name, at, handle)
    if made_for != sort.value or not math.isfinite(found.at) or not _is_unicode(found.handle + found.name):
        raise bad_cursor()
    return found


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
