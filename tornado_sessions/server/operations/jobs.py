"""``Jobs``: run bulk actions in the background until they are done, cancelled or failed.

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
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.cookie import new_token
from tornado_sessions.errors import QueryError, SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Where
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.job import DamagedJob, Job, JobState, document_of, read_job

__all__ = ["DamagedJob", "Job", "JobState", "Jobs"]

logger = logging.getLogger("tornado_sessions")

_KIND = "job"
#: How long after its last step another process may take over a job, in seconds.
LEASE = 10.0
#: Seconds between two searches for abandoned jobs.
RESUME_INTERVAL = 3.0
#: Seconds between two attempts to reach the store.
_RETRY_INTERVAL = 1.0
#: Seconds between two reads of a job that another process runs.
_POLL_INTERVAL = 0.25
#: How long ``close`` waits for the step in progress, in seconds.
_CLOSE_TIMEOUT = 3.0
#: Maximum number of finished jobs that are kept.
_MAX_FINISHED = 50


@dataclass
class _Run:
    """A job that this process runs.

    Attributes:
        job: the job, with the number of sessions ended so far.
        revision: the revision of the stored document.
        written: the number of ended sessions in that document.
    """

    job: Job
    revision: int
    written: int


class Jobs:
    """Starts, runs, resumes and cancels jobs.

    Args:
        sessions: the sessions to end.
        audit: records the outcome of each job.
        documents: stores the jobs.
        clock: the time in UTC seconds.
    """

    def __init__(self, sessions: Sessions, audit: Audit, documents: DocumentStore, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._audit = audit
        self._documents = documents
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._resuming = BackgroundLoop(self._resume, RESUME_INTERVAL, "interrupted jobs are not resumed yet")
        self._is_closing = False
        self._reported: set[str] = set()

    async def open(self) -> None:
        """Start resuming jobs whose process has died."""
        self._is_closing = False
        self._resuming.start()

    async def close(self) -> None:
        """Stop after the step in progress. Another process resumes unfinished jobs, or this one after its next start."""
        self._is_closing = True
        await self._resuming.stop()
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=_CLOSE_TIMEOUT)
            # Cancelling is safe: the lease of a job expires, and another process repeats its last step.
            for task in late:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def start(
        self,
        actor: Actor,
        entry: Entry,
        where: Where | None,
        *,
        except_handle: str | None = None,
        expected: int,
        show_reason: bool = True,
    ) -> Job:
        """Store a job and run it in the background. For the arguments see ``Job``."""
        now = self._clock()
        job = Job(
            id=new_token().handle,
            where=where,
            except_handle=except_handle,
            actor=actor.name,
            reason=entry.reason,
            show_reason=show_reason,
            entry=entry,
            expected=expected,
            started_at=now,
            lease_until=now + LEASE,
        )
        await self._put(job, 1)
        self._run_in_background(job, 1)
        return job

    async def wait(self, job: Job, seconds: float) -> Job:
        """Wait until a job is finished, for at most ``seconds``, and return its current state."""
        task = self._running.get(job.id)
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
        while (found := await self._documents.get(_KIND, job_id)) is not None:
            job = read_job(found)
            if isinstance(job, DamagedJob):
                await self._documents.delete(_KIND, job_id)
                return job
            if job.state is not JobState.RUNNING:
                return job
            cancelled = msgspec.structs.replace(job, state=JobState.CANCELLED, finished_at=self._clock())
            if await self._put(cancelled, found.revision + 1):
                await self._complete(cancelled)
                return cancelled
        return None

    async def get(self, job_id: str) -> Job | None:
        """Return one job, or ``None`` if it does not exist or is damaged."""
        found = await self.look_up(job_id)
        return found if isinstance(found, Job) else None

    async def look_up(self, job_id: str) -> Job | DamagedJob | None:
        """Return one job, readable or damaged, or ``None`` if it does not exist."""
        found = await self._documents.get(_KIND, job_id)
        return read_job(found) if found is not None else None

    async def all(self) -> list[Job]:
        """Return all readable jobs, newest first."""
        return [job for job in await self.listed() if isinstance(job, Job)]

    async def listed(self, tag: str = "") -> list[Job | DamagedJob]:
        """Return all jobs, or those with a state as their ``tag``: damaged ones first, then newest first."""
        found = list(map(read_job, await self._documents.all(_KIND, tag=tag)))
        for job in found:
            # Jobs are listed every few seconds, so each damaged one is logged only once.
            if isinstance(job, DamagedJob) and job.id not in self._reported:
                self._reported.add(job.id)
                logger.error("job %s is damaged and will not be resumed: %s", job.id, job.why)
        return sorted(found, key=lambda job: -job.started_at if isinstance(job, Job) else -math.inf)

    async def _put(self, job: Job, revision: int) -> bool:
        return await self._documents.put(_KIND, document_of(job, revision), tags=[job.state.value])

    # --- running -------------------------------------------------------------------------------------------------

    def _run_in_background(self, job: Job, revision: int) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job, revision))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))

    async def _run(self, job: Job, revision: int) -> None:
        """Run a job to its end, surviving outages of the store, unless another process takes it over."""
        run = _Run(job, revision, job.ended)
        while True:
            try:
                if await self._is_done(run):
                    await self._finish(run, JobState.DONE)
            except QueryError as error:
                # The filter is invalid, for example because a newer version wrote it. A retry would fail again.
                await self._finish(run, JobState.FAILED, str(error))
            except SessionError as error:
                logger.warning("job %s is waiting for the store: %s", job.id, error)
                if await self._is_ours_again(run):
                    continue
            return

    async def _is_done(self, run: _Run) -> bool:
        """Run the steps and write a revision after each. Return ``False`` if the job was taken over or this process closes."""
        async with aclosing(self._steps(run.job)) as steps:
            async for ended in steps:
                total = run.job.ended + ended
                run.job = msgspec.structs.replace(run.job, ended=total, lease_until=self._clock() + LEASE)
                if not await self._put(run.job, run.revision + 1) or self._is_closing:
                    return False
                run.revision, run.written = run.revision + 1, total
        return True

    async def _is_ours_again(self, run: _Run) -> bool:
        """Wait until the store answers and take the lease again. Sessions ended during the outage are added to the stored count."""
        while not self._is_closing:
            await asyncio.sleep(_RETRY_INTERVAL)
            with suppress(SessionError):
                found = await self._take(run.job.id)
                if found is None:
                    return False
                # The stored count may include steps of another process, so add only the sessions that were never written.
                unwritten, run.written = run.job.ended - run.written, found[0].ended
                run.job = msgspec.structs.replace(found[0], ended=run.written + unwritten)
                run.revision = found[1]
                return True
        return False

    async def _steps(self, job: Job) -> AsyncGenerator[int, None]:
        """End sessions or remove records in steps, and yield the number of each step."""
        if job.where is None:
            while (removed := await self._sessions.prune_some()) > 0:
                yield removed
            return
        reason = job.reason if job.show_reason else ""
        async with aclosing(
            self._sessions.destroying(job.where, except_handle=job.except_handle, by=job.actor, reason=reason)
        ) as steps:
            async for ended in steps:
                yield ended

    async def _finish(self, run: _Run, state: JobState, error: str = "") -> None:
        finished = msgspec.structs.replace(run.job, state=state, finished_at=self._clock(), error=error)
        # The audit log comes first: a finished job is never resumed, so its entry would stay incomplete after a crash.
        await self._complete(finished)
        if await self._put(finished, run.revision + 1):
            await self._remove_old()

    async def _complete(self, job: Job) -> None:
        if job.where is not None:
            await self._audit.complete(job.entry, job.ended)

    async def _remove_old(self) -> None:
        finished = [job for job in await self.all() if job.state is not JobState.RUNNING]
        for job in finished[_MAX_FINISHED:]:
            await self._documents.delete(_KIND, job.id)

    async def _resume(self) -> None:
        """Take over and run jobs whose process has died."""
        for job in await self.listed(JobState.RUNNING.value):
            if isinstance(job, Job) and self._is_abandoned(job) and (found := await self._take(job.id)) is not None:
                logger.info("resuming job %s", job.id)
                self._run_in_background(*found)

    def _is_abandoned(self, job: Job) -> bool:
        return job.state is JobState.RUNNING and job.id not in self._running and job.lease_until < self._clock()

    async def _take(self, job_id: str) -> tuple[Job, int] | None:
        """Take a job's lease. Return the job and its revision, or ``None`` if it has finished or another process took it."""
        found = await self._documents.get(_KIND, job_id)
        job = read_job(found) if found is not None else None
        if found is None or not isinstance(job, Job) or job.state is not JobState.RUNNING:
            return None
        # Several processes may try at the same time. Only one of them can write this revision.
        job = msgspec.structs.replace(job, lease_until=self._clock() + LEASE)
        return (job, found.revision + 1) if await self._put(job, found.revision + 1) else None
