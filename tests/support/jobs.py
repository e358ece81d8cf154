"""Jobs of bulk ends, as tests wait for them."""

from __future__ import annotations

from support.waiting import until

from tornado_sessions.server.operations.jobs import Job, JobState
from tornado_sessions.server.parts import Parts


async def finished_jobs(parts: Parts) -> list[Job]:
    """Return all jobs, newest first, as soon as none of them runs."""

    async def none_runs() -> bool:
        return all(job.state is not JobState.RUNNING for job in await parts.jobs.all())

    await until(none_runs, "the end of all jobs")
    return await parts.jobs.all()


async def stopped_job(parts: Parts, job_id: str) -> Job:
    """Return a job as soon as it does not run: it is finished, or waits for a confirmation."""

    async def does_not_run() -> bool:
        job = await parts.jobs.get(job_id)
        return job is not None and job.state is not JobState.RUNNING

    await until(does_not_run, "the stop of a job")
    job = await parts.jobs.get(job_id)
    assert job is not None
    return job
