"""``Jobs``: start, list, cancel and continue bulk actions, which run in the background.

It must not know pages. Jobs survive the death of their process as follows:

- A job is a document. Each step writes its next revision, with the progress and a lease of ten seconds. A refused write means that
  another process has cancelled the job or taken it over. This process then drops the job without writing again, so a job never has
  two owners that both write.
- Every few seconds each process looks for running jobs with an expired lease and takes them over by writing the next revision. If
  several processes try, one succeeds. The job's filter matches exactly the remaining sessions, so there is no position to restore.
- A process that was only slow may end some more sessions after its job was taken over. This is harmless: ending a session twice has
  no effect, and only the owner's count is stored.
- During an outage of the store, the runner keeps the count that it could not write, waits, and then resumes its own job. It stops
  if another process has cancelled or finished the job in the meantime.
- A job is first completed in the audit log and then marked as finished. After a crash between the two it runs again and matches
  nothing, and the outcome in the log stays unchanged.

A job pauses rather than end more sessions than an operator has confirmed (see ``Job.confirmed``), and continues after the exact
number is confirmed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.cookie import new_token
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Where
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.job import LEASE, DamagedJob, Job, JobState, read_job
from tornado_sessions.server.operations.job_runner import KIND, JobRunner

__all__ = ["LEASE", "DamagedJob", "Job", "JobState", "Jobs"]

logger = logging.getLogger("tornado_sessions")

#: Seconds between two searches for abandoned jobs.
RESUME_INTERVAL = 3.0
#: Seconds between two reads of a job that another process runs.
_POLL_INTERVAL = 0.25


class Jobs:
    """Starts, lists, cancels and continues jobs, and takes over those of dead processes.

    Args:
        sessions: the sessions to end.
        audit: records the outcome of each job.
        documents: stores the jobs.
        clock: the time in UTC seconds.
    """

    def __init__(self, sessions: Sessions, audit: Audit, documents: DocumentStore, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._clock = clock
        self._runner = JobRunner(sessions, audit, documents, clock)
        self._resuming = BackgroundLoop(self._resume, RESUME_INTERVAL, "interrupted jobs are not resumed yet")
        self._reported: set[str] = set()

    async def open(self) -> None:
        """Start resuming jobs whose process has died."""
        self._runner.open()
        self._resuming.start()

    async def close(self) -> None:
        """Stop after the step in progress. Another process resumes unfinished jobs, or this one after its next start."""
        await self._resuming.stop()
        await self._runner.close()

    async def start(
        self,
        actor: Actor,
        entry: Entry,
        where: Where | None,
        *,
        except_handle: str | None = None,
        expected: int,
        is_exact: bool = True,
        confirmed: int | None = None,
        shown_reason: str = "",
        job_id: str | None = None,
    ) -> Job:
        """Store a job and run it in the background, unless there is one with this id, and return it.

        Users see ``shown_reason``, if any. For the other arguments see ``Job``.
        """
        now = self._clock()
        job = Job(
            id=job_id or new_token().handle,
            where=where,
            except_handle=except_handle,
            actor=actor.name,
            reason=entry.reason,
            show_reason=bool(shown_reason),
            entry=entry,
            expected=expected,
            is_exact=is_exact,
            confirmed=confirmed,
            started_at=now,
            lease_until=now + LEASE,
        )
        if await self._runner.put(job, 1):
            self._runner.run(job, 1)
            return job
        return await self.get(job.id) or job

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until a job stops, for at most ``seconds``, and return its current state."""
        task = self._runner.tasks.get(job.id)
        if task is not None:
            await asyncio.wait([task], timeout=seconds)
            return await self.get(job.id) or job
        # Another process runs it.
        until = asyncio.get_running_loop().time() + seconds
        while (job := await self.get(job.id) or job).state is JobState.RUNNING:
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.sleep(min(_POLL_INTERVAL, left))
        return job

    async def cancel(self, job_id: str) -> Job | DamagedJob | None:
        """Cancel a job, or delete a damaged one, and return it; ``None`` if it does not exist. Ended sessions stay ended."""
        # The owner writes a revision at each step, so a write here may be refused. Retry until one succeeds between two steps.
        while (found := await self._documents.get(KIND, job_id)) is not None:
            job = read_job(found)
            if isinstance(job, DamagedJob):
                await self._documents.delete(KIND, job_id)
                return job
            if job.is_over:
                return job
            cancelled = msgspec.structs.replace(job, state=JobState.CANCELLED, finished_at=self._clock())
            if await self._runner.put(cancelled, found.revision + 1):
                await self._runner.complete(cancelled)
                return cancelled
        return None

    async def go_on(self, job_id: str, confirmed: int, *, own: str | None) -> Job | None:
        """Continue a paused job after an operator has confirmed a number, and return it; ``None`` if it is not paused.

        ``own`` is the handle of the operator's session, which the job keeps from now on instead of that of whoever started it.
        """
        found = await self._documents.get(KIND, job_id)
        job = read_job(found) if found is not None else None
        if found is None or not isinstance(job, Job) or job.state is not JobState.PAUSED:
            return None
        job = msgspec.structs.replace(
            job, state=JobState.RUNNING, confirmed=confirmed, lease_until=self._clock() + LEASE
        )
        if own is not None and own != job.except_handle:
            # The number was counted without the other session, so it is counted again before anything ends.
            job = msgspec.structs.replace(job, except_handle=own, is_exact=False)
        # Two operators may confirm at the same time. Only one of them can write this revision.
        if not await self._runner.put(job, found.revision + 1):
            return None
        self._runner.run(job, found.revision + 1)
        return job

    async def get(self, job_id: str) -> Job | None:
        """Return one job, or ``None`` if it does not exist or is damaged."""
        found = await self.look_up(job_id)
        return found if isinstance(found, Job) else None

    async def look_up(self, job_id: str) -> Job | DamagedJob | None:
        """Return one job, readable or damaged, or ``None`` if it does not exist."""
        found = await self._documents.get(KIND, job_id)
        return read_job(found) if found is not None else None

    async def all(self) -> list[Job]:
        """Return all readable jobs, newest first."""
        return [job for job in await self.listed() if isinstance(job, Job)]

    async def listed(self, tag: str = "") -> list[Job | DamagedJob]:
        """Return all jobs, or those with a state as their ``tag``: damaged ones first, then newest first."""
        found = list(map(read_job, await self._documents.all(KIND, tag=tag)))
        for job in found:
            # Jobs are listed every few seconds, so each damaged one is logged only once.
            if isinstance(job, DamagedJob) and job.id not in self._reported:
                self._reported.add(job.id)
                logger.error("job %s is damaged and will not be resumed: %s", job.id, job.why)
        return sorted(found, key=lambda job: -job.started_at if isinstance(job, Job) else -math.inf)

    async def _resume(self) -> None:
        """Take over and run jobs whose process has died."""
        for job in await self.listed(JobState.RUNNING.value):
            if (
                isinstance(job, Job)
                and self._is_abandoned(job)
                and (found := await self._runner.take(job.id)) is not None
            ):
                logger.info("resuming job %s", job.id)
                self._runner.run(*found)

    def _is_abandoned(self, job: Job) -> bool:
        is_ours = job.id in self._runner.tasks
        return job.state is JobState.RUNNING and not is_ours and job.lease_until < self._clock()
