"""``Endings``: the part of ``Actions`` that ends sessions, at once or by a job.

The number that an operator confirms is a promise: at most a tenth more sessions end. It must not know requests or where accounts
are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count, Where
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit, new_ref
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.jobs import DamagedJob, Job, Jobs, JobState
from tornado_sessions.server.operations.order import Order, Outcome
from tornado_sessions.server.operations.people import People, id_of
from tornado_sessions.server.operations.selections import (
    Everybody,
    Handles,
    Matching,
    OfUser,
    Selection,
    check,
    count_of,
)

__all__ = ["Endings"]

#: Maximum number of sessions of one user that end by one call of the store, which no other write interrupts; a job ends more.
_AT_ONCE = 2000
#: How long to wait for a job before answering, in seconds; most jobs finish sooner.
_WAIT = 3.0


class Endings:
    """Ends sessions, and cancels and resumes the jobs that end them.

    Args:
        sessions, people: whose sessions end.
        audit: the audit log.
        jobs: run long actions in the background.
    """

    def __init__(self, sessions: Sessions, people: People, audit: Audit, jobs: Jobs) -> None:
        self._sessions = sessions
        self._people = people
        self._audit = audit
        self._jobs = jobs

    async def end(
        self,
        actor: Actor,
        selection: Selection,
        reason: str = "",
        *,
        own: str | None = None,
        expected: int | None = None,
        show_reason: bool = False,
    ) -> Outcome:
        """End the sessions of a selection.

        Args:
            actor, selection: the operator and the sessions to end.
            reason: the reason for the audit log.
            own: the handle of the operator's session, which is kept unless ``selection`` names it or is ``Everybody``.
            expected: the number of sessions that the operator has confirmed; ``None`` if the confirmation named no number. If
                they can't be counted at once, a job counts them before any ends. It pauses rather than end over a tenth more.
                ``Everybody`` ends by one write, which no number can bound: ``expected`` is only checked before it.
            show_reason: whether users see the reason.

        Raises:
            InvalidInput: the selection requires a reason.
            HasGrown: over a tenth more sessions match than were shown.
        """
        rules.permit(actor.role, selection.action)
        reason = reason.strip()
        order = Order(actor, reason, reason if show_reason else "", own, expected)
        if isinstance(selection, Everybody):
            await check(selection, self._sessions, reason, expected, own)
            return await self._end_everybody(order, selection)
        # What the others select is counted later, with their cut-off.
        await check(selection, self._sessions, reason)
        if isinstance(selection, Handles):
            return await self._end_handles(order, rules.check_handles(selection.handles))
        if isinstance(selection, OfUser):
            return await self.end_user(order, await id_of(self._people, selection.user))
        return await self._start(order, selection.action, selection.where)

    async def count_first(
        self,
        actor: Actor,
        selection: OfUser | Matching,
        reason: str,
        *,
        own: str | None = None,
        show_reason: bool = False,
    ) -> Job:
        """Start a job that counts the sessions of a selection, and then waits for the confirmation of their number.

        Nothing ends before ``resume``. For the arguments and errors see ``end``.
        """
        rules.permit(actor.role, selection.action)
        await check(selection, self._sessions, reason)
        order = Order(actor, reason.strip(), reason.strip() if show_reason else "", own, confirmed=0)
        where = selection.where
        if isinstance(selection, OfUser):
            where = Where(user=await id_of(self._people, selection.user))
        return await self._count_first(order, selection.action, where)

    async def _count_first(self, order: Order, action: Action, where: Where, job_id: str | None = None) -> Job:
        where = rules.cut_off(where, self._sessions.clock())
        count = await count_of(where, self._sessions, order.own)
        entry = await self._announce(order, action, where)
        job = await self._start_job(order, entry, where, count, job_id)
        if job.entry != entry:
            # Somebody else has started this job, and the entry of that action says what ends.
            await self._audit.outcome(order.actor, entry, ended=0)
        return job

    async def _end_handles(self, order: Order, handles: list[str]) -> Outcome:
        """End sessions by handle. Each gets its own audit entry, so that it appears in its user's history."""
        users = await asyncio.gather(*map(self._user_of, handles))
        # All entries are written before the first session ends. If the process dies in between, they remain without an outcome.
        ref = new_ref()
        entries = [
            await self._audit.note(
                order.actor, Action.END_SESSION, user=user, target=handle, reason=order.reason, ref=ref
            )
            for handle, user in zip(handles, users, strict=True)
        ]
        try:
            ended = set(await self._sessions.destroy_many(handles, **order.how(ref)))
        except Exception as error:
            await self._audit.outcome(order.actor, entries[0], error=type(error).__name__)
            raise
        over = " ".join(handle for handle in handles if handle not in ended)
        await self._audit.outcome(order.actor, entries[0], ended=len(ended), target=over)
        return Outcome(len(ended), entry=entries[-1])

    async def _user_of(self, handle: str) -> str:
        found = await self._sessions.inspect(handle)
        return (found.user or "") if found is not None else ""

    async def end_user(self, order: Order, user: str) -> Outcome:
        """End all sessions of a user, given by id."""
        where = Where(user=user)
        count = await self._count(order, where)
        if not count.exact or count.total > _AT_ONCE:
            return await self._start(order, Action.END_USER, where)

        entry = await self._audit.note(
            order.actor, Action.END_USER, user=user, target=user, reason=order.reason, ref=new_ref()
        )

        async def destroy() -> int:
            # Sessions that start in the meantime end as well, unless they would exceed the confirmed number.
            return len(
                await self._sessions.destroy_user(user, order.own, at_most=order.at_most, **order.how(entry.ref))
            )

        return Outcome(await self._recorded(order, entry, destroy), entry=entry)

    async def _count(self, order: Order, where: Where) -> Count:
        """Count the sessions that would end. Raises ``HasGrown`` if they are over a tenth more than were confirmed."""
        count = await count_of(where, self._sessions, order.own)
        if order.confirmed is not None:
            rules.check_growth(count.total, order.confirmed)
        return count

    async def _recorded(self, order: Order, entry: Entry, run: Callable[[], Awaitable[int]]) -> int:
        """End sessions, record the outcome of an entry, and return the number of ended sessions."""
        try:
            ended = await run()
        except Exception as error:
            await self._audit.outcome(order.actor, entry, error=type(error).__name__)
            raise
        await self._audit.outcome(order.actor, entry, ended=ended)
        return ended

    async def _start(self, order: Order, action: Action, where: Where) -> Outcome:
        """Start a job that ends sessions in steps, and wait a little for its end. Sessions created while it runs are kept."""
        where = rules.cut_off(where, self._sessions.clock())
        count = await self._count(order, where)
        entry = await self._announce(order, action, where)
        try:
            job = await self._start_job(order, entry, where, count)
        except StoreError as error:
            if order.confirmed is not None and not count.exact:
                await self._audit.outcome(order.actor, entry, error=type(error).__name__)
                raise
            # The job cannot be stored, but the sessions may be elsewhere: end them now rather than not at all.
            kept, how = order.own, order.how(entry.ref)
            ended = await self._recorded(
                order,
                entry,
                lambda: self._sessions.destroy_where(where, except_handle=kept, at_most=order.at_most, **how),
            )
            return Outcome(ended, entry=entry)
        job = await self._jobs.wait(job, _WAIT)
        return Outcome(job.ended, job, entry=entry)

    async def _announce(self, order: Order, action: Action, where: Where) -> Entry:
        """Write the audit entry of a job. It must exist before the job, which completes it at its end."""
        target = " ".join(f"{name}={value}" for name, value in where.given.items() if name != "created_until")
        user, reason = where.user or "", order.reason
        return await self._audit.note(order.actor, action, user=user, target=target, reason=reason, ref=new_ref())

    async def _start_job(
        self, order: Order, entry: Entry, where: Where, count: Count, job_id: str | None = None
    ) -> Job:
        return await self._jobs.start(
            order.actor,
            entry,
            where,
            except_handle=order.own,
            expected=count.total,
            is_exact=count.exact,
            confirmed=order.confirmed,
            shown_reason=order.shown_reason,
            job_id=job_id,
        )

    async def _end_everybody(self, order: Order, selection: Everybody) -> Outcome:
        """End all sessions by a single write. They have ended when this returns; the job only removes their records."""
        # Count before the write: afterwards no session is left to count.
        total, is_exact = await self._sessions.count()
        target = "but one's own" if selection.but_mine else ""
        entry = await self._audit.note(
            order.actor, Action.END_EVERYBODY, target=target, reason=order.reason, ref=new_ref()
        )

        async def end() -> int:
            await self._sessions.end_all(**order.how(entry.ref))
            return total

        await self._recorded(order, entry, end)
        job = None
        # Without a job, every process removes a few of their records from time to time.
        with suppress(StoreError):
            job = await self._jobs.start(order.actor, entry, None, expected=total, is_exact=is_exact)
        return Outcome(total, job, is_exact, entry)

    async def cancel(self, actor: Actor, job_id: str) -> Job | DamagedJob | None:
        """Cancel a job, or delete a damaged one, and return it. Return ``None`` if it does not exist."""
        rules.permit(actor.role, Action.CANCEL_JOB)
        return await self._audit.perform(actor, Action.CANCEL_JOB, lambda: self._jobs.cancel(job_id), target=job_id)

    async def resume(
        self, actor: Actor, job_id: str, confirmed: int | None = None, *, own: str | None = None
    ) -> Job | None:
        """Continue a job that has stopped, and return it; ``None`` if it does not exist.

        A paused job continues. For a cancelled or failed one a new job starts, which counts the sessions that are left and then
        pauses, so that their number can be confirmed; whoever resumes the old one again gets that job. Any other job is
        returned unchanged.

        Args:
            actor, own: the operator and the handle of their session, which the job keeps.
            job_id: the job.
            confirmed: the number of sessions that the operator has confirmed, required for a paused job.

        Raises:
            InvalidInput: a paused job needs a number.
            HasGrown: the number is not the one that the job has counted.
        """
        rules.permit(actor.role, Action.RESUME_JOB)
        job = await self._audit.perform(
            actor, Action.RESUME_JOB, lambda: self._resume(actor, job_id, confirmed, own), target=job_id
        )
        return await self._jobs.wait(job, _WAIT) if job is not None else None

    async def _resume(self, actor: Actor, job_id: str, confirmed: int | None, own: str | None) -> Job | None:
        job = await self._jobs.get(job_id)
        if job is not None and job.state is JobState.PAUSED:
            number = rules.check_confirmed(job.expected, confirmed)
            return await self._jobs.go_on(job_id, number, own=own) or job
        if job is None or job.where is None or not job.can_be_started_again:
            return job
        if (successor := await self._jobs.get(job.successor_id)) is not None:
            return successor
        order = Order(actor, job.reason, job.reason if job.show_reason else "", own, confirmed=0)
        return await self._count_first(order, Action(job.entry.act), job.where, job.successor_id)
