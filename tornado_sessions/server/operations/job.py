"""``Job``: a bulk action that runs in the background, and how it is stored.

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
    """The state of a job; the values are stored."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One bulk action. A field that is added later needs a default.

    Attributes:
        id: its name.
        where: whose sessions end. ``None``: everybody's have ended already, and their records are removed.
        except_handle: one session that is kept.
        actor, reason: who started it, and why.
        show_reason: whether the users see the reason.
        entry: its entry in the audit log, which is completed at the end.
        expected: how many sessions matched at the start.
        ended: how many it has ended so far.
        state: running, or how it finished.
        started_at, finished_at: UTC seconds.
        lease_until: until when its process is believed to be alive, in UTC seconds.
        error: why it failed.
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
        """The finished part, from 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(1.0, self.ended / self.expected) if self.expected else 0.0


class DamagedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose record cannot be read: no process runs it, and cancelling it removes the record.

    Attributes:
        id: its name.
        why: what is wrong with it; never a value.
    """

    id: str
    why: str


def document_of(job: Job, revision: int) -> Document:
    """Return a revision of a job as it is stored."""
    return Document(job.id, revision, msgspec.json.encode(job))


def read_job(document: Document) -> Job | DamagedJob:
    """Return the job of a stored document, or what is wrong with it."""
    try:
        return document.read(Job, "id")
    except Unreadable as error:
        return DamagedJob(id=document.key, why=error.why)
