"""``JobRunner``: runs the jobs of one process until they are done, wait for a confirmation, or are taken over.

It must not know how jobs are started or listed. See ``jobs`` for what happens when a process or the store fails.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import msgspec

from tornado_sessions.errors import QueryError, SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.job import LEASE, Job, JobState, document_of, read_job

__all__ = ["KIND", "JobRunner"]

logger = logging.getLogger("tornado_sessions")

#: The kind of the documents of jobs.
KIND = "job"
#: Seconds between two attempts to reach the store.
_RETRY_INTERVAL = 1.0
#: How long ``close`` waits for the step in progress, in seconds.
_CLOSE_TIMEOUT = 3.0
#: Maximum number of stopped jobs that are kept. One that waits for a confirmation counts as stopped.
_MAX_STOPPED = 50


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


class JobRunner:
    """Runs jobs in background tasks.

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
        self._is_closing = False
        #: The tasks of this process by the ids of their jobs.
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Allow jobs to run again after ``close``."""
        self._is_closing = False

    async def close(self) -> None:
        """Stop after the step in progress."""
        self._is_closing = True
        running = list(self.tasks.values())
        if running:
            _, late = await asyncio.wait(running, timeout=_CLOSE_TIMEOUT)
            # Cancelling is safe: the lease of a job expires, and another process repeats its last step.
            for task in late:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def run(self, job: Job, revision: int) -> None:
        """Run a job in the background. ``revision`` is that of its stored document."""
        task = asyncio.get_running_loop().create_task(self._run(_Run(job, revision, job.ended)))
        self.tasks[job.id] = task
        task.add_done_callback(lambda _: self.tasks.pop(job.id, None))

    async def put(self, job: Job, revision: int) -> bool:
        """Store a revision of a job. Return ``False`` if another process has stored it first."""
        return await self._documents.put(KIND, document_of(job, revision), tags=[job.state.value])

    async def take(self, job_id: str) -> tuple[Job, int] | None:
        """Take a job's lease. Return the job and its revision, or ``None`` if it has stopped or another process took it."""
        found = await self._documents.get(KIND, job_id)
        job = read_job(found) if found is not None else None
        if found is None or not isinstance(job, Job) or job.state is not JobState.RUNNING:
            return None
        # Several processes may try at the same time. Only one of them can write this revision.
        job = msgspec.structs.replace(job, lease_until=self._clock() + LEASE)
        return (job, found.revision + 1) if await self.put(job, found.revision + 1) else None

    async def complete(self, job: Job) -> None:
        """Record the outcome of a job in the audit log, unless it has one."""
        if job.where is not None:
            await self._audit.complete(job.entry, job.ended)

    async def _run(self, run: _Run) -> None:
        """Run a job to its end, surviving outages of the store, unless another process takes it over."""
        while True:
            try:
                state = await self._work(run)
                if state is not None:
                    await self._stop(run, state)
            except QueryError as error:
                # The filter is invalid, for example because a newer version wrote it. A retry would fail again.
                await self._stop(run, JobState.FAILED, str(error))
            except SessionError as error:
                logger.warning("job %s is waiting for the store: %s", run.job.id, error)
                if await self._is_ours_again(run):
                    continue
            return

    async def _work(self, run: _Run) -> JobState | None:
        """Count if necessary, and end sessions. Return the state in which the job stops.

        ``None``: another process has taken the job over, or this one closes.
        """
        while True:
            if run.job.must_count:
                if not await self._count(run):
                    return None
                left = run.job.expected - run.job.ended
                # More match than the operator has confirmed: nobody beyond that number ends without another confirmation.
                if left and run.job.expected > (run.job.at_most or 0):
                    return JobState.PAUSED
                if not left:
                    return JobState.DONE
            if not await self._end(run):
                return None
            if run.job.at_most is None or run.job.ended < run.job.at_most:
                return JobState.DONE
            # The job has reached its limit. Count the sessions that are left, if any, and ask.
            run.job = msgspec.structs.replace(run.job, is_exact=False)

    async def _count(self, run: _Run) -> bool:
        """Count the sessions that are left, and write a revision after each step."""
        job = run.job
        found, start = job.ended, self._clock()
        counting = self._sessions.counting(job.where, except_handle=job.except_handle)
        async with aclosing(counting) as steps:
            async for number in steps:
                found += number
                if not await self._write(run, expected=found, since=start, done_before=job.ended):
                    return False
        return await self._write(run, expected=found, is_exact=True)

    async def _end(self, run: _Run) -> bool:
        """End sessions or remove records, and write a revision after each step."""
        before, start = run.job.ended, self._clock()
        async with aclosing(self._steps(run.job)) as steps:
            async for ended in steps:
                run.job = msgspec.structs.replace(run.job, ended=run.job.ended + ended)
                if not await self._write(run, since=start, done_before=before):
                    return False
        return True

    async def _write(self, run: _Run, **changed: object) -> bool:
        """Write the next revision. Return ``False`` if the job was taken over or this process closes."""
        # Each write also extends the lease, so a job is only taken over if its process writes nothing for that long.
        run.job = msgspec.structs.replace(run.job, lease_until=self._clock() + LEASE, **changed)
        if not await self.put(run.job, run.revision + 1):
            return False
        run.revision, run.written = run.revision + 1, run.job.ended
        return not self._is_closing

    async def _steps(self, job: Job) -> AsyncGenerator[int, None]:
        """End sessions or remove records in steps, and yield the number of each step."""
        if job.where is None:
            while (removed := await self._sessions.prune_some()) > 0:
                yield removed
            return
        left = None if job.at_most is None else job.at_most - job.ended
        if left is not None and left <= 0:
            return
        reason = job.reason if job.show_reason else ""
        ending = self._sessions.destroying(
            job.where,
            except_handle=job.except_handle,
            at_most=left,
            by=job.actor,
            reason=reason,
            action=job.entry.ref,
        )
        async with aclosing(ending) as steps:
            async for ended in steps:
                yield ended

    async def _is_ours_again(self, run: _Run) -> bool:
        """Wait until the store answers and take the lease again. Sessions ended during the outage are added to the stored count."""
        while not self._is_closing:
            await asyncio.sleep(_RETRY_INTERVAL)
            with suppress(SessionError):
                found = await self.take(run.job.id)
                if found is None:
                    return False
                # The stored count may include steps of another process, so add only the sessions that were never written.
                unwritten, run.written = run.job.ended - run.written, found[0].ended
                run.job = msgspec.structs.replace(found[0], ended=run.written + unwritten)
                run.revision = found[1]
                return True
        return False

    async def _stop(self, run: _Run, state: JobState, error: str = "") -> None:
        stopped = msgspec.structs.replace(run.job, state=state, error=error)
        if stopped.is_over:
            stopped = msgspec.structs.replace(stopped, finished_at=self._clock())
            # The audit log comes first: a finished job is never resumed, so its entry would stay incomplete after a crash.
            await self.complete(stopped)
        if await self.put(stopped, run.revision + 1):
            await self._remove_old()

    async def _remove_old(self) -> None:
        found = [job for document in await self._documents.all(KIND) if isinstance(job := read_job(document), Job)]
        stopped = [job for job in found if job.state is not JobState.RUNNING]
        for job in sorted(stopped, key=lambda job: -job.started_at)[_MAX_STOPPED:]:
            await self._documents.delete(KIND, job.id)
