"""``Order`` and ``Outcome``: an operator's request to end sessions, and its result.

Plain data. It must not know how sessions are ended.
"""

from __future__ import annotations

from typing import NamedTuple

from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.errors import MoreThanConfirmed
from tornado_sessions.server.operations.job import Job, JobState, most_for

__all__ = ["Order", "Outcome"]


class Outcome(NamedTuple):
    """The result of ending sessions.

    Attributes:
        ended: the number of sessions ended so far.
        job: the job that ends the remaining sessions or, after ending all sessions, removes their records; ``None`` if none was
            needed.
        is_exact: whether ``ended`` is exact; it is a lower bound if more sessions than can be counted ended by one write.
        entry: the entry in the audit log, the last one of several.
    """

    ended: int
    job: Job | None = None
    is_exact: bool = True
    entry: Entry | None = None

    @property
    def running_job(self) -> Job | None:
        """The job if it is still running, else ``None``."""
        return self.job if self.job is not None and self.job.state is JobState.RUNNING else None

    @property
    def paused_job(self) -> Job | None:
        """The job if it waits for a confirmation, else ``None``."""
        return self.job if self.job is not None and self.job.state is JobState.PAUSED else None

    def check(self) -> None:
        """Raise ``MoreThanConfirmed`` if the job waits for a confirmation."""
        if (job := self.paused_job) is not None:
            raise MoreThanConfirmed(job.id, job.expected, job.ended)


class Order(NamedTuple):
    """An operator's request to end sessions.

    Attributes:
        actor, reason: the operator and the reason for the audit log.
        shown_reason: the reason shown to users; may be empty.
        own: the handle of the session to keep.
        confirmed: see ``Job``.
    """

    actor: Actor
    reason: str
    shown_reason: str
    own: str | None
    confirmed: int | None = None

    @property
    def at_most(self) -> int | None:
        """The number of sessions that may end; ``None``: any."""
        return None if self.confirmed is None else most_for(self.confirmed)

    def how(self, ref: str) -> dict[str, str]:
        """Return what tombstones keep, as arguments for ``Sessions``; ``ref`` is that of the audit entry."""
        return {"by": self.actor.name, "reason": self.shown_reason, "action": ref}
