"""Commands that end sessions and manage jobs. They must not know how sessions are ended."""

from __future__ import annotations

import sys

from tornado_sessions.server.commands.parsing import CLI, Commands, Given, add_filters, add_json, read_filters
from tornado_sessions.server.commands.printing import plain, print_items, progress, utc
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.jobs import Job
from tornado_sessions.server.operations.schema import JobItem, job_item
from tornado_sessions.server.operations.selections import Everybody, Handles, OfUser, preview, select
from tornado_sessions.server.parts import Parts

__all__ = ["add_to", "finish"]

# Seconds between two updates of the progress bar.
_UPDATE_INTERVAL = 0.5


def add_to(commands: Commands) -> None:
    """Add these commands."""
    reason = "shown to the user and recorded in the audit log"
    named = commands.add("destroy", _destroy, "end sessions, by the IDs that `list` shows")
    named.add_argument("handle", nargs="+", metavar="HANDLE")
    named.add_argument("--reason", default="", help=reason)
    user = commands.add("destroy-user", _destroy_user, "end all sessions of a user", "name")
    user.add_argument("--reason", default="", help=reason)
    where = commands.add("destroy-where", _destroy_where, "end all sessions that match filters")
    add_filters(where)
    where.add_argument("--reason", required=True, help=reason)
    where.add_argument("--dry-run", action="store_true", help="only count them")
    everybody = commands.add("destroy-all", _destroy_all, "end all sessions at once")
    everybody.add_argument("--reason", required=True, help=reason)
    add_json(commands.add("jobs", _jobs, "list bulk actions, running and finished"))
    commands.add("cancel-job", _cancel_job, "cancel a bulk action, by the ID that `jobs` lists", "id")


async def _destroy(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, Handles(given.handle), given.reason)
    print(f"Ended: {outcome.ended}")
    return 0 if outcome.ended else 1


async def _destroy_user(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, OfUser(given.name), given.reason)
    print(f"Ended: {await finish(parts, outcome)}")
    return 0


async def _destroy_where(parts: Parts, given: Given) -> int:
    view = await read_filters(parts, given)
    selection = select(parts.sessions.clock(), where=view.where)
    if given.dry_run:
        _, count = await preview(selection, parts.sessions)
        print(f"Would end: {count.total}{'' if count.exact else ' or more'}")
        return 0
    outcome = await parts.actions.end(CLI, selection, given.reason)
    print(f"Ended: {await finish(parts, outcome)}")
    return 0


async def _destroy_all(parts: Parts, given: Given) -> int:
    outcome = await parts.actions.end(CLI, Everybody(), given.reason)
    print(f"Ended all sessions ({outcome.ended:,}). Removing their records:", file=sys.stderr)
    await finish(parts, outcome)
    print(f"Ended: {outcome.ended}")
    return 0


async def finish(parts: Parts, outcome: Outcome) -> int:
    """Show the progress of a job until it has finished. Return the number of ended sessions."""
    job = outcome.running_job
    if job is None:
        return outcome.ended
    with progress("sessions", job.expected, job.ended) as advance:
        while job.finished_at is None:
            before, job = job.ended, await parts.jobs.wait(job, _UPDATE_INTERVAL)
            advance(job.ended - before)
    return job.ended


async def _jobs(parts: Parts, given: Given) -> int:
    items = [job_item(job) for job in await parts.jobs.listed()]
    print_items(items, map(_row, items), ("ID", "state", "ended", "started", "by", "action"), as_json=given.json)
    return 0


def _row(item: JobItem) -> tuple[str, ...]:
    # For a damaged job, the last column describes the damage.
    progress, action = f"{item.ended}/{item.expected}", plain(item.what or item.error)
    return (plain(item.id), item.state, progress, utc(item.started_at), plain(item.actor), action)


async def _cancel_job(parts: Parts, given: Given) -> int:
    job = await parts.actions.cancel(CLI, given.id)
    if job is None:
        print("There is no such job.")
        return 1
    print(
        f"{job.state.value}: {job.ended} of {job.expected} ended" if isinstance(job, Job) else "Removed a damaged job."
    )
    return 0
