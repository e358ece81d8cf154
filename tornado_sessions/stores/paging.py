"""Find and count sessions: the algorithm with which every store pages through its indexes.

``find`` and ``count`` are generators without I/O: each yields a request for rows and receives the rows. A store implements a
``Reader``, which reads a part of an index, and calls ``run`` or ``run_async``. This module must not know how sessions are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat

import msgspec

from tornado_sessions.query import Count, Page, Query, Sort, State
from tornado_sessions.stores.cursor import Edge, SortKey, edge_of, page_between, page_of
from tornado_sessions.stores.indexes import Index, IndexScan, Range, index_ranges, list_for
from tornado_sessions.stores.letters import fold, spellings
from tornado_sessions.stores.matching import matcher
from tornado_sessions.stores.requests import (
    MAX_CANDIDATES,
    MAX_CHUNK,
    MAX_COUNTED,
    MAX_EXAMINED,
    MAX_EXAMINED_BY_COUNT,
    MAX_SPELLINGS,
    Candidates,
    CountIndex,
    Nearby,
    ProbeRanges,
    Reader,
    ReadRanges,
    Row,
    Rows,
    Steps,
    run,
    run_async,
)

__all__ = [
    "MAX_CANDIDATES", "MAX_CHUNK", "MAX_COUNTED", "MAX_EXAMINED", "MAX_EXAMINED_BY_COUNT", "Candidates", "CountIndex",
    "ProbeRanges", "ReadRanges", "Reader", "Row", "Rows", "Steps", "count", "find", "run", "run_async",
]  # fmt: skip

_FIRST_CHUNK = 100
# Indexes that fully apply one filter.
_NARROW = frozenset({Index.OF_USER, Index.OF_IP, Index.VISITORS})


def find(query: Query) -> Steps[Page]:
    """Return one page.

    If an index finds a small number of candidates, load and sort them. Otherwise scan the index of the query's order until the
    page is full. Either way the cost is bounded and does not depend on the number of sessions.

    Raises:
        QueryError: the cursor is invalid.
    """
    few, passes = (yield from _small_candidates(query)), matcher(query)
    if isinstance(few, Nearby):
        return page_of(few.items, query)._replace(total=few.total)
    if few is not None:
        return page_of(filter(passes, few), query)
    found: list[Row] = []

    def is_enough(row: Row) -> bool:
        if row.item is not None and passes(row.item):
            found.append(row)
        return len(found) > query.limit

    edge = edge_of(query)
    scans = _from_edge(list_for(query), edge, is_reversed=query.is_reversed)
    reached = yield from _examine(scans, MAX_EXAMINED, _growing(query), is_enough)
    if len(found) > query.limit:
        # The extra row shows that there is another page, which starts after the last row of this one.
        found.pop()
        reached = found[-1].key
    items = [row.item for row in found if row.item is not None]
    return page_between(items[::-1] if edge is not None and edge.is_backwards else items, query, edge, reached)


def _from_edge(scans: Sequence[IndexScan], edge: Edge | None, *, is_reversed: bool) -> list[IndexScan]:
    """Return the scans that read a page from its edge on, in this order; a page that ends at the edge is read backwards."""
    is_backwards = edge is not None and edge.is_backwards
    due: list[IndexScan] = []
    for scan in reversed(scans) if is_backwards else scans:
        directed = replace(scan, is_backwards=is_reversed is not is_backwards)
        if directed.is_backwards:
            # The place where a scan starts is that of its usual direction.
            directed = replace(directed, after=None)
        if edge is not None and edge.key.part != scan.part:
            due += [directed] if (scan.part > edge.key.part) is not is_backwards else []
        elif edge is not None:
            due.append(replace(directed, after=edge.key, includes_after=edge.includes_key))
        else:
            due.append(directed)
    return due


def count(query: Query) -> Steps[Count]:
    """Return the number of matching sessions; it is a lower bound if counting stopped at a bound."""
    few, passes = (yield from _small_candidates(query)), matcher(query)
    if isinstance(few, Nearby):
        return Count(few.total, exact=True)
    if few is not None:
        return Count(sum(map(passes, few)), exact=True)
    # The order does not matter for a count, so use the one with the narrowest index.
    scans = list_for(msgspec.structs.replace(query, sort=Sort.LAST_SEEN))
    if query.signed_in_since is not None and scans[0].index is Index.LAST_SEEN:
        scans = list_for(msgspec.structs.replace(query, sort=Sort.SIGNED_IN))
    is_filtered = _is_filtered(query, scans[0])
    if not is_filtered and scans[0].until is None:
        total, is_exact = 0, True
        for scan in scans[:-1]:
            counted: Count | None = yield CountIndex(scan)
            if counted is None:
                break
            total, is_exact = total + counted.total, is_exact and counted.exact
        else:
            return Count(total, is_exact)
    total = 0

    def is_enough(row: Row) -> bool:
        nonlocal total
        total += row.item is not None and passes(row.item)
        return False

    budget = MAX_EXAMINED_BY_COUNT if is_filtered else MAX_COUNTED
    reached = yield from _examine(scans, budget, repeat(MAX_CHUNK), is_enough)
    return Count(total, exact=reached is None)


def _small_candidates(query: Query) -> Steps[Candidates]:
    """Return every candidate if an index finds them in another order and they are few; otherwise ``None``."""
    is_ordered = query.state is State.ENDED or list_for(query)[0].index in _NARROW
    ranges = None if is_ordered else index_ranges(query)
    if query.handle is not None:
        ranges = [Range("handle", query.handle, is_prefix=False)]
    if ranges is None and query.text and not is_ordered:
        ranges = yield from _ranges_of_text(query.text)
    if ranges is None and query.signed_in_since is not None and not is_ordered and query.sort is not Sort.SIGNED_IN:
        return (yield from _few_sign_ins(query))
    if not ranges:
        # None: no index fits. Empty: nothing can match, such as an empty list of users.
        return None if ranges is None else []
    is_exact = len(query.given) == 1 and query.network is query.handle is None and query.state is State.LIVE
    found: Candidates = yield ReadRanges(ranges, query if is_exact else None)
    return found


def _ranges_of_text(text: str) -> Steps[list[Range] | None]:
    """Return the ranges of the users, addresses and handles that start with a text; ``None`` if it has too many spellings."""
    users = yield from _spellings("user", text)
    if users is None:
        return None
    handles: list[str] | None = []
    if text.isascii() and text.isalnum():
        handles = yield from _spellings("handle", text)
    # A store without an index of handles finds the text itself, and what it can of the rest.
    found = {"user": users, "ip": [fold(text)], "handle": [text] if handles is None else handles}
    return [Range(field, prefix, is_prefix=True) for field, prefixes in found.items() for prefix in prefixes]


def _spellings(field: str, text: str) -> Steps[list[str] | None]:
    """Return the spellings, in upper and lower case, in which a text may start values of a field.

    A text of n letters has 2^n. Whenever there are too many, the index says which of them occur, and the others are left out.

    Returns:
        At most ``MAX_SPELLINGS``; ``None`` if more occur, or if there is no index to ask.
    """
    known = [""]
    for letter in text:
        known = [start + spelling for start in known for spelling in spellings(letter)]
        if len(known) > MAX_SPELLINGS:
            is_used: list[bool] | None = yield ProbeRanges([Range(field, each, is_prefix=True) for each in known])
            if is_used is None:
                return None
            known = [each for each, is_one in zip(known, is_used, strict=True) if is_one]
            if len(known) > MAX_SPELLINGS:
                return None
    return known


def _few_sign_ins(query: Query) -> Steps[Candidates]:
    """Return the sessions of the latest sign-ins, if few have signed in since the query's time."""
    rows: list[Row] = []

    def is_enough(row: Row) -> bool:
        rows.append(row)
        return False

    # Only the index of sign-ins: a damaged row without a place in it has no time of a sign-in.
    scans = list_for(msgspec.structs.replace(query, sort=Sort.SIGNED_IN))[:1]
    reached = yield from _examine(scans, MAX_CANDIDATES, repeat(MAX_CHUNK), is_enough)
    return [row.item for row in rows if row.item is not None] if reached is None else None


