"""Commands that end sessions, and watch and stop the jobs that do.

No rules of its own.
"""

from __future__ import annotations

import sys

from tqdm import tqdm

from tornado_sessions.server.commands.printing import CLI, Given, plain, print_json, print_table, read_filters, utc
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.jobs import Job
from tornado_sessions.server.operations.schema import job_item
from tornado_sessions.server.operations.selections import select
from tornado_sessions.server.parts import Parts

__all__ = ["COMMANDS"]


async def _destroy(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, given.handle, given.reason)
    print(f"Ended: {outcome.ended}")
    return 0 if outcome.ended else 1


async def _destroy_user(parts: Parts, given: Given) -> int:
    return await _finish(parts, await parts.actions.end_user(CLI, given.name, given.reason))


async def _destroy_where(parts: Parts, given: Given) -> int:
    view = await read_filters(parts, given)
    selection = select(parts.sessions.clock(), where=view.where)
    if given.dry_run:
        _, count = await selection.preview(parts.sessions, None)
        print(f"Would end: {count.total}{'' if count.exact else ' or more'}")
        return 0
    return await _finish(parts, await selection.end(parts.actions, CLI, given.reason))


async def _destroy_all(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end_everybody(CLI, given.reason)
    print(f"Everybody is logged out: {outcome.ended}. Removing what is left of them:", file=sys.stderr)
    await _finish(parts, outcome, silent=True)
    print(f"Ended: {outcome.ended}")
    return 0


async def _finish(parts: Parts, outcome: Outcome, *, silent: bool = False) -> int:
    """Wait for a job with a bar, then say how many ended."""
    ended = outcome.ended
    if outcome.job is not None and outcome.goes_on:
        job: Job = outcome.job
        with tqdm(total=job.expected, initial=job.ended, unit=" sessions", file=sys.stderr) as bar:
            while job.finished_at is None:
                job = await parts.jobs.wait(job, 0.5)
                bar.update(job.ended - bar.n)
        ended = job.ended
    if not silent:
        print(f"Ended: {ended}")
    return 0


async def _jobs(parts: Parts, given: Given) -> int:
    items = [job_item(job) for job in await parts.jobs.listed()]
    if given.json:
        print_json(items)
        return 0
    rows = (
        (
            plain(item.id),
            item.state,
            f"{item.ended}/{item.expected}",
            utc(item.started_at),
            plain(item.actor),
            # What is wrong with a damaged one stands where others say what they do.
            plain(item.what or item.error),
        )
        for item in items
    )
    print_table(rows, ("id", "state", "ended", "began", "by", "what"))
    return 0


async def _cancel_job(parts: Parts, given: Given) -> int:
    job = await parts.actions.cancel(CLI, given.id)
    if job is None:
        print("There is no such job.")
        return 1
    print(f"{job.state.value}: {job.ended} of {job.expected} ended" if isinstance(job, Job) else "Removed: damaged.")
    return 0


#: By name.
COMMANDS = {
    "destroy": _destroy,
    "destroy-user": _destroy_user,
    "destroy-where": _destroy_where,
    "destroy-all": _destroy_all,
    "jobs": _jobs,
    "cancel-job": _cancel_job,
}
