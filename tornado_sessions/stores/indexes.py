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
from tornado_sessions.stores.cursor import UNPLACED, VISITORS_LAST, SortKey
from tornado_sessions.stores.networks import network_prefixes

__all__ = ["Index", "IndexScan", "Range", "index_ranges", "list_for"]


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
    UNPLACED = "damaged rows that are missing from the other indexes of the list, in any fixed order"


@dataclass(frozen=True, slots=True)
class IndexScan:
    """A request for the next rows of an index.

    Attributes:
        index: the index to read.
        value: the user of ``OF_USER``, or the address of ``OF_IP``.
        part: ``SortKey.part`` of every row.
        after: the key to start after; ``None``: from the start.
        limit: maximum number of rows to examine.
    """

    index: Index
    value: str = ""
    part: int = 0
    after: SortKey | None = None
    limit: int = 0


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
    """Return the scans that yield every matching row in the query's order: the narrowest index of that order, then the rest."""
    if query.state is State.ENDED:
        return IndexScan(Index.ENDED), _REST
    if query.user is not None and query.sort in (Sort.LAST_SEEN, Sort.USER):
        return IndexScan(Index.OF_USER, query.user), _REST
    if query.ip is not None and query.sort is Sort.LAST_SEEN:
        return IndexScan(Index.OF_IP, query.ip), _REST
    if query.signed_in is False and query.sort is not Sort.EXPIRES:
        return replace(_VISITORS, part=0 if query.sort is Sort.LAST_SEEN else VISITORS_LAST), _REST
    return _ORDERS[query.sort]


def index_ranges(query: Query) -> list[Range] | None:
    """Return ranges that contain every matching session, in an order other than the query's; ``None`` if no index fits."""
    # The narrowest filters come first: a user has few sessions, a prefix or a network may have many.
    if query.user is not None:
        return [Range("user", query.user, is_prefix=False)]
    if query.users is not None:
        return [Range("user", user, is_prefix=False) for user in dict.fromkeys(query.users)]
    if query.ip is not None:
        return [Range("ip", query.ip, is_prefix=False)]
    if query.user_prefix:
        return [Range("user", query.user_prefix, is_prefix=True)]
    if query.network is not None and (prefixes := network_prefixes(query.network)):
        return [Range("ip", prefix, is_prefix=True) for prefix in prefixes]
    if query.text:
        return [Range(field, query.text, is_prefix=True) for field in ("user", "ip", "handle")]
    return None
