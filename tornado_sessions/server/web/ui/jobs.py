"""Components of jobs: their state and progress. It must not know the pages."""

from __future__ import annotations

from collections.abc import Iterator

from tornado.escape import xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.jobs import Job, JobState
from tornado_sessions.server.web.ui.component import Component
from tornado_sessions.server.web.ui.texts import NAMES

__all__ = ["JOBS"]

_KINDS = {
    JobState.RUNNING: "accent",
    JobState.PAUSED: "warn",
    JobState.DONE: "good",
    JobState.CANCELLED: "",
    JobState.FAILED: "danger",
}


class JobStateBadge(Component):
    """The state of a job as a badge."""

    def render(self, job: Job) -> str:
        """Render the badge."""
        text = N_("Counting") if job.is_counting else NAMES[JobState][job.state]
        css = f"badge {_KINDS[job.state]}".strip()
        return f'<span class="{css}"><span>{xhtml_escape(self.language.translate(text))}</span></span>'


class JobProgress(Component):
    """The progress of a job, its rate, and the time left."""

    template = "progress"

    def render(self, job: Job) -> str:
        """Render the bar with its text. There is no bar while the total is unknown."""
        is_removing = job.where is None
        total = None if job.is_counting or (is_removing and not job.is_over) else job.total
        share = None if total is None else min(100.0, 100 * job.ended / max(1, total))
        return self.draw(share=share, label=" · ".join(_parts(job, self.language)))


def _parts(job: Job, language: Language) -> Iterator[str]:
    plural, translate = language.plural, language.translate
    if job.is_counting:
        yield plural("%s session counted so far", "%s sessions counted so far", job.expected)
    elif job.where is None:
        yield plural("%s record removed", "%s records removed", job.ended)
    elif job.total is None:
        yield plural("%s session ended", "%s sessions ended", job.ended)
    else:
        yield translate("%s of %s sessions ended") % (language.number(job.ended), language.number(job.total))
    if job.rate is not None and job.rate >= 1:
        yield translate("%s per second") % language.number(round(job.rate))
    if job.seconds_left:
        yield translate("about %s left") % language.duration(_rounded(job.seconds_left))


def _rounded(seconds: float) -> int:
    """Round a duration up to whole seconds below a minute, and to whole minutes above."""
    step = 1 if seconds < 60 else 60
    return -int(-seconds // step) * step


JOBS = {"JobState": JobStateBadge, "JobProgress": JobProgress}
