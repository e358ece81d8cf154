"""``Overview``: everything that the overview shows, at one time and from one set of queries for all viewers.

It must not know pages or languages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from tornado_sessions.manager import Sessions
from tornado_sessions.server.operations.action_names import BY_OPERATORS, Action
from tornado_sessions.server.operations.activity import DAY, Activity, Snapshot
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.health import health
from tornado_sessions.server.operations.job import Job
from tornado_sessions.server.operations.jobs import Jobs
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.operations.self_check import Check, worst_first
from tornado_sessions.server.operations.trends import BulkEnd, Trends

__all__ = ["Board", "Overview"]

#: Actions that end many sessions at once.
_BULK = (Action.END_EVERYBODY, Action.END_MATCHING, Action.END_USER)
#: Such an action is marked on the charts if it ended this many sessions; days and marks that are shown of each kind of action.
_MARKED, _MARKED_DAYS, _MARKS = 10, 8, 20
#: The number of latest audit entries that are searched for actions of operators, and how many are shown.
_HISTORY, _SHOWN = 200, 5
#: How long the answers of the audit log and the self-check are reused, in seconds.
_FRESH = 10.0
#: How old they may be for a new page, so that many who ask at once share the queries.
_SHARED = 0.1


@dataclass(frozen=True, eq=False)
class Board:
    """The state of the server at one time.

    Attributes:
        snapshot: the counts; ``trends`` compares them.
        checks: what is wrong, worst first, and what is not.
        entries: the latest actions of operators.
        jobs: all jobs, newest first.
        bulk_ends: the actions of the last days that ended many sessions, latest first.
    """

    snapshot: Snapshot
    trends: Trends
    checks: list[Check]
    entries: list[Entry]
    jobs: list[Job]
    bulk_ends: list[BulkEnd]


class _Records(NamedTuple):
    at: float
    entries: list[Entry]
    jobs: list[Job]
    bulk_ends: list[BulkEnd]


async def _none() -> list[Check]:
    return []


class Overview:
    """Collects what the overview shows.

    Args:
        sessions, people, audit, jobs, activity: what it asks.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        sessions: Sessions,
        people: People,
        audit: Audit,
        jobs: Jobs,
        activity: Activity,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._people = people
        self._audit = audit
        self._jobs = jobs
        self._activity = activity
        self._clock = clock
        #: Returns further findings, such as those of a server about its mails.
        self.own_checks: Callable[[], Awaitable[list[Check]]] = _none
        self._asking = asyncio.Lock()
        self._records: _Records | None = None
        self._board: Board | None = None

    async def look(self, *, is_new: bool = False) -> Board:
        """Return a board that is at most two seconds old. Concurrent callers share its queries.

        Args:
            is_new: whether jobs, actions and health must not be older than the counts; else they may be ten seconds old.

        Raises:
            StoreUnavailable: a store does not answer.
        """
        snapshot = await self._activity.snapshot()
        async with self._asking:
            known, records = self._board, self._records
            is_old = records is None or not 0 <= self._clock() - records.at < (_SHARED if is_new else _FRESH)
            if records is None or is_old:
                records = self._records = await self._read_records(self._clock())
            elif known is not None and known.snapshot is snapshot:
                return known
            self._board = await self._of(snapshot, records, None if is_old else known)
            return self._board

    async def _of(self, snapshot: Snapshot, records: _Records, known: Board | None) -> Board:
        trends = Trends(snapshot, records.bulk_ends)
        # The self-check asks the store and the accounts; what it finds changes seldom.
        checks = known.checks if known is not None else []
        if known is None:
            checks = await health(self._sessions, self._people, self._audit, records.jobs, snapshot, trends)
            checks = worst_first([*checks, *await self.own_checks()])
        return Board(snapshot, trends, checks, records.entries, records.jobs, records.bulk_ends)

    async def _read_records(self, now: float) -> _Records:
        latest = await self._audit.entries(AuditQuery(limit=_HISTORY))
        entries = [entry for entry in latest if entry.act in BY_OPERATORS][:_SHOWN]
        jobs = await self._jobs.all()
        return _Records(now, entries, jobs, await self._read_bulk_ends(now, jobs))

    async def _read_bulk_ends(self, now: float, jobs: list[Job]) -> list[BulkEnd]:
        by_ref = {job.entry.ref: job.id for job in jobs}
        since = now - _MARKED_DAYS * DAY
        found = [
            BulkEnd(entry.at, entry.ended, entry.actor, entry.id, by_ref.get(entry.ref, ""))
            for act in _BULK
            for entry in await self._audit.entries(AuditQuery(act=act, since=since, limit=_MARKS))
            if not entry.error and (entry.ended is None or entry.ended >= _MARKED)
        ]
        return sorted(found, reverse=True)