def _examine(
    scans: Sequence[IndexScan], budget: int, chunks: Iterator[int], is_enough: Callable[[Row], bool]
) -> Steps[SortKey | None]:
    """Scan one index after another until enough is found.

    Args:
        scans: what to read, in order.
        budget: number of rows to examine.
        chunks: number of rows in each request.
        is_enough: called with each row; returns whether to stop.

    Returns:
        The key of the last row examined, or ``None`` at the end of the list.
    """
    for scan in map(_bounded, scans):
        request, is_end = scan, False
        while not is_end:
            request = replace(request, limit=max(1, min(next(chunks), budget)))
            rows: Sequence[Row]
            rows, is_end = yield request
            wanted = rows if scan.until is None else [row for row in rows if row.key <= scan.until]
            last = next(filter(is_enough, wanted), None)
            if last is not None:
                return last.key
            is_end = is_end or len(wanted) < len(rows)
            if rows:
                request = replace(request, after=rows[-1].key, includes_after=False)
            # Counts requested rows, because a store may leave out rows that it has examined.
            budget -= request.limit
            # If an index ends together with the budget, continue: one row of the next index shows if there are more.
            if budget <= 0 and not is_end:
                return request.after
    return None


def _bounded(scan: IndexScan) -> IndexScan:
    """Let a backwards scan start at the last key that is wanted."""
    if scan.until is None or not scan.is_backwards or (scan.after is not None and scan.after <= scan.until):
        return scan
    return replace(scan, after=scan.until, includes_after=True)


def _growing(query: Query) -> Iterator[int]:
    """Yield the number of rows for each request: a page plus one row, or at least 100 if rows are filtered; then ever more."""
    chunk = query.limit + 1
    if _is_filtered(query, list_for(query)[0]):
        chunk = max(chunk, _FIRST_CHUNK)
    while True:
        yield min(chunk, MAX_CHUNK)
        chunk *= 2


def _is_filtered(query: Query, scan: IndexScan) -> bool:
    """Return whether there are filters that the index alone does not apply."""
    return len(query.given) > (scan.index in _NARROW) + (scan.until is not None)
