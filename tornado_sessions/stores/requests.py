"""What ``paging`` asks a store for, and how a store is asked: requests for rows, their answers, and the bounds of both.

It must not know how a list is found or how sessions are stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from tornado_sessions.query import Count, Query
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.cursor import SortKey
from tornado_sessions.stores.indexes import IndexScan, Range

__all__ = [
    "MAX_CANDIDATES", "MAX_CHUNK", "MAX_COUNTED", "MAX_EXAMINED", "MAX_EXAMINED_BY_COUNT", "MAX_SPELLINGS", "Candidates",
    "CountIndex", "Nearby", "ProbeRanges", "ReadRanges", "Reader", "Row", "Rows", "Steps", "run", "run_async",
]  # fmt: skip

T = TypeVar("T")

#: Maximum rows that one page examines if no index fits its filters. Such a page may be short and still have a next one.
MAX_EXAMINED = 2_500
#: Maximum rows that a count with such filters examines; beyond them the total is a lower bound.
MAX_EXAMINED_BY_COUNT = 2_000
#: Maximum rows counted if an index contains exactly the matching sessions; beyond them the total is a lower bound.
MAX_COUNTED = 10_000
#: Maximum sessions loaded and sorted if an index contains all candidates, but in another order. They take about 40 milliseconds.
MAX_CANDIDATES = 5_000
#: Maximum number of spellings of one text in upper and lower case that are looked up.
MAX_SPELLINGS = 16
#: Maximum rows of one scan: a page of 500, and one row to show that there is another page.
MAX_CHUNK = 501


class Row(NamedTuple):
    """An entry of an index.

    Attributes:
        key: its position, taken from the index because the fields of a damaged session are unreliable.
        item: the session; ``None`` if the session of this entry is not live or no longer exists.
    """

    key: SortKey
    item: SessionSummary | None


class Rows(NamedTuple):
    """The answer to an ``IndexScan``: the next rows in order, at least one unless the index ends, and whether it ends here.

    A store may leave out rows that cannot match, but never the last one: the next scan starts after it.
    """

    rows: Sequence[Row]
    is_end: bool


class Nearby(NamedTuple):
    """The sessions of a page and some around it, in any order, and the number of all that match."""

    items: Sequence[SessionSummary]
    total: int


#: All sessions of some ranges, or only those around a page; ``None`` if no index has them or there are too many.
Candidates = list[SessionSummary] | Nearby | None


class ReadRanges(NamedTuple):
    """A request for all sessions of some ranges, in any order, if there are at most ``MAX_CANDIDATES``.

    Attributes:
        ranges: may overlap.
        page_of: the query, if exactly the sessions of the ranges match it: the store may answer ``Nearby`` its page.
    """

    ranges: Sequence[Range]
    page_of: Query | None = None


class ProbeRanges(NamedTuple):
    """A question which of some ranges have a row, live or not; all are prefixes of the same length of one field."""

    ranges: Sequence[Range]


class CountIndex(NamedTuple):
    """A request for the number of live rows of an index."""

    scan: IndexScan


class Reader(Protocol):
    """Reads a store's indexes for one query, with plain methods for ``run`` or coroutines for ``run_async``.

    It returns live sessions, stored tombstones, and damaged sessions: operators must see those to end them.
    """

    def scan(self, request: IndexScan) -> Rows | Awaitable[Rows]:
        """Return the next rows of an index."""

    def ranges(self, request: ReadRanges) -> Candidates | Awaitable[Candidates]:
        """Return the sessions of some ranges, each once."""

    def probe(self, request: ProbeRanges) -> list[bool] | Awaitable[list[bool] | None] | None:
        """Return for each range whether it has a row; ``None`` if there is no index to ask."""

    def count(self, request: CountIndex) -> Count | Awaitable[Count | None] | None:
        """Return the number of live rows in an index, up to ``MAX_COUNTED``; ``None`` if the rows must be read to count them."""


_Request = IndexScan | ReadRanges | ProbeRanges | CountIndex
Steps = Generator[_Request, Any, T]


def run(steps: Steps[T], reader: Reader) -> T:
    """Run ``find`` or ``count`` with a reader of plain methods."""
    answer = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        answer = _ask(reader, request)


async def run_async(steps: Steps[T], reader: Reader) -> T:
    """Run ``find`` or ``count`` with a reader of coroutines."""
    answer = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        answer = await _ask(reader, request)


def _ask(reader: Reader, request: _Request) -> Any:
    if isinstance(request, IndexScan):
        return reader.scan(request)
    if isinstance(request, ProbeRanges):
        return reader.probe(request)
    return reader.ranges(request) if isinstance(request, ReadRanges) else reader.count(request)
