"""Where a row stands in a list, and cursors of keyset paging, which are such places made opaque.

Pure; it must not know where rows are kept. A cursor that was not made here, or for another order, is refused, never guessed at.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Page, Query, Sort
from tornado_sessions.record import SessionSummary, Tombstone

__all__ = ["Place", "decode_cursor", "encode_cursor", "page_of", "place_of"]


class Place(NamedTuple):
    """Where a row stands; places sort as the list does.

    Attributes:
        last: whether it is among those that come after all others: visitors, where the order is one of users.
        name: the user, where the order is by user; else empty.
        at: the time of the order, negative where the latest comes first.
        handle: sets apart what has the same time.
    """

    last: bool
    name: str
    at: float
    handle: str


_decoder = msgspec.msgpack.Decoder(tuple[str, bool, str, float, str])


def place_of(item: SessionSummary, sort: Sort) -> Place:
    """Where a session or a tombstone stands."""
    if isinstance(item, Tombstone):
        return Place(last=False, name="", at=-item.ending.at, handle=item.handle)
    if sort is Sort.EXPIRES:
        return Place(last=False, name="", at=item.expires_at, handle=item.handle)
    if sort is Sort.LAST_SEEN or item.user is None:
        return Place(last=sort is not Sort.LAST_SEEN, name="", at=-item.last_seen_at, handle=item.handle)
    if sort is Sort.SIGNED_IN:
        return Place(last=False, name="", at=-(item.signed_in_at or 0.0), handle=item.handle)
    return Place(last=False, name=item.user, at=-item.last_seen_at, handle=item.handle)


def encode_cursor(place: Place, sort: Sort) -> str:
    """The cursor that stands behind a row."""
    packed = msgspec.msgpack.encode((sort.value, place.last, place.name, float(place.at), place.handle))
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def decode_cursor(cursor: str, sort: Sort) -> Place:
    """The row that a cursor stands behind.

    Raises:
        QueryError: it is no cursor, or one of another order.
    """
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        made_for, last, name, at, handle = _decoder.decode(packed)
        handle.encode()
        name.encode()
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise QueryError("the cursor is not one that a page gave; start from the first page") from None
    if made_for != sort.value or not math.isfinite(at):
        raise QueryError("the cursor is not one that a page of this order gave; start from the first page")
    return Place(last=last, name=name, at=at, handle=handle)


def page_of(items: Iterable[SessionSummary], query: Query) -> Page:
    """One page of a few sessions that are all at hand, in any order."""
    # By place alone: two damaged rows may share one, and sessions themselves cannot be compared.
    placed = sorted(((place_of(item, query.sort), item) for item in items), key=lambda entry: entry[0])
    if query.cursor is not None:
        after = decode_cursor(query.cursor, query.sort)
        placed = [entry for entry in placed if entry[0] > after]
    shown = placed[: query.limit]
    cursor = encode_cursor(shown[-1][0], query.sort) if len(placed) > query.limit else None
    return Page([item for _, item in shown], cursor)
