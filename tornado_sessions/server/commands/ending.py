"""Commands that end sessions and manage jobs. They must not know how sessions are ended."""

from __future__ import annotations

import sys
from contextlib import aclosing

from tornado_sessions.server.commands.parsing import (
    CLI,
    Commands,
    Given,
    add_filters,
    add_json,
    read_filters,
    row_count,
)
from tornado_sessions.server.commands.printing import plain, print_json, print_table, progress, utc
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.jobs import Job, JobState
from tornado_sessions.server.operations.schema import JobItem, job_item
from tornado_sessions.server.operations.selections import Everybody, Handles, OfUser, Selection, preview, select
from tornado_sessions.server.parts import Parts

__all__ = ["add_to", "finish"]

# Seconds between two updates of the progress bar.
_UPDATE_INTERVAL = 0.5


def add_to(commands: Commands) -> None:
    """Add these commands."""
    named = commands.add("destroy", _destroy, "end sessions, by the IDs that `list` shows")
    named.add_argument("handle", nargs="+", metavar="HANDLE")
    user = commands.add("destroy-user", _destroy_user, "end all sessions of a user", "name")
    where = commands.add("destroy-where", _destroy_where, "end all sessions that match filters")
    add_filters(where)
    where.add_argument("--dry-run", action="store_true", help="only count them")
    everybody = commands.add("destroy-all", _destroy_all, "end all sessions at once")
    for parser, is_required in ((named, False), (user, False), (where, True), (everybody, True)):
        parser.add_argument("--reason", default="", required=is_required, help="recorded in the audit log")
        parser.add_argument("--tell", action="store_true", help="show the reason to the users")
    for parser in (user, where):
        parser.add_argument(
            "--expect",
            type=row_count,
            metavar="NUMBER",
            help="the number of sessions that may end; if over a tenth more match, pause and ask",
        )
    add_json(commands.add("jobs", _jobs, "list bulk actions, running and finished"))
    commands.add("cancel-job", _cancel_job, "cancel a bulk action, by the ID that `jobs` lists", "id")
    resume = commands.add(
        "resume-job", _resume_job, "continue a paused bulk action, or count what a canceled one has left", "id"
    )
    resume.add_argument("number", nargs="?", type=row_count, help="the number of sessions to confirm, if it is paused")


async def _destroy(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, Handles(given.handle), given.reason, show_reason=given.tell)
    print(f"Ended: {outcome.ended}")
    return 0 if outcome.ended else 1


async def _destroy_user(parts: Parts, given: Given) -> int:
    return await _end(parts, given, OfUser(given.name))


async def _destroy_where(parts: Parts, given: Given) -> int:
    view = await read_filters(parts, given)
    selection = select(parts.sessions.clock(), where=view.where)
    if given.dry_run:
        print(f"Would end: {await _exact_count(parts, selection)}")
        return 0
    return await _end(parts, given, selection)


async def _end(parts: Parts, given: Given, selection: Selection) -> int:
    outcome = await parts.actions.end(CLI, selection, given.reason, expected=given.expect, show_reason=given.tell)
    return await finish(parts, outcome)


async def _exact_count(parts: Parts, selection: Selection) -> int:
    total, is_exact = (await preview(selection, parts.sessions))[1]
    if is_exact or isinstance(selection, Handles):
        return total
    total = 0
    with progress("sessions") as advance:
        async with aclosing(parts.sessions.counting(selection.where)) as steps:
            async for found in steps:
                total += found
                advance(found)
    return total


async def _destroy_all(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, Everybody(), given.reason, show_reason=given.tell)
    number = f"{outcome.ended}{'' if outcome.is_exact else ' or more'}"
    print(f"Ended all sessions ({number}). Removing their records:", file=sys.stderr)
    if outcome.job is not None:
        await _watch(parts, outcome.job)
    print(f"Ended: {number}")
    return 0


async def finish(parts: Parts, outcome: Outcome) -> int:
    """Show the progress of a job until it stops, print how many sessions have ended, and return the exit code."""
    job = await _watch(parts, outcome.job) if outcome.job is not None else None
    print(f"Ended: {job.ended if job is not None else outcome.ended}")
    if job is None:
        return 0
    if job.state is JobState.PAUSED:
        print(
            f"Paused: {job.expected} sessions match, over a tenth more than the {job.confirmed} confirmed.\n"
            f"Continue with `resume-job {job.id} {job.expected}`, or stop with `cancel-job {job.id}`.",
            file=sys.stderr,
        )
    return 0 if job.state is JobState.DONE else 1


async def _watch(parts: Parts, job: Job) -> Job:
    """Show the progress of a job until it stops, and return it."""
    with progress("sessions", job.total, job.ended) as advance:
        while job.state is JobState.RUNNING:
            before, job = job.ended, await parts.jobs.wait(job, _UPDATE_INTERVAL)
            advance(job.ended - before)
    return job


async def _jobs(parts: Parts, given: Given) -> int:
    items = [job_item(job) for job in await parts.jobs.listed()]
    if given.json:
        print_json(items)
    else:
        heads = ("ID", "state", "ended", "started", "by", "action")
        print_table(map(_row, items), heads, "There are no bulk actions.")
    return 0


def _row(item: JobItem) -> tuple[str, ...]:
    # For a damaged job, the last column describes the damage.
    ended = f"{item.ended}/{item.expected}{'' if item.is_exact else '+'}"
    action = plain(item.what or item.error)
    return (plain(item.id), item.state, ended, utc(item.started_at), plain(item.actor), action)


async def _cancel_job(parts: Parts, given: Given) -> int:
    job = await parts.actions.cancel(CLI, given.id)
    if job is None:
        print("There is no such job.")
        return 1
    print(f"{job.state.value}: {job.ended} ended" if isinstance(job, Job) else "Removed a damaged job.")
    return 0


async def _resume_job(parts: Parts, given: Given) -> int:
    job = await parts.actions.resume(CLI, given.id, given.number)
    if job is None:
        print("There is no such job.")
        return 1
    return await finish(parts, Outcome(job.ended, job))
