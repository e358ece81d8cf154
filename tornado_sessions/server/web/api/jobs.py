"""``/admin/api/jobs``: bulk actions and their progress. It must not know how jobs run."""

from __future__ import annotations

from tornado.web import HTTPError

from tornado_sessions.server.operations import schema
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["JobResource", "JobsResource", "ResumeResource"]


class JobsResource(ApiHandler):
    """All bulk actions."""

    @endpoint()
    async def get(self) -> schema.JobList:
        """List bulk actions."""
        return schema.JobList(list(map(schema.job_item, await self.parts.jobs.listed())))


class JobResource(ApiHandler):
    """One bulk action."""

    @endpoint()
    async def get(self, job_id: str) -> schema.JobItem:
        """Get the progress of a bulk action."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404, "there is no such job")
        return schema.job_item(job)

    @endpoint()
    async def delete(self, job_id: str) -> None:
        """Cancel a bulk action, unless it has finished."""
        if await self.parts.actions.cancel(self.actor(), job_id) is None:
            raise HTTPError(404, "there is no such job")


class ResumeResource(ApiHandler):
    """Continues a bulk action."""

    @endpoint(200, 202)
    async def post(self, job_id: str, body: schema.ResumeRequest) -> schema.JobItem:
        """Continue a paused bulk action, or count what a cancelled one has left; 202 while the job of the answer runs."""
        job = await self.parts.actions.resume(self.actor(), job_id, body.expected, own=self.session.handle)
        if job is None:
            raise HTTPError(404, "there is no such job")
        if job.state is JobState.RUNNING:
            self.set_status(202)
        return schema.job_item(job)
