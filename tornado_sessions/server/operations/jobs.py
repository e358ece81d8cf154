"""``Jobs``: bulk acts that go on by themselves, with progress, until they are done, cancelled or have failed.

It must not know pages. A job is a document with a lease: the process that holds it renews it with every step; when that process
dies, another one takes the job up where the filter still matches. Ending is idempotent, so a step done twice ends nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from enum import StrEnum

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.cookie import new_token
from tornado_sessions.damage import Unreadable, fields_of, struct_of
from tornado_sessions.errors import QueryError, SessionError
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Where
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.stores import AdminStore, Document, Entry

__all__ = ["DamagedJob", "Job", "JobState", "Jobs"]

logger = logging.getLogger("tornado_sessions")

_KIND = "job"
#: Seconds after which a job whose process says nothing any more is taken up by another.
LEASE = 10.0
#: Seconds between two looks for such jobs.
LOOK = 3.0
#: Seconds between two tries of a job whose store cannot be reached.
_RETRY = 1.0
#: Seconds between two looks at a job that another process runs.
_GLANCE = 0.25
#: Seconds that a step may take when the process ends.
_PATIENCE = 3.0
#: Finished jobs that are kept to be looked at.
_KEPT = 50


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One bulk act.

    Attributes:
        id: its name.
        where: whose sessions end; without a filter: those of before everybody's end, which are only removed.
        spared: one session that is not ended.
        actor, reason: who began it, and why.
        tell: whether the people whose sessions end are told why.
        entry: the audit log's, which is completed when it is over.
        expected: how many sessions matched when it began.
        ended: how many it has ended so far.
        state: how far it is.
        started_at, finished_at: UTC seconds.
        lease_until: until when the process that runs it is believed to be there.
        error: why it failed.
    """

    id: str
    where: Where | None
    spared: str | None = None
    actor: str
    reason: str
    tell: bool = True
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
        """The part that is done, from 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(1.0, self.ended / self.expected) if self.expected else 0.0


class DamagedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose record cannot be read: nobody runs it, and stopping it removes the record.

    Attributes:
        id: its name.
        why: what is wrong with it; never a value.
    """

    id: str
    why: str


