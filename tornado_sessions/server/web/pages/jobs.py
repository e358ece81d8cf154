"""``/admin/jobs``: bulk actions, their progress, and how a paused one is confirmed. It must not know how jobs run."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from tornado_sessions.messages import Message
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.filters import whole_number
from tornado_sessions.server.operations.jobs import DamagedJob, Job, JobState
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import MAX_UNTYPED, typed_fault

__all__ = ["CancelJob", "JobPage", "JobRefresh", "JobsPage", "JobsRefresh", "ResumeJob"]


class JobsPage(OperatorHandler):
    """``/admin/jobs``."""

    async def get(self) -> None:
        """List bulk actions, newest first."""
        jobs = await self.ask_store(self.parts.jobs.listed)
        await self.learn_names(name for job in jobs if isinstance(job, Job) for name in (job.actor, job.entry.user))
        self.render_page("jobs.html", jobs=jobs)


class JobsRefresh(JobsPage):
    """``/admin/jobs/live``: the list after an automatic reload, which does not keep the operator's session alive."""

    touches = False


class JobPage(OperatorHandler):
    """``/admin/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """Show the progress of a job."""
        await self.show(await self.parts.jobs.look_up(job_id), {})

    async def show(self, job: Job | DamagedJob | None, faults: dict[str, str]) -> None:
        """Render the page of a job. ``faults`` are the wrong fields of its confirmation."""
        if job is None:
            raise HTTPError(404)
        if isinstance(job, DamagedJob):
            self.render_page("damaged_job.html", job=job)
            return
        names: dict[str, Any] = {
            "successor": await self.parts.jobs.get(job.successor_id) if job.can_be_started_again else None,
            "left": job.expected - job.ended,
            "typed": self.form_value("number"),
            "most_untyped": MAX_UNTYPED,
        }
        await self.learn_names([job.actor, job.entry.user])
        self.render_page("job.html", job=job, faults=faults, **names)


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


class ResumeJob(JobPage):
    """``/admin/jobs/ID/resume``."""

    async def post(self, job_id: str) -> None:
        """Continue a paused job after its number was confirmed, or start a new one that counts what a cancelled job has left."""
        found = await self.parts.jobs.look_up(job_id)
        paused = found if isinstance(found, Job) and found.state is JobState.PAUSED else None
        expected = whole_number(self.form_value("expected") or "0", "expected") if paused is not None else None
        faults = await self._faults(paused, expected or 0) if paused is not None else {}
        job = None
        if not faults and not isinstance(found, DamagedJob):
            try:
                job = await self.parts.actions.resume(self.actor(), job_id, expected, own=self.session.handle)
            except OperationRefused as error:
                self.set_error_status(error)
                faults[""] = self.say_error(error)
        if job is None:
            await self.show(found, faults)
            return
        if paused is not None and job.state is JobState.DONE:
            self.notify(Message.plural("%s session ended.", "%s sessions ended.", job.ended))
        self.to_dashboard(f"/jobs/{job.id}", status=303)

    async def _faults(self, job: Job, expected: int) -> dict[str, str]:
        """Return a message for each wrong field. The typed number must be that of the remaining sessions."""
        faults: dict[str, str] = {}
        if message := typed_fault(self.form_value("number"), expected - job.ended):
            self.set_status(400)
            faults["number"] = self.say(message)
        return {**faults, **await self.proof_faults()}
