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
