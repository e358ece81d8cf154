"""``Job``: a bulk action that runs in the background, and its stored form.

Plain data and pure functions. It must not know how a job runs.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.query import Where
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.entries import Entry

__all__ = ["DamagedJob", "Job", "JobState", "document_of", "read_job"]


class JobState(StrEnum):
    """The state of a job. The values are stored."""

    RUNNING = "running"
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
        expected: the number of sessions that matched at the start.
        ended: the number of sessions ended so far.
        state: see ``JobState``.
        started_at, finished_at: UTC seconds.
        lease_until: the time after which another process may take over the job, in UTC seconds.
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
    ended: int = 0
    state: JobState = JobState.RUNNING
    started_at: float
    finished_at: float | None = None
    lease_until: float = 0.0
    error: str = ""

    @property
    def progress(self) -> float:
        """The completed fraction, from 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(1.0, self.ended / self.expected) if self.expected else 0.0


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
