"""``/admin/jobs``: bulk actions and their progress.

It must not know how jobs run.
"""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from tornado_sessions.server.operations.jobs import DamagedJob, Job
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["routes"]


class JobsPage(OperatorHandler):
    """``/admin/jobs``: bulk acts, running and over."""

    async def get(self) -> None:
        """The newest first."""
        self.render("admin/jobs.html", jobs=await self.ask_store(self.parts.jobs.listed), notice=self.take_notice())


class JobPage(OperatorHandler):
    """``/admin/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """How far it is; the page looks again by itself while it runs."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404)
        if isinstance(job, DamagedJob):
            self.render("admin/damaged_job.html", job=job, notice=self.take_notice())
            return
        if job.finished_at is None:
            # From an address of its own, so that these looks are not taken for those of a person.
            self.set_header("Refresh", f"2; url=/admin/jobs/{job_id}/live")
        self.render("admin/job.html", job=job, notice=self.take_notice())


class JobAgain(JobPage):
    """``/admin/jobs/ID/live``: the page of a job that loads itself again."""

    touches = False


class CancelJob(OperatorHandler):
    """``/admin/jobs/ID/cancel``."""

    async def post(self, job_id: str) -> None:
        """Stop it; what has ended stays ended."""
        job = await self.parts.actions.cancel(self.actor(), job_id)
        if job is None:
            raise HTTPError(404)
        # Of a damaged one nothing is left to look at.
        self.redirect(f"/admin/jobs/{job_id}" if isinstance(job, Job) else "/admin/jobs", status=303)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/jobs", JobsPage),
        (r"/admin/jobs/([A-Za-z0-9]{1,64})", JobPage),
        (r"/admin/jobs/([A-Za-z0-9]{1,64})/live", JobAgain),
        (r"/admin/jobs/([A-Za-z0-9]{1,64})/cancel", CancelJob),
    ]
