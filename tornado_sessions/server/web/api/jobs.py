"""``/admin/api/jobs``: bulk actions and their progress.

It must not know how jobs run.
"""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.schema import job_item
from tornado_sessions.server.web.api.base import HANDLE, ApiHandler

__all__ = ["routes"]


class JobsResource(ApiHandler):
    """``/admin/api/jobs``."""

    async def get(self) -> None:
        """Bulk acts, running and over."""
        self.answer(answers.JobList([job_item(job) for job in await self.parts.jobs.listed()]))


class JobResource(ApiHandler):
    """``/admin/api/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """How far it is."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404, "there is no such job")
        self.answer(job_item(job))

    async def delete(self, job_id: str) -> None:
        """Cancel it; 204 also when it is over."""
        self.need_proof()
        if await self.parts.actions.cancel(self.actor(), job_id) is None:
            raise HTTPError(404, "there is no such job")
        self.set_status(204)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/jobs", JobsResource),
        (rf"/admin/api/jobs/{HANDLE}", JobResource),
    ]
