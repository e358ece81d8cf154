"""Merge the lists of two stores, page by page.

The cursor contains a cursor of each store, so that a damaged row without a readable sort key neither hides nor repeats others. It
must not know which rows are hidden: the caller decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Page, Query
from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.cursor import (
    END,
    Edge,
    SortKey,
    bad_cursor,
    edge_of,
    encode_edge,
    is_backwards,
    order_of,
    pack_cursor,
    reverse_cursor,
    unpack_cursor,
)
from tornado_sessions.stores.indexes import key_in

__all__ = ["Hidden", "Merged", "Row", "find_in_both"]

# The place in a store's list: the cursor of the page that starts there, ``None`` for the start of the list, or ``_END``.
_Place = str | Literal[0] | None
_END: Literal[0] = 0
_decoder = msgspec.msgpack.Decoder(tuple[str, tuple[_Place, _Place]])
# Distinguishes these cursors from those of a single store.
_MARK = "both:"

#: Takes the index of a store, rows of its list and the time; returns the handles of the rows to hide.
Hidden = Callable[[int, Sequence[SessionSummary], float], Awaitable[set[str]]]


class Row(NamedTuple):
    """A row and the index of its store."""

    store: int
    item: SessionSummary


class Merged(NamedTuple):
    """One page of two merged lists, and the cursors of the pages after and before it."""

    rows: list[Row]
    next_cursor: str | None
    previous_cursor: str | None


async def find_in_both(stores: Sequence[Store], query: Query, hidden: Hidden) -> Merged:
    """Return one page of two merged lists.

    Args:
        stores: both stores, in reading order.
        query: a query with a cursor returned by this function, or none.
        hidden: called with the rows of each store as soon as they arrive, before the next store is read.

    Raises:
        QueryError: the cursor is invalid.
    """
    places = _decode(query) if query.cursor is not None else (None, None)
    is_back = query.cursor is not None and is_backwards(query.cursor)
    pages: list[Page] = []
    unseen: set[tuple[int, str]] = set()
    for number, place in enumerate(places):
        pages.append(await _page_at(stores[number], query, place, is_back=is_back))
        unseen |= {(number, handle) for handle in await hidden(number, pages[number].items, query.now)}
    # Hidden rows count towards the limit too, so that the cursors advance past them.
    rows = list(islice(_merged(pages, query, is_back=is_back), query.limit))
    used = [sum(row.store == number for row in rows) for number in range(2)]
    reached = [
        await _place_after(store, query, place, page, many, is_back=is_back)
        for store, place, page, many in zip(stores, places, pages, used, strict=True)
    ]
    shown = [row for row in (reversed(rows) if is_back else rows) if (row.store, row.item.handle) not in unseen]
    before, after = (reached, places) if is_back else (places, reached)
    following = _encode(after, query) if set(after) != {_END} else None
    previous = reverse_cursor(_encode(before, query)) if set(before) != {None} else None
    return Merged(shown, following, previous)


async def _page_at(store: Store, query: Query, place: _Place, *, is_back: bool, limit: int | None = None) -> Page:
    """Return a page of one store that starts at a place or, ``is_back``, ends there."""
    if place == (None if is_back else _END):
        return Page([], None)
    cursor = place or None
    if is_back:
        cursor = reverse_cursor(cursor) if cursor is not None else encode_edge(END, query)
    return await store.find(msgspec.structs.replace(query, cursor=cursor, limit=limit or query.limit))


def _merged(pages: Sequence[Page], query: Query, *, is_back: bool) -> Iterator[Row]:
    """Merge the pages in the order in which they are read: ``is_back`` from the last row.

    Stop where a page ends that has another one behind it: the rows of that one, not read yet, may come first.
    """
    left = [deque(_keyed(number, page, query, is_back=is_back)) for number, page in enumerate(pages)]
    has_more = [(page.previous_cursor if is_back else page.next_cursor) is not None for page in pages]
    while any(left) and not any(more and not rows for rows, more in zip(left, has_more, strict=True)):
        first, second = left
        yield (first if _is_first(first, second, query, is_back=is_back) else second).popleft()[1]


_Keyed = tuple[SortKey | None, Row]


def _is_first(first: Sequence[_Keyed], second: Sequence[_Keyed], query: Query, *, is_back: bool) -> bool:
    """Return whether the next row is that of the first store."""
    if not first or not second:
        return bool(first)
    key, other = first[0][0], second[0][0]
    if key is None or other is None:
        return key is None
    return Edge(key, is_after=True, is_backwards=is_back).is_on_page(other, is_reversed=query.is_reversed)


def _keyed(number: int, page: Page, query: Query, *, is_back: bool) -> Iterator[_Keyed]:
    """Yield the rows of one store, in the order in which they are read, with their keys.

    A damaged row gets the key of the row read before it, to keep its position; ``None`` if there is none.
    """
    key = None
    for item in reversed(page.items) if is_back else page.items:
        if not isinstance(item, Damaged):
            key = key_in(query, item)
        yield key, Row(number, item)


async def _place_after(store: Store, query: Query, place: _Place, page: Page, used: int, *, is_back: bool) -> _Place:
    """Return a store's place behind the first ``used`` rows that are read of its page."""
    if used == len(page.items):
        return _place_of(page, is_back=is_back)
    if used == 0:
        return place
    last = page.items[-used if is_back else used - 1]
    if not isinstance(last, Damaged):
        return encode_edge(Edge(key_in(query, last), is_after=not is_back), query)
    # The key of a damaged row is unreliable, so ask the store for a shorter page and use its cursor.
    return _place_of(await _page_at(store, query, place, is_back=is_back, limit=used), is_back=is_back)


def _place_of(page: Page, *, is_back: bool) -> _Place:
    """Return the place where a page ends or, ``is_back``, starts."""
    if is_back:
        return reverse_cursor(page.previous_cursor) if page.previous_cursor is not None else None
    return _END if page.next_cursor is None else page.next_cursor


def _encode(places: Sequence[_Place], query: Query) -> str:
    return pack_cursor((_MARK + order_of(query), tuple(places)))


def _decode(query: Query) -> tuple[_Place, _Place]:
    cursor = query.cursor or ""
    forward = reverse_cursor(cursor) if is_backwards(cursor) else cursor
    try:
        mark, places = unpack_cursor(forward, _decoder)
    except QueryError:
        # The cursor of a single list names a place in the order, which both stores have. Raises if it is none, either.
        edge_of(query)
        return forward, forward
    is_empty = set(places) == {None if is_backwards(cursor) else _END}
    if mark != _MARK + order_of(query) or is_empty:
        raise bad_cursor()
    return places
