"""Choose the index from which a list or a filter is read.

A store has one index for each order, one by user and one by address. It must not know how filters are applied or how an index is
stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from tornado_sessions.query import Query, Sort, State
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.cursor import UNPLACED, VISITORS_LAST, SortKey, sort_key
from tornado_sessions.stores.networks import network_prefixes, spellings_of

__all__ = ["LAST_HANDLE", "Index", "IndexScan", "Range", "index_ranges", "key_in", "list_for"]

#: Sorts after every handle.
LAST_HANDLE = "\U0010ffff"
#: By how many seconds a store may round the time of an ending in its index.
_ROUNDING = 0.002


class Index(Enum):
    """An index of sessions; the value describes its content and order."""

    LAST_SEEN = "all sessions, latest use first"
    EXPIRES = "all sessions, next to expire first"
    SIGNED_IN = "sessions of users, latest sign-in first"
    USERS = "sessions of users, by user, then latest use first"
    VISITORS = "sessions without a user, latest use first"
    OF_USER = "sessions of one user, latest use first"
    OF_IP = "sessions of one address, latest use first"
    ENDED = "tombstones, latest ending first"
    ENDED_OF_IP = (
        "tombstones of one address, latest ending first; a store may read ``ENDED`` for the first spelling instead"
    )
    UNPLACED = "damaged rows that are missing from the other indexes of the list, in any fixed order"


@dataclass(frozen=True, slots=True)
class IndexScan:
    """A request for the next rows of an index.

    Attributes:
        index: the index to read.
        value: the user of ``OF_USER``, or the address of ``OF_IP`` and ``ENDED_OF_IP``.
        part: ``SortKey.part`` of every row.
        is_backwards: whether to read the index in reverse order.
        after: the key to start after; ``None``: from the start or, backwards, from the end.
        includes_after: whether to start with the row of that key itself.
        until: rows with greater keys are not wanted; only ``paging`` uses it.
        limit: maximum number of rows to examine.
    """

    index: Index
    value: str = ""
    part: int = 0
    is_backwards: bool = False
    after: SortKey | None = None
    includes_after: bool = False
    until: SortKey | None = None
    limit: int = 0

    def is_due(self, key: SortKey) -> bool:
        """Return whether this scan reads the row with a key."""
        if self.after is None or key == self.after:
            return self.after is None or self.includes_after
        return (key < self.after) is self.is_backwards


class Range(NamedTuple):
    """The sessions with a ``field`` (``user``, ``ip`` or ``handle``) that equals ``value``, or that starts with it."""

    field: str
    value: str
    is_prefix: bool


_REST = IndexScan(Index.UNPLACED, part=UNPLACED)
_VISITORS = IndexScan(Index.VISITORS, part=VISITORS_LAST)
_ORDERS = {
    Sort.LAST_SEEN: (IndexScan(Index.LAST_SEEN), _REST),
    Sort.EXPIRES: (IndexScan(Index.EXPIRES), _REST),
    Sort.SIGNED_IN: (IndexScan(Index.SIGNED_IN), _VISITORS, _REST),
    Sort.USER: (IndexScan(Index.USERS), _VISITORS, _REST),
}


def list_for(query: Query) -> Sequence[IndexScan]:
    """Return the scans that yield every matching row in the query's order: the narrowest index of that order, then the rest.

    In a reversed list, the scans keep their order, and each reads its index backwards.
    """
    if query.state is State.ENDED:
        is_of_ip = query.ip is not None and query.user is None
        scans = _spelled(Index.ENDED_OF_IP, query) if is_of_ip else [IndexScan(Index.ENDED)]
        return *(_of_period(scan, query) for scan in scans), _REST
    if query.user is not None and query.sort in (Sort.LAST_SEEN, Sort.USER):
        return IndexScan(Index.OF_USER, query.user), _REST
    if query.ip is not None and query.sort is Sort.LAST_SEEN:
        return *_spelled(Index.OF_IP, query), _REST
    if query.signed_in is False and query.sort is not Sort.EXPIRES:
        return replace(_VISITORS, part=0 if query.sort is Sort.LAST_SEEN else VISITORS_LAST), _REST
    if query.signed_in_since is not None and query.sort is Sort.SIGNED_IN:
        # A microsecond later, because stores may round the times of an index.
        return IndexScan(Index.SIGNED_IN, until=SortKey(0, "", 1e-6 - query.signed_in_since, LAST_HANDLE)), _REST
    return _ORDERS[query.sort]


def _of_period(scan: IndexScan, query: Query) -> IndexScan:
    """Return a scan of tombstones that reads only those of the query's period, a little more because stores may round times."""
    after, until = scan.after, scan.until
    if query.ended_until is not None and not query.is_reversed:
        after = SortKey(scan.part, "", -query.ended_until - _ROUNDING, "")
    if query.ended_since is not None:
        until = SortKey(scan.part, "", _ROUNDING - query.ended_since, LAST_HANDLE)
    return replace(scan, after=after, until=until)


def _spelled(index: Index, query: Query) -> list[IndexScan]:
    """Return one scan for each spelling in which the address of a query may be stored."""
    return [IndexScan(index, spelling, part=part) for part, spelling in enumerate(spellings_of(query.ip or ""))]


def key_in(query: Query, item: SessionSummary) -> SortKey:
    """Return the position of a readable session in the list of a query."""
    key, scans = sort_key(item, query.sort), list_for(query)
    parts = [scan.part for scan in scans if scan.value == item.ip and scan.index in (Index.OF_IP, Index.ENDED_OF_IP)]
    return key._replace(part=parts[0]) if parts else key


def index_ranges(query: Query) -> list[Range] | None:
    """Return ranges that contain every matching session, in an order other than the query's; ``None`` if no index fits.

    Not for ``text``: in which spellings it occurs has to be asked first.
    """
    # The narrowest filters come first: a user has few sessions, a prefix or a network may have many.
    if query.user is not None:
        return [Range("user", query.user, is_prefix=False)]
    if query.users is not None:
        return [Range("user", user, is_prefix=False) for user in dict.fromkeys(query.users)]
    if query.ip is not None:
        return [Range("ip", spelling, is_prefix=False) for spelling in spellings_of(query.ip)]
    if query.user_prefix:
        return [Range("user", query.user_prefix, is_prefix=True)]
    if query.network is not None and (prefixes := network_prefixes(query.network)):
        return [Range("ip", prefix, is_prefix=True) for prefix in prefixes]
    return None
