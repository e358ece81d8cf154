"""One list of the lists of two stores, page by page.

Each store goes on at its own cursor, so a row whose place cannot be read (``Damaged``) neither hides nor repeats others. It must
not know which sessions count.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Page, Query, Sort
from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.stores.base import Store
from tornado_sessions.stores.cursor import Place, encode_cursor, place_of

__all__ = ["Hidden", "Row", "find_in_both"]

# Where a list goes on: at a cursor, at the beginning (``None``), or nowhere, since it has ended.
_Cursor = str | Literal[0] | None
_Cursors = tuple[_Cursor, _Cursor]
_decoder = msgspec.msgpack.Decoder(tuple[str, _Cursors])
# Sets these cursors apart from those of one store.
_MARK = "both:"
_ENDED: Literal[0] = 0
_FIRST = Place(last=False, name="", at=-math.inf, handle="")


#: Takes the number of a store, rows of its list and the time.
Hidden = Callable[[int, Sequence[SessionSummary], float], Awaitable[set[str]]]


class Row(NamedTuple):
    """A row and the number of its store."""

    store: int
    item: SessionSummary


async def find_in_both(stores: Sequence[Store], query: Query, hidden: Hidden) -> tuple[list[Row], str | None]:
    """One page of two lists merged.

    Args:
        stores: both, in the order in which they are asked.
        query: what is looked for; its cursor is one that this function returned.
        hidden: asked about the rows of each store as soon as it has answered, before the next one is: the handles not to show.

    Returns:
        The rows, and the next cursor: ``None`` on the last page.

    Raises:
        QueryError: the cursor makes no sense.
    """
    cursors = _decode(query.cursor, query.sort) if query.cursor is not None else (None, None)
    pages, unseen = [], set()
    for number, cursor in enumerate(cursors):
        asked = None if cursor == _ENDED else msgspec.structs.replace(query, cursor=cursor)
        pages.append(await stores[number].find(asked) if asked is not None else Page([], None))
        unseen |= {(number, handle) for handle in await hidden(number, pages[number].items, query.now)}
    rows = list(islice(_merged(pages, query.sort), query.limit))
    used = [sum(row.store == number for row in rows) for number in range(2)]
    following = [
        await _following(stores[number], query, cursors[number], pages[number], used[number]) for number in range(2)
    ]
    shown = [row for row in rows if (row.store, row.item.handle) not in unseen]
    is_last = all(cursor == _ENDED for cursor in following)
    return shown, None if is_last else _encode((following[0], following[1]), query.sort)


def _merged(pages: Sequence[Page], sort: Sort) -> Iterator[Row]:
    """The rows in the order of the list, up to where a store that has more was not looked through."""
    left = [len(page.items) for page in pages]
    for _, _, number, item in merge(*(_placed(number, page, sort) for number, page in enumerate(pages))):
        if any(many == 0 and pages[each].next_cursor is not None for each, many in enumerate(left)):
            return
        left[number] -= 1
        yield Row(number, item)


def _placed(number: int, page: Page, sort: Sort) -> Iterator[tuple[Place, int, int, SessionSummary]]:
    """Rows of one store with their places; one that is damaged stands where its store put it, behind the row before."""
    place = _FIRST
    for position, item in enumerate(page.items):
        if not isinstance(item, Damaged):
            place = place_of(item, sort)
        # The position keeps equal places in order, and rows from being compared.
        yield place, position * 2 + number, number, item


async def _following(store: Store, query: Query, cursor: _Cursor, page: Page, used: int) -> _Cursor:
    """Where a store goes on behind the first ``used`` rows of its page."""
    if used == len(page.items):
        return _ENDED if page.next_cursor is None else page.next_cursor
    if used == 0:
        return cursor
    last = page.items[used - 1]
    if not isinstance(last, Damaged):
        return encode_cursor(place_of(last, query.sort), query.sort)
    # Only the store knows where a damaged row stands.
    shorter = await store.find(msgspec.structs.replace(query, cursor=cursor or None, limit=used))
    return _ENDED if shorter.next_cursor is None else shorter.next_cursor


def _encode(cursors: _Cursors, sort: Sort) -> str:
    packed = msgspec.msgpack.encode((_MARK + sort.value, cursors))
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def _decode(cursor: str, sort: Sort) -> _Cursors:
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mark, cursors = _decoder.decode(packed)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise QueryError("the cursor is not one that a page gave; start from the first page") from None
    if mark != _MARK + sort.value or all(each == _ENDED for each in cursors):
        raise QueryError("the cursor is not one that a page of this order gave; start from the first page")
    return cursors
