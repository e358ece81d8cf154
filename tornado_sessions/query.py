"""The queries and results of session lists: filters, order, pages and counts.

Plain data without I/O. It must not know how filters are applied, or any store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from tornado_sessions.record import SessionSummary

__all__ = ["Count", "Page", "Query", "Sort", "State", "Where"]


class State(StrEnum):
    """Which sessions a list shows."""

    LIVE = "live"  #: sessions that would be let in now
    ENDED = "ended"  #: tombstones


class Sort(StrEnum):
    """The order of live sessions. Ended sessions are always listed latest ending first."""

    LAST_SEEN = "last_seen"  #: latest use first
    SIGNED_IN = "signed_in"  #: latest sign-in first; then visitors, latest use first
    EXPIRES = "expires"  #: next to expire first
    USER = "user"  #: by user, latest use first; then visitors


class Where(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Filters of sessions. A session must match all of them; ``None`` matches any.

    Attributes:
        user, ip: exact values.
        user_prefix: beginning of the user's id.
        users: any of these users.
        network: CIDR block of the IP address, such as ``192.0.2.0/24``.
        handle: one session.
        text: beginning of the user, the handle or the IP address (``q`` of the API).
        device: a browser or system, one of the names in ``stores.matching.DEVICES``, or both, such as ``Firefox on Linux``.
        signed_in: sessions of users, or of visitors.
        signed_in_since: signed in at this time or later.
        idle_since: not used since this time.
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
        cursor: ``Page.next_cursor`` of the previous page; any other text is refused with ``QueryError``.
        limit: rows per page, 1 to 500.
    """

    now: float
    state: State = State.LIVE
    sort: Sort = Sort.LAST_SEEN
    cursor: str | None = None
    limit: int = 50


class Page(NamedTuple):
    """One page of a list; ``next_cursor`` is ``None`` on the last page.

    A page reads a bounded number of rows. If no index fits the filters, it may be short or empty although more pages follow.
    """

    items: list[SessionSummary]
    next_cursor: str | None


class Count(NamedTuple):
    """A number of sessions. If ``exact`` is false, counting stopped at a bound, and ``total`` is a lower bound."""

    total: int
    exact: bool
