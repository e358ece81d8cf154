"""The queries and results of session lists: filters, order, pages and counts.

Plain data without I/O. It must not know how filters are applied, or any store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from tornado_sessions.record import SessionSummary

__all__ = ["Count", "Direction", "Page", "Query", "Sort", "State", "Where"]


class State(StrEnum):
    """Which sessions a list shows."""

    LIVE = "live"  #: sessions that would be let in now
    ENDED = "ended"  #: tombstones


class Direction(StrEnum):
    """Whether the earliest time or the first name comes first, or the latest or last one."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class Sort(StrEnum):
    """The order of live sessions, in its usual direction. Ended sessions are sorted by their end, usually latest first."""

    LAST_SEEN = "last_seen"  #: latest use first
    SIGNED_IN = "signed_in"  #: latest sign-in first; then visitors, latest use first
    EXPIRES = "expires"  #: next to expire first
    USER = "user"  #: by user, latest use first; then visitors

    @property
    def usual(self) -> Direction:
        """The direction if none is given."""
        return Direction.ASCENDING if self in (Sort.EXPIRES, Sort.USER) else Direction.DESCENDING


class Where(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Filters of sessions. A session must match all of them; ``None`` matches any.

    Attributes:
        user, ip: exact values.
        user_prefix: beginning of the user's id.
        users: any of these users.
        network: CIDR block of the IP address, such as ``192.0.2.0/24``.
        handle: one session.
        text: beginning of the user, the handle or the IP address, without regard to case (``q`` of the API).
        device: a browser or system, one of the names in ``stores.matching.DEVICES``, or both, such as ``Firefox on Linux``.
        signed_in: sessions of users, or of visitors.
        signed_in_since: signed in at this time or later.
        idle_since: not used since this time.
        ended_by: ended by this user; matches ended sessions only, like the next three.
        ended_action: ended by the action with this id.
        ended_since, ended_until: ended at this time or later, and at this time or earlier.
        created_until: created at this time or earlier, and not signed in since. Bulk actions use it to keep later sign-ins.
    """

    user: str | None = None
    user_prefix: str | None = None
    users: tuple[str, ...] | None = None
    ip: str | None = None
    network: str | None = None
    handle: str | None = None
    text: str | None = None
    device: str | None = None
    signed_in: bool | None = None
    signed_in_since: float | None = None
    idle_since: float | None = None
    created_until: float | None = None
    ended_by: str | None = None
    ended_action: str | None = None
    ended_since: float | None = None
    ended_until: float | None = None

    @property
    def given(self) -> dict[str, object]:
        """The filters that are not ``None``, by name."""
        return {name: value for name in Where.__struct_fields__ if (value := getattr(self, name)) is not None}


class Query(Where, frozen=True, kw_only=True):
    """The filters of a list, with its order and page.

    Attributes:
        now: the time in UTC seconds at which a session must be live.
        state: live sessions or tombstones.
        sort: order of live sessions.
        direction: ``None`` for the usual one of the order. The other one reverses the list, but rows without a value to sort by
            (visitors in the orders by user and by sign-in, and damaged rows) come last in both.
        cursor: ``next_cursor`` or ``previous_cursor`` of another page; any other text is refused with ``QueryError``.
        limit: rows per page, 1 to 500.
    """

    now: float
    state: State = State.LIVE
    sort: Sort = Sort.LAST_SEEN
    direction: Direction | None = None
    cursor: str | None = None
    limit: int = 50

    @property
    def is_reversed(self) -> bool:
        """Whether the direction is not the usual one."""
        usual = Direction.DESCENDING if self.state is State.ENDED else self.sort.usual
        return self.direction not in (None, usual)


class Page(NamedTuple):
    """One page of a list.

    A page reads a bounded number of rows. If no index fits the filters, it may be short or empty although more pages follow.

    Attributes:
        items: the sessions, in the order of the list.
        next_cursor: of the page after this one; ``None`` on the last page.
        previous_cursor: of the page before this one; ``None`` on the first page.
        start: the number of the first row, counted from 1 by the pages on the way here; ``None`` if it is not known.
        total: the exact number of all rows, if the page was found among all of them; otherwise ``None``, and ``count`` returns it.
    """

    items: list[SessionSummary]
    next_cursor: str | None
    previous_cursor: str | None = None
    start: int | None = None
    total: int | None = None

    def position(self, count: Count) -> tuple[int, int] | None:
        """Return the numbers of the first and the last row; ``None`` if they are unknown or contradict the number of all rows.

        Sessions that start, end or are used in the meantime move rows from page to page, which the numbers cannot follow.
        """
        if self.start is None or not self.items:
            return None
        last = self.start + len(self.items) - 1
        is_whole = self.next_cursor is None
        is_possible = last == count.total if is_whole and count.exact else last <= count.total or not count.exact
        return (self.start, last) if is_possible else None


class Count(NamedTuple):
    """A number of sessions. If ``exact`` is false, counting stopped at a bound, and ``total`` is a lower bound."""

    total: int
    exact: bool
