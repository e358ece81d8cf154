"""Merge the lists of two stores, page by page.

The cursor contains a cursor of each store, so that a damaged row without a readable sort key neither hides nor repeats others. It
must not know which rows are hidden: the caller decides.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from tornado_sessions.query import Page, Query, Sort
from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.cursor import SortKey, bad_cursor, encode_cursor, pack_cursor, sort_key, unpack_cursor

__all__ = ["Hidden", "Row", "find_in_both"]

# The position in a store's list: a cursor, ``None`` for its first page, or ``_ENDED`` after its last.
_Cursor = str | Literal[0] | None
_ENDED: Literal[0] = 0
_decoder = msgspec.msgpack.Decoder(tuple[str, tuple[_Cursor, _Cursor]])
# Distinguishes these cursors from those of a single store.
_MARK = "both:"
_FIRST = SortKey(0, "", -math.inf, "")

#: Takes the index of a store, rows of its list and the time; returns the handles of the rows to hide.
Hidden = Callable[[int, Sequence[SessionSummary], float], Awaitable[set[str]]]


class Row(NamedTuple):
    """A row and the index of its store."""

    store: int
    item: SessionSummary


async def find_in_both(stores: Sequence[Store], query: Query, hidden: Hidden) -> tuple[list[Row], str | None]:
    """Return one page of two merged lists.

    Args:
        stores: both stores, in reading order.
        query: a query with a cursor returned by this function, or none.
        hidden: called with the rows of each store as soon as they arrive, before the next store is read.

    Returns:
        The rows, and the next cursor; ``None`` on the last page.

    Raises:
        QueryError: the cursor is invalid.
    """
    cursors = _decode(query.cursor, query.sort) if query.cursor is not None else (None, None)
    pages: list[Page] = []
    unseen: set[tuple[int, str]] = set()
    for number, cursor in enumerate(cursors):
        is_over = cursor == _ENDED
        pages.append(Page([], None) if is_over else await stores[number].find(_at(query, cursor, query.limit)))
        unseen |= {(number, handle) for handle in await hidden(number, pages[number].items, query.now)}
    # Hidden rows count towards the limit too, so that the cursors advance past them.
    rows = list(islice(_merged(pages, query.sort), query.limit))
    used = [sum(row.store == number for row in rows) for number in range(2)]
    following = [
        await _following(store, query, cursor, page, many)
        for store, cursor, page, many in zip(stores, cursors, pages, used, strict=True)
    ]
    shown = [row for row in rows if (row.store, row.item.handle) not in unseen]
    is_last = all(cursor == _ENDED for cursor in following)
    return shown, None if is_last else pack_cursor((_MARK + query.sort.value, following))


def _at(query: Query, cursor: _Cursor, limit: int) -> Query:
    return msgspec.structs.replace(query, cursor=cursor or None, limit=limit)


def _merged(pages: Sequence[Page], sort: Sort) -> Iterator[Row]:
    """Merge the pages. Stop at the end of a page that has a next one: its later rows, not read yet, may come first."""
    left = [len(page.items) for page in pages]
    for _, _, number, item in merge(*(_keyed(number, page, sort) for number, page in enumerate(pages))):
        if any(many == 0 and page.next_cursor is not None for many, page in zip(left, pages, strict=True)):
            return
        left[number] -= 1
        yield Row(number, item)


def _keyed(number: int, page: Page, sort: Sort) -> Iterator[tuple[SortKey, int, int, SessionSummary]]:
    """Yield the rows of one store with their keys. A damaged row gets the key of the row before it, to keep its position."""
    key = _FIRST
    for position, item in enumerate(page.items):
        if not isinstance(item, Damaged):
            key = sort_key(item, sort)
        # The position is unique, so rows themselves, which have no order, are never compared.
        yield key, position * 2 + number, number, item


async def _following(store: Store, query: Query, cursor: _Cursor, page: Page, used: int) -> _Cursor:
    """Return a store's position after the first ``used`` rows of its page."""
    if used == len(page.items):
        return _ENDED if page.next_cursor is None else page.next_cursor
    if used == 0:
        return cursor
    last = page.items[used - 1]
    if not isinstance(last, Damaged):
        return encode_cursor(sort_key(last, query.sort), query.sort)
    # The key of a damaged row is unreliable, so ask the store for a shorter page and use its cursor.
    shorter = await store.find(_at(query, cursor, used))
    return _ENDED if shorter.next_cursor is None else shorter.next_cursor


def _decode(cursor: str, sort: Sort) -> tuple[_Cursor, _Cursor]:
    mark, cursors = unpack_cursor(cursor, _decoder)
    if mark != _MARK + sort.value or all(each == _ENDED for each in cursors):
        raise bad_cursor()
    return cursors
