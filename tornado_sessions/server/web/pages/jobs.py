"""``/admin/jobs``: bulk actions and their progress. It must not know how jobs run."""

from __future__ import annotations

from tornado.web import HTTPError

from tornado_sessions.server.operations.jobs import DamagedJob
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["CancelJob", "JobPage", "JobRefresh", "JobsPage"]


class JobsPage(OperatorHandler):
    """``/admin/jobs``."""

    async def get(self) -> None:
        """List bulk actions, newest first."""
        self.render_page("jobs.html", jobs=await self.ask_store(self.parts.jobs.listed))


class JobPage(OperatorHandler):
    """``/admin/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """Show the progress of a job; the page reloads until it has finished."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404)
        if isinstance(job, DamagedJob):
            self.render_page("damaged_job.html", job=job)
            return
        if job.finished_at is None:
            # Reload from a path that does not extend the operator's session, which a reload should not keep alive.
            self.set_header("Refresh", f"2; url={self.site.url(self.site.dashboard)}/jobs/{job_id}/live")
        self.render_page("job.html", job=job)


class JobRefresh(JobPage):
    """``/admin/jobs/ID/live``: the page of a job after an automatic reload."""

    touches = False


class CancelJob(OperatorHandler):
    """``/admin/jobs/ID/cancel``."""

    async def post(self, job_id: str) -> None:
        """Cancel a job. Ended sessions stay ended."""
        job = await self.parts.actions.cancel(self.actor(), job_id)
        if job is None:
            raise HTTPError(404)
        # A damaged job was deleted, so it has no page.
        self.to_dashboard("/jobs" if isinstance(job, DamagedJob) else f"/jobs/{job_id}", status=303)
