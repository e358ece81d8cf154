"""``Suspects``: the users and sessions that show signs of a stolen session, for badges and for the filter ``suspicious``.

Three signs count: a session whose IP address changed, an old session token that was presented, and a user whose sessions came from
several countries within an hour. They are read from the audit log and the census, so a list needs no query for each row. It must
not know pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tornado_sessions.record import SessionSummary
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.census import Census
from tornado_sessions.server.operations.entries import AuditQuery

__all__ = ["Signs", "Suspects", "Traits", "is_remembered"]

#: How long a sign in the audit log counts, in seconds, and the maximum number of entries that are read for it.
_RECENT, _MAX_ENTRIES = 86400.0, 200
#: How long signs are reused, in seconds.
_FRESH = 5.0


class Signs(NamedTuple):
    """The signs of one moment.

    Attributes:
        at: UTC seconds.
        moved: the handles of sessions whose IP address changed within a day.
        countries: the users whose sessions came from several countries within an hour, and the number of countries.
        users: all users with a sign.
    """

    at: float
    moved: frozenset[str] = frozenset()
    countries: Mapping[str, int] = {}
    users: tuple[str, ...] = ()


class Traits(NamedTuple):
    """What badges say about the sessions of a page.

    Attributes:
        two_steps: the users with two-step verification.
        remembered: the handles of sessions whose browser is remembered.
        signs: see ``Suspects``.
        first: the handles of the first session of each user on the page. Only there, badges about the user have a text.
    """

    two_steps: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    signs: Signs = Signs(0)
    first: frozenset[str] = frozenset()


def is_remembered(session: SessionSummary, idle_timeout: float) -> bool:
    """Return whether a user's session may be unused for longer than ``idle_timeout`` seconds, the usual time."""
    return session.user is not None and session.expires_at - session.last_seen_at > idle_timeout + 1


class Suspects:
    """Collects the signs.

    Args:
        audit: has the changes of IP addresses and the old tokens.
        census: has the users in several countries.
        clock: the time in UTC seconds.
    """

    def __init__(self, audit: Audit, census: Census, clock: Callable[[], float]) -> None:
        self._audit = audit
        self._census = census
        self._clock = clock
        self._known: Signs | None = None

    async def signs(self) -> Signs:
        """Return the signs, at most five seconds old. Raises ``StoreUnavailable``."""
        now, known = self._clock(), self._known
        # A negative age means that the clock was set back.
        if known is not None and 0 <= now - known.at < _FRESH:
            return known
        moved, stolen = [
            await self._audit.entries(AuditQuery(act=act, since=now - _RECENT, limit=_MAX_ENTRIES))
            for act in (Action.ADDRESS_CHANGED, Action.OLD_TOKEN_PRESENTED)
        ]
        figures = await self._census.figures(wait=0)
        countries = dict(figures.roaming) if figures is not None else {}
        users = {entry.user for entry in (*moved, *stolen) if entry.user} | set(countries)
        self._known = Signs(now, frozenset(entry.target for entry in moved), countries, tuple(sorted(users)))
        return self._known
