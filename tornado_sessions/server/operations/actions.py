"""``Actions``: everything an operator can do. Pages, API and commands all use it; it checks the rules and writes the audit log.

It must not know requests or where accounts are stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from tornado_sessions.codec import JSONValue
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_
from tornado_sessions.query import Where
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit, new_ref
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.errors import DamagedUser, NoSuchUser, NotPermitted
from tornado_sessions.server.operations.jobs import DamagedJob, Job, Jobs, JobState
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.people import People, Person, id_of
from tornado_sessions.server.operations.selections import Everybody, Handles, OfUser, Selection, check
from tornado_sessions.server.operations.tokens import MAKER, Tokens
from tornado_sessions.server.roles import Role

__all__ = ["Actions", "Outcome"]

#: Maximum number of sessions of one user that are ended directly; a job ends more.
_AT_ONCE = 500
#: How long to wait for a job before answering, in seconds; most jobs finish sooner.
_WAIT = 3.0


class Outcome(NamedTuple):
    """The result of ending sessions.

    Attributes:
        ended: the number of sessions ended so far.
        job: the job that ends the remaining sessions or, after ending all sessions, removes their records; ``None`` if none was
            needed.
    """

    ended: int
    job: Job | None = None

    @property
    def running_job(self) -> Job | None:
        """The job if it is still running, else ``None``."""
        return self.job if self.job is not None and self.job.state is JobState.RUNNING else None


class _Order(NamedTuple):
    """An operator's request to end sessions.

    Attributes:
        actor, reason: the operator and the reason for the audit log.
        shown_reason: the reason shown to users; may be empty.
        own: the handle of the session to keep.
    """

    actor: Actor
    reason: str
    shown_reason: str
    own: str | None


class Actions:
    """Perform operators' actions.

    Every method first raises ``NotPermitted`` if the operator's role is too low. It then writes the audit entry, acts, and writes
    the outcome. If the entry cannot be written, only sessions end and users are blocked (see ``Audit.note``); nothing else
    changes.

    Args:
        sessions, people, tokens: the objects that actions change.
        audit: the audit log.
        jobs: run long actions in the background.
        leases: allow one process at a time to change roles.
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
            actor, selection: the operator and the sessions to end.
            reason: the reason for the audit log.
            own: the handle of the operator's session, which is kept unless ``selection`` names it or is ``Everybody``.
            expected: the number of sessions that the operator was shown; ``None`` if none was shown.
            show_reason: whether users see the reason.

        Raises:
            InvalidInput: the selection requires a reason.
            HasGrown: over a tenth more sessions match than were shown.
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
            ended = set(await self._sessions.destroy_many(handles, by=order.actor.name, reason=order.shown_reason))
        except Exception as error:
            await self._audit.outcome(order.actor, entries[0], error=type(error).__name__)
            raise
        over = " ".join(handle for handle in handles if handle not in ended)
        await self._audit.outcome(order.actor, entries[0], ended=len(ended), target=over)
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

        ended = await self._audit.perform(
            order.actor, Action.END_USER, destroy, user=user, target=user, reason=order.reason
        )
        return Outcome(ended)

    async def _start(self, order: _Order, action: Action, where: Where) -> Outcome:
        """Start a job that ends sessions in steps. Sessions created while it runs are kept."""
        where = rules.cut_off(where, self._sessions.clock())
        expected = (await self._sessions.count(where)).total
        target = " ".join(f"{name}={value}" for name, value in where.given.items() if name != "created_until")
        # The entry must exist before the job, which completes it at its end.
        entry = await self._audit.note(
            order.actor, action, user=where.user or "", target=target, reason=order.reason, ref=new_ref()
        )
        try:
            job = await self._jobs.start(
                order.actor,
                entry,
                where,
                except_handle=order.own,
                expected=expected,
                show_reason=bool(order.shown_reason),
            )
        except StoreError:
            # The job cannot be stored, but the sessions may be elsewhere: end them now rather than not at all.
            return Outcome(await self._end_at_once(order, entry, where))
        job = await self._jobs.wait(job, _WAIT)
        return Outcome(job.ended, job)

    async def _end_at_once(self, order: _Order, entry: Entry, where: Where) -> int:
        try:
            ended = await self._sessions.destroy_where(
                where, except_handle=order.own, by=order.actor.name, reason=order.shown_reason
            )
        except Exception as error:
            await self._audit.outcome(order.actor, entry, error=type(error).__name__)
            raise
        await self._audit.outcome(order.actor, entry, ended=ended)
        return ended

    async def _end_everybody(self, order: _Order, selection: Everybody) -> Outcome:
        """End all sessions by a single write. They have ended when this returns; the job only removes their records."""
        # Count before the write: afterwards no session is left to count.
        total = (await self._sessions.count()).total
        target = "but one's own" if selection.but_mine else ""
        entry = await self._audit.note(
            order.actor, Action.END_EVERYBODY, target=target, reason=order.reason, ref=new_ref()
        )
        try:
            await self._sessions.end_all(by=order.actor.name, reason=order.shown_reason)
        except Exception as error:
            await self._audit.outcome(order.actor, entry, error=type(error).__name__)
            raise
        await self._audit.outcome(order.actor, entry, ended=total)
        try:
            return Outcome(total, await self._jobs.start(order.actor, entry, None, expected=total))
        except StoreError:
            # All sessions have ended. Every process removes a few of their records from time to time, without a job.
            return Outcome(total)

    async def cancel(self, actor: Actor, job_id: str) -> Job | DamagedJob | None:
        """Cancel a job, or delete a damaged one, and return it. Return ``None`` if it does not exist."""
        rules.permit(actor.role, Action.CANCEL_JOB)
        return await self._audit.perform(actor, Action.CANCEL_JOB, lambda: self._jobs.cancel(job_id), target=job_id)

    # --- people --------------------------------------------------------------------------------------------------

    async def block(
        self, actor: Actor, user: str, seconds: float | None, reason: str = "", *, keep_sessions: bool = False
    ) -> Outcome:
        """Block or unblock a user's sign-ins. A block ends the user's sessions and the API tokens that the user created.

        Args:
            actor, user, reason: the operator, the user's name and the reason.
            seconds: the duration of the block, from one second to 366 days; ``None`` unblocks the user.
            keep_sessions: whether current sessions continue.

        Raises:
            InvalidInput: ``seconds`` is out of bounds.
            NoSuchUser: no user has this name.
            DamagedUser: the user's record cannot be read.
            NotPermitted: also if the user is staff and the operator is not an admin, or if operators block themselves.
        """
        action = Action.ALLOW if seconds is None else Action.BLOCK
        rules.permit(actor.role, action)
        target, until = "", None
        if seconds is not None:
            target, until = f"{rules.block_seconds(seconds):g} s", self._sessions.clock() + seconds
        person = await self._person(user)
        if not rules.may_block(actor.role, person):
            raise NotPermitted("Only admins can block staff.")
        if seconds is not None and actor.ip and person.id == actor.name:
            raise NotPermitted("You can't block yourself.")
        order = _Order(actor, reason, "", None)
        is_ending = seconds is not None and not keep_sessions
        try:
            await self._audit.perform(
                actor,
                action,
                lambda: self._people.block(person.id, until),
                user=person.id,
                target=target,
                reason=reason,
            )
        except StoreError:
            # The block cannot be stored, on a full disk for example. The sessions may be elsewhere: at least they end.
            if is_ending:
                await self._end_user(order, person.id)
            raise
        if seconds is None:
            return Outcome(0)
        # After the block, so that a sign-in in between is either refused or ended here.
        ended = await self._end_user(order, person.id) if is_ending else Outcome(0)
        await self._tokens.revoke_all_of(person.id)
        return ended

    async def set_role(self, actor: Actor, user: str, role: Role, reason: str = "") -> None:
        """Change a user's role and end their sessions, because session limits depend on the role.

        Raises:
            NoSuchUser: no user has this name.
            DamagedUser: the user's record cannot be read.
            NotPermitted: also if operators try to change their own role.
        """
        rules.permit(actor.role, Action.CHANGE_ROLE)
        # Two admins who demote each other at the same time would leave no admin. The lease makes one of them wait, and
        # ``_check_admin`` then finds that this one is no longer an admin.
        async with self._leases.hold("roles"):
            person = await self._person(user)
            # Commands have no IP address and no account whose role could be checked.
            if actor.ip:
                await self._check_admin(actor, person)

            async def change() -> int:
                # Change the role first, so that a sign-in in between already gets the new limits.
                await self._people.set_role(person.id, role)
                why = reason or N_("Role changed")
                ended = len(await self._sessions.destroy_user(person.id, by=actor.name, reason=why))
                if not role.at_least(MAKER):
                    await self._tokens.revoke_all_of(person.id)
                return ended

            await self._audit.perform(
                actor, Action.CHANGE_ROLE, change, user=person.id, target=role.value, reason=reason
            )

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
            name: 1 to 64 printable characters.
            scopes: the permissions of the token, at least one.
            lifetime: in seconds, from one second to 3650 days; ``None`` for a token that never expires.

        Returns:
            The token in clear text; only its hash is stored.

        Raises:
            InvalidInput: the name, the scopes or the lifetime are out of bounds.
        """
        rules.permit(actor.role, Action.CREATE_TOKEN)
        name, chosen = rules.check_token_name(name), rules.check_scopes(scopes)
        lifetime = rules.check_token_lifetime(lifetime)
        return await self._audit.perform(
            actor,
            Action.CREATE_TOKEN,
            lambda: self._tokens.create(name, chosen, lifetime, actor.name),
            target=f"{name} ({' '.join(chosen)})",
        )

    async def revoke_token(self, actor: Actor, handle: str) -> bool:
        """Revoke an API token. Return ``False`` if it does not exist."""
        rules.permit(actor.role, Action.REVOKE_TOKEN)
        return await self._audit.perform(actor, Action.REVOKE_TOKEN, lambda: self._tokens.revoke(handle), target=handle)

    async def reveal(self, actor: Actor, handle: str, reason: str) -> dict[str, JSONValue] | None:
        """Return the decrypted values of a session, or ``None`` if it is not live. Raises ``InvalidInput`` without a reason."""
        rules.permit(actor.role, Action.REVEAL)
        reason = rules.check_reason(reason)
        return await self._audit.perform(
            actor,
            Action.REVEAL,
            lambda: self._sessions.values_of(handle),
            user=await self._user_of(handle),
            target=handle,
            reason=reason,
        )