class Jobs:
    """Begins, runs, resumes and cancels.

    Args:
        sessions: whose sessions end.
        audit: where each job is told.
        store: where jobs are kept; opened by the audit log, which shares it.
        clock: the time in UTC seconds.
    """

    def __init__(self, sessions: Sessions, audit: Audit, store: AdminStore, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._audit = audit
        self._store = store
        self._clock = clock
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looking = BackgroundLoop(self._resume, LOOK, "interrupted jobs are not resumed yet")
        self._closing = False
        self._reported: set[str] = set()

    async def open(self) -> None:
        """Look for jobs that another process left behind, from now on."""
        self._closing = False
        self._looking.start()

    async def close(self) -> None:
        """Leave what is running where it is, after the step it is in; another process, or the next start, takes it up."""
        self._closing = True
        await self._looking.stop()
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=_PATIENCE)
            for task in late:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def start(
        self,
        actor: Actor,
        entry: Entry,
        where: Where | None,
        *,
        spared: str | None = None,
        expected: int,
        tell: bool = True,
    ) -> Job:
        """Begin a job; it runs in the background."""
        now = self._clock()
        job = Job(
            id=new_token().handle,
            where=where,
            spared=spared,
            actor=actor.name,
            reason=entry.reason,
            tell=tell,
            entry=entry,
            expected=expected,
            started_at=now,
            lease_until=now + LEASE,
        )
        await self._store.put(_KIND, _document(job, 1))
        self._run_in_background(job, 1)
        return job

    async def wait(self, job: Job, seconds: float) -> Job:
        """The job when it is over, or as it is after so many seconds."""
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
            await asyncio.sleep(min(_GLANCE, left))
        return job

    async def cancel(self, job_id: str) -> Job | DamagedJob | None:
        """Stop a job; what has ended stays ended. A damaged one is removed. Returns the job, ``None`` when there is none."""
        while (found := await self._store.document(_KIND, job_id)) is not None:
            job = _read(found)
            if isinstance(job, DamagedJob):
                await self._store.remove(_KIND, job_id)
                return job
            if job.state is not JobState.RUNNING:
                return job
            stopped = msgspec.structs.replace(job, state=JobState.CANCELLED, finished_at=self._clock())
            if await self._store.put(_KIND, _document(stopped, found.revision + 1)):
                await self._complete(stopped)
                return stopped
        return None

    async def get(self, job_id: str) -> Job | None:
        """One job; ``None`` when there is none, or it is damaged."""
        found = await self.look_up(job_id)
        return found if isinstance(found, Job) else None

    async def look_up(self, job_id: str) -> Job | DamagedJob | None:
        """The same for pages that show a damaged job as such."""
        found = await self._store.document(_KIND, job_id)
        return _read(found) if found is not None else None

    async def all(self) -> list[Job]:
        """Every job that is kept and can be read, the newest first."""
        return [job for job in await self.listed() if isinstance(job, Job)]

    async def listed(self) -> list[Job | DamagedJob]:
        """Every job that is kept, damaged ones first and then the newest; one that cannot be read hides no other."""
        found = list(map(_read, await self._store.documents(_KIND)))
        for job in found:
            # Jobs are looked at every few seconds; once is enough for the log.
            if isinstance(job, DamagedJob) and job.id not in self._reported:
                self._reported.add(job.id)
                logger.error("job %s is damaged and does not go on: %s", job.id, job.why)
        return sorted(found, key=lambda job: -job.started_at if isinstance(job, Job) else -math.inf)

    # --- running -------------------------------------------------------------------------------------------------

    def _run_in_background(self, job: Job, revision: int) -> None:
        task = asyncio.get_running_loop().create_task(self._run(job, revision))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))

    async def _run(self, job: Job, revision: int) -> None:
        """Run a job to its end; an outage is waited for, for as long as nobody else takes the job."""
        told = job.ended
        while True:
            try:
                async with aclosing(self._steps(job)) as steps:
                    async for ended in steps:
                        job = msgspec.structs.replace(job, ended=job.ended + ended, lease_until=self._clock() + LEASE)
                        if not await self._store.put(_KIND, _document(job, revision + 1)) or self._closing:
                            # Cancelled, or taken up by another process: it is not ours any more.
                            return
                        revision, told = revision + 1, job.ended
                await self._finish(job, revision, JobState.DONE)
            except QueryError as error:
                await self._finish(job, revision, JobState.FAILED, str(error))
            except SessionError as error:
                logger.warning("job %s waits: %s", job.id, error)
                found = await self._wait_for_store(job.id)
                if found is None:
                    return
                # What has ended and could not be told is not forgotten.
                untold, told, revision = job.ended - told, found[0].ended, found[1]
                job = msgspec.structs.replace(found[0], ended=told + untold)
                continue
            return

    async def _wait_for_store(self, job_id: str) -> tuple[Job, int] | None:
        while not self._closing:
            await asyncio.sleep(_RETRY)
            with suppress(SessionError):
                return await self._taken_up(job_id)
        return None

    async def _steps(self, job: Job) -> AsyncGenerator[int, None]:
        if job.where is None:
            while (removed := await self._sessions.prune_some()) > 0:
                yield removed
            return
        told = job.reason if job.tell else ""
        async with aclosing(
            self._sessions.destroying(job.where, except_handle=job.spared, by=job.actor, reason=told)
        ) as steps:
            async for ended in steps:
                yield ended

    async def _finish(self, job: Job, revision: int, state: JobState, error: str = "") -> None:
        over = msgspec.structs.replace(job, state=state, finished_at=self._clock(), error=error)
        # Told first: a job that is over is never looked at again. What was told once stays.
        await self._complete(over)
        if await self._store.put(_KIND, _document(over, revision + 1)):
            await self._forget_old()

    async def _complete(self, job: Job) -> None:
        if job.where is not None:
            await self._audit.complete(job.entry, job.ended)

    async def _forget_old(self) -> None:
        over = [job for job in await self.all() if job.state is not JobState.RUNNING]
        for job in over[_KEPT:]:
            await self._store.remove(_KIND, job.id)

    async def _resume(self) -> None:
        """Run the jobs whose process is gone."""
        for job in await self.all():
            if self._is_left_behind(job) and (found := await self._taken_up(job.id)) is not None:
                logger.info("job %s is resumed", job.id)
                self._run_in_background(*found)

    def _is_left_behind(self, job: Job) -> bool:
        return job.state is JobState.RUNNING and job.id not in self._running and job.lease_until < self._clock()

    async def _taken_up(self, job_id: str) -> tuple[Job, int] | None:
        """The job with a lease of ours and its revision; ``None`` when it is over, or another's. Raises ``StoreUnavailable``."""
        found = await self._store.document(_KIND, job_id)
        job = _read(found) if found is not None else None
        if found is None or not isinstance(job, Job) or job.state is not JobState.RUNNING:
            return None
        job = msgspec.structs.replace(job, lease_until=self._clock() + LEASE)
        taken = await self._store.put(_KIND, _document(job, found.revision + 1))
        return (job, found.revision + 1) if taken else None


def _document(job: Job, revision: int) -> Document:
    return Document(job.id, revision, msgspec.json.encode(job))


def _read(document: Document) -> Job | DamagedJob:
    if document.damage:
        return DamagedJob(id=document.key, why=document.damage)
    try:
        job = struct_of(Job, fields_of(document.body))
    except Unreadable as error:
        return DamagedJob(id=document.key, why=error.why)
    return job if job.id == document.key else DamagedJob(id=document.key, why="id is not the one it is filed under")
