"""``Actions``: what operators do. Pages, API and commands share it, so that each rule is checked once and each action audited.

It must not know requests, nor where people's accounts are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from tornado_sessions.codec import JSONValue
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_
from tornado_sessions.query import Where
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.errors import DamagedUser, NoSuchUser, NotPermitted
from tornado_sessions.server.operations.jobs import DamagedJob, Job, Jobs, JobState
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.people import People, Person, id_of
from tornado_sessions.server.operations.selections import Everybody, Handles, OfUser, Selection, check
from tornado_sessions.server.operations.tokens import Tokens
from tornado_sessions.server.roles import Role

__all__ = ["Actions", "Outcome"]

#: Sessions of one user that are ended at once; more are a job.
_AT_ONCE = 500
#: Seconds to wait for a job, so that most have finished when the operator gets an answer.
_WAIT = 3.0


class Outcome(NamedTuple):
    """What came of ending sessions.

    Attributes:
        ended: how many sessions have ended so far.
        job: ends the rest, or removes the records of everybody's sessions; ``None``: there was no need.
    """

    ended: int
    job: Job | None = None

    @property
    def running_job(self) -> Job | None:
        """The job, if it has not finished."""
        return self.job if self.job is not None and self.job.state is JobState.RUNNING else None


class _Order(NamedTuple):
    """Who ends sessions and why; the user sees ``shown_reason``, and ``own`` is kept."""

    actor: Actor
    reason: str
    shown_reason: str
    own: str | None


class Actions:
    """What operators can do. Every method raises ``NotPermitted`` for a role that is too low, before anything else.

    Each action is written to the audit log before it is done: without its entry nothing happens.

    Args:
        sessions, people, tokens: what actions change.
        audit: records them.
        jobs: run those that take longer.
        leases: let one process at a time change roles.
    """

    def __init__(
        self, sessions: Sessions, people: People, tokens: Tokens, audit: Audit, jobs: Jobs, leases: Leases
    ) -> None:
        self._sessions = sessions
        self._people = people
        self._tokens = tokens
        self._audit = audit
        self._jobs = jobs
        self._leases = leases

    # --- ending sessions -----------------------------------------------------------------------------------------

    async def end(
        self,
        actor: Actor,
        selection: Selection,
        reason: str = "",
        *,
        own: str | None = None,
        expected: int | None = None,
        show_reason: bool = True,
    ) -> Outcome:
        """End the sessions of a selection.

        Args:
            actor, selection: the operator, and what ends.
            reason: goes into the audit log.
            own: the handle of the operator's session. It is kept, unless its handle was selected or everybody was.
            expected: the number of sessions that was shown; ``None``: none was.
            show_reason: whether users see the reason.

        Raises:
            InvalidInput: a reason is required.
            HasGrown: many more sessions match than were shown.
        """
        rules.permit(actor.role, selection.action)
        await check(selection, self._sessions, reason, expected, own)
        reason = reason.strip()
        order = _Order(actor, reason, reason if show_reason else "", own)
        if isinstance(selection, Handles):
            return await self._end_handles(order, rules.check_handles(selection.handles))
        if isinstance(selection, Everybody):
            return await self._end_everybody(order, selection)
        if isinstance(selection, OfUser):
            return await self._end_user(order, await id_of(self._people, selection.user))
        return await self._start(order, selection.action, selection.where)

    async def _end_handles(self, order: _Order, handles: list[str]) -> Outcome:
        """End sessions by handle. Each has an audit entry of its own, so that it appears in its user's history."""
        users = await asyncio.gather(*map(self._user_of, handles))
        entries = {
            handle: await self._audit.note(
                order.actor, Action.END_SESSION, user=user, target=handle, reason=order.reason
            )
            for handle, user in zip(handles, users, strict=True)
        }
        ended = set(await self._sessions.destroy_many(handles, by=order.actor.name, reason=order.shown_reason))
        for handle, entry in entries.items():
            await self._audit.complete(entry, int(handle in ended))
        return Outcome(len(ended))

    async def _user_of(self, handle: str) -> str:
        found = await self._sessions.inspect(handle)
        return (found.user or "") if found is not None else ""

    async def _end_user(self, order: _Order, user: str) -> Outcome:
        where = Where(user=user)
        if (await self._sessions.count(where)).total > _AT_ONCE:
            return await self._start(order, Action.END_USER, where)

        async def destroy() -> int:
            by, shown = order.actor.name, order.shown_reason
            return len(await self._sessions.destroy_user(user, order.own, by=by, reason=shown))

        ended = await self._audit.ended(order.actor, Action.END_USER, user, order.reason, destroy, user)
        return Outcome(ended)

    async def _start(self, order: _Order, action: Action, where: Where) -> Outcome:
        """End by a job, in steps. The cut-off keeps everybody who signs in while it runs."""
        where = rules.cut_off(where, self._sessions.clock())
        expected = (await self._sessions.count(where)).total
        target = " ".join(f"{name}={value}" for name, value in where.given.items() if name != "created_until")
        entry = await self._audit.note(order.actor, action, user=where.user or "", target=target, reason=order.reason)
        job = await self._jobs.start(
            order.actor, entry, where, except_handle=order.own, expected=expected, show_reason=bool(order.shown_reason)
        )
        job = await self._jobs.wait(job, _WAIT)
        return Outcome(job.ended, job)

    async def _end_everybody(self, order: _Order, selection: Everybody) -> Outcome:
        """End all sessions by one write. They are over when this returns; the job only removes their records."""
        total = (await self._sessions.count()).total
        target = "but one's own" if selection.but_mine else ""
        entry = await self._audit.note(order.actor, Action.END_EVERYBODY, target=target, reason=order.reason)
        await self._sessions.end_all(by=order.actor.name, reason=order.shown_reason)
        await self._audit.complete(entry, total)
        return Outcome(total, await self._jobs.start(order.actor, entry, None, expected=total))

    async def cancel(self, actor: Actor, job_id: str) -> Job | DamagedJob | None:
        """Stop a job, or remove a damaged one. Return it, or ``None`` when there is none."""
        rules.permit(actor.role, Action.CANCEL_JOB)
        await self._audit.note(actor, Action.CANCEL_JOB, target=job_id)
        return await self._jobs.cancel(job_id)

    # --- people --------------------------------------------------------------------------------------------------

    async def block(self, actor: Actor, user: str, seconds: float | None, reason: str = "") -> None:
        """Block a user's sign-ins, or allow them again. Their sessions continue.

        Args:
            actor, user, reason: the operator, the user's name, and why.
            seconds: for how long, from one second to 366 days; ``None``: allow sign-ins again.

        Raises:
            InvalidInput: ``seconds`` is out of bounds.
            NoSuchUser, DamagedUser: nobody has this name, or the record cannot be read.
            NotPermitted: also when the user is staff and the operator is no admin.
        """
        action = Action.ALLOW if seconds is None else Action.BLOCK
        rules.permit(actor.role, action)
        target, until = "", None
        if seconds is not None:
            target, until = f"{rules.block_seconds(seconds):g} s", self._sessions.clock() + seconds
        person = await self._person(user)
        if not rules.may_block(actor.role, person):
            raise NotPermitted("Only admins can block staff.")
        await self._audit.note(actor, action, user=person.id, target=target, reason=reason)
        await self._people.block(person.id, until)

    async def set_role(self, actor: Actor, user: str, role: Role, reason: str = "") -> None:
        """Give a user a role and end their sessions: the limits of a session depend on the role.

        Raises:
            NoSuchUser, DamagedUser: nobody has this name, or the record cannot be read.
            NotPermitted: also when it is the operator's own role.
        """
        rules.permit(actor.role, Action.CHANGE_ROLE)
        # If two admins demote each other at once, none is left. The lease makes one of them wait, and ``_check_admin`` then finds
        # that this one is no longer an admin.
        async with self._leases.hold("roles"):
            person = await self._person(user)
            # Commands have no address. They run for no account, so there is nobody to check.
            if actor.ip:
                await self._check_admin(actor, person)

            async def change() -> int:
                await self._people.set_role(person.id, role)
                why = reason or N_("Role changed")
                return len(await self._sessions.destroy_user(person.id, by=actor.name, reason=why))

            await self._audit.ended(actor, Action.CHANGE_ROLE, role.value, reason, change, person.id)

    async def _check_admin(self, actor: Actor, person: Person) -> None:
        admin = await self._people.get(actor.name)
        if admin is not None and admin.id == person.id:
            raise NotPermitted("You can't change your own role.")
        if admin is None or admin.role is not Role.ADMIN:
            raise NotPermitted("Only admins can change roles.")

    async def _person(self, user: str) -> Person:
        person = await self._people.get(user)
        if person is None:
            raise NoSuchUser
        if person.damage:
            raise DamagedUser
        return person

    # --- tokens and values ---------------------------------------------------------------------------------------

    async def create_token(self, actor: Actor, name: str, scopes: Iterable[str], lifetime: float | None) -> str:
        """Create an API token.

        Args:
            actor: the admin.
            name, scopes: 1 to 64 printable characters, and at least one thing that its bearer may do.
            lifetime: from one second to 3650 days, in seconds; ``None``: until it is revoked.

        Returns:
            The token in clear; only its hash is stored.

        Raises:
            InvalidInput: one of these is out of bounds.
        """
        rules.permit(actor.role, Action.CREATE_TOKEN)
        name, chosen = rules.check_token_name(name), rules.check_scopes(scopes)
        lifetime = rules.check_token_lifetime(lifetime)
        await self._audit.note(actor, Action.CREATE_TOKEN, target=f"{name} ({' '.join(chosen)})")
        return await self._tokens.create(name, chosen, lifetime, actor.name)

    async def revoke_token(self, actor: Actor, handle: str) -> bool:
        """Revoke an API token. Return whether there was one."""
        rules.permit(actor.role, Action.REVOKE_TOKEN)
        await self._audit.note(actor, Action.REVOKE_TOKEN, target=handle)
        return await self._tokens.revoke(handle)

    async def reveal(self, actor: Actor, handle: str, reason: str) -> dict[str, JSONValue] | None:
        """Return the values of a session in clear; ``None`` when it is not live. Raises ``InvalidInput``: no reason."""
        rules.permit(actor.role, Action.REVEAL)
        reason = rules.check_reason(reason)
        await self._audit.note(actor, Action.REVEAL, user=await self._user_of(handle), target=handle, reason=reason)
        return await self._sessions.values_of(handle)
