"""What a list of sessions is asked, and what it answers: filters, order, pages and counts.

Plain data, no behaviour and no I/O. It must not know how filters are met (``stores.matching`` does) or any store.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from tornado_sessions.record import SessionSummary

__all__ = ["Count", "Page", "Query", "Sort", "State", "Where"]


class State(StrEnum):
    """Which sessions a query speaks of."""

    LIVE = "live"  #: would be let in now
    ENDED = "ended"  #: tombstones


class Sort(StrEnum):
    """The order of a list of live sessions; ended ones always come latest ending first."""

    LAST_SEEN = "last_seen"  #: latest use first
    SIGNED_IN = "signed_in"  #: latest log-in first; then visitors, latest use first
    EXPIRES = "expires"  #: what ends next first
    USER = "user"  #: users by name, each with the latest use first; then visitors


class Where(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Filters of sessions; all that are given have to match, ``None`` is any.

    Attributes:
        user, ip: exact values.
        user_prefix: how the user's id begins.
        users: any of these users.
        network: a CIDR block that the address is in, such as ``192.0.2.0/24``.
        handle: one session, by its name.
        text: how the user, the handle or the address begins (``q`` of the API).
        device: a browser or system, one of the names in ``stores.matching.DEVICES``.
        signed_in: users' sessions, or visitors'.
        signed_in_since: a log-in at this time or later.
        idle_since: not used since this time.
        created_until: made at this time or earlier, and without a log-in since; what spares log-ins during a bulk end.
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
        """The filters that say something, by name."""
        return {name: value for name in Where.__struct_fields__ if (value := getattr(self, name)) is not None}


class Query(Where, frozen=True, kw_only=True):
    """Which sessions, and in which order.

    Attributes:
        now: what "live" is judged by.
        state: live sessions or tombstones.
        sort: the order of live ones.
        cursor: ``Page.next_cursor`` of the page before; a cursor that makes no sense is refused with ``QueryError``.
        limit: rows a page, 1 to 500.
    """

    now: float
    state: State = State.LIVE
    sort: Sort = Sort.LAST_SEEN
    cursor: str | None = None
    limit: int = 50


class Page(NamedTuple):
    """One page of a list; ``next_cursor`` is ``None`` on the last.

    Where no index fits the filters a page may be short, or empty, and still have a next one: so far it was looked.
    """

    items: list[SessionSummary]
    next_cursor: str | None


class Count(NamedTuple):
    """How many; ``exact`` is false where counting stopped at a bound and ``total`` is "at least"."""

    total: int
    exact: bool
