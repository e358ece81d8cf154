"""``Job``: a bulk action that runs in the background, and its stored form.

Plain data and pure functions. It must not know how a job runs.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.query import Where
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.entries import Entry

__all__ = ["LEASE", "DamagedJob", "Job", "JobState", "document_of", "most_for", "read_job"]

#: How long after its last step another process may take over a job, in seconds.
LEASE = 10.0


def most_for(confirmed: int) -> int:
    """Return how many sessions may end if an operator has confirmed a number: at most a tenth more."""
    return confirmed + confirmed // 10


class JobState(StrEnum):
    """The state of a job. The values are stored."""

    RUNNING = "running"
    #: It waits for an operator to confirm the number of sessions.
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One bulk action. A field that is added later needs a default.

    Attributes:
        id: a random identifier.
        where: matches the sessions to end. ``None``: all sessions have ended already, and the job removes their records.
        except_handle: the handle of one session to keep.
        actor, reason: the operator and the reason for the audit log.
        show_reason: whether users see the reason.
        entry: the audit entry, which is completed at the end.
        expected: the number of sessions that match, those ended by the job included.
        is_exact: whether ``expected`` is exact. If not, it is a lower bound, or a count that has not finished.
        confirmed: the number of sessions that an operator has confirmed, or ``None`` if the confirmation named no number. A job
            with a number first makes ``expected`` exact, and never ends over a tenth more than the number: it pauses.
        ended: the number of sessions ended so far.
        state: see ``JobState``.
        started_at, finished_at: UTC seconds.
        lease_until: the time after which another process may take over the job, in UTC seconds.
        since, done_before: the start of counting or ending, in UTC seconds, and the number counted or ended before.
        error: the reason for a failure.
    """

    id: str
    where: Where | None
    # Stored under older names: jobs of an earlier version are resumed after an update.
    except_handle: str | None = msgspec.field(default=None, name="spared")
    actor: str
    reason: str
    show_reason: bool = msgspec.field(default=True, name="tell")
    entry: Entry
    expected: int
    is_exact: bool = True
    confirmed: int | None = None
    ended: int = 0
    state: JobState = JobState.RUNNING
    started_at: float
    finished_at: float | None = None
    lease_until: float = 0.0
    since: float = 0.0
    done_before: int = 0
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the job neither runs nor waits for a confirmation."""
        return self.state not in (JobState.RUNNING, JobState.PAUSED)

    @property
    def must_count(self) -> bool:
        """Whether the sessions have to be counted before any of them ends."""
        return self.confirmed is not None and not self.is_exact

    @property
    def is_counting(self) -> bool:
        """Whether the job is counting."""
        return self.state is JobState.RUNNING and self.must_count

    @property
    def at_most(self) -> int | None:
        """The number of sessions that the job may end; ``None``: any."""
        return None if self.confirmed is None else most_for(self.confirmed)

    @property
    def total(self) -> int | None:
        """The exact number of sessions that match, never less than ``ended``; ``None`` if it is unknown."""
        return max(self.expected, self.ended) if self.is_exact else None

    @property
    def can_be_started_again(self) -> bool:
        """Whether the job stopped before its end and left sessions."""
        return self.where is not None and self.state in (JobState.CANCELLED, JobState.FAILED)

    @property
    def successor_id(self) -> str:
        """The id of the job that ends the sessions left by this one. It is derived, so that job is created only once."""
        return "j" + hashlib.sha256(f"{self.id} continued".encode()).hexdigest()[:23]

    @property
    def progress(self) -> float:
        """The completed fraction, from 0 to 1; 0 if the total is unknown."""
        if self.state is JobState.DONE:
            return 1.0
        return self.ended / self.total if self.total else 0.0

    @property
    def rate(self) -> float | None:
        """Sessions counted or ended per second since the job last started; ``None`` if it does not run or has just started."""
        seconds = self.lease_until - LEASE - self.since
        if self.state is not JobState.RUNNING or not self.since or seconds < 1:
            return None
        done = self.expected if self.is_counting else self.ended
        return max(0, done - self.done_before) / seconds

    @property
    def seconds_left(self) -> float | None:
        """The estimated time until all sessions have ended, in seconds; ``None`` if it is unknown."""
        if self.total is None or self.is_counting or not self.rate:
            return None
        return (self.total - self.ended) / self.rate


class DamagedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose record cannot be read. It does not run; cancelling it deletes the record.

    Attributes:
        id: the job's identifier.
        why: a description of the damage; contains no stored values.
    """

    id: str
    why: str


def document_of(job: Job, revision: int) -> Document:
    """Return the stored form of a revision of a job."""
    return Document(job.id, revision, msgspec.json.encode(job))


def read_job(document: Document) -> Job | DamagedJob:
    """Return the job of a stored document, a ``DamagedJob`` if it cannot be read."""
    try:
        return document.read(Job, "id")
    except Unreadable as error:
        return DamagedJob(id=document.key, why=error.why)
