"""What operators do: what pages, API and commands share, so that each act is said once and always audited.

It must not know requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.codec import JSONValue
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Where
from tornado_sessions.server.accounts.errors import NoAccount
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User, key_of
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit
from tornado_sessions.server.operations.errors import NotPermitted
from tornado_sessions.server.operations.jobs import DamagedJob, Job, Jobs, JobState
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.tokens import Scope, Tokens
from tornado_sessions.server.roles import Role

__all__ = ["Actions", "Outcome"]

#: Sessions of one user that are ended at once; more are a job.
_AT_ONCE = 500
#: Seconds that an act waits for its job, so that most are over when it answers.
_WAIT = 3.0


class Outcome(NamedTuple):
    """What an act came to.

    Attributes:
        ended: how many sessions, so far.
        job: what goes on with it, if there is one.
    """

    ended: int
    job: Job | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it is not over yet."""
        return self.job is not None and self.job.state is JobState.RUNNING


class Actions:
    """What operators can do.

    Args:
        sessions, accounts, tokens: what they do it to.
        audit: where each act is written first.
        jobs: run what takes longer.
        leases: let one process at a time change roles.
    """

    def __init__(
        self, sessions: Sessions, accounts: Accounts, tokens: Tokens, audit: Audit, jobs: Jobs, leases: Leases
    ) -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._tokens = tokens
        self._audit = audit
        self._jobs = jobs
        self._leases = leases

    async def end(self, actor: Actor, handles: Sequence[str], reason: str = "", *, tell: bool = True) -> Outcome:
        """End sessions by handle; each gets an audit entry of its own, in its user's history.

        Args:
            actor: the operator.
            handles: 1 to ``rules.MAX_HANDLES``.
            reason: goes into the audit log.
            tell: whether the user sees the reason.

        Raises:
            InvalidInput: no handle, or too many.
            NotPermitted: the operator's role is too low.
        """
        rules.permit(actor.role, Action.END_SESSION)
        named = rules.handles_named(handles)
        users = await asyncio.gather(*map(self._owner, named))
        entries = {
            handle: await self._audit.note(actor, Action.END_SESSION, user=user, target=handle, reason=reason)
            for handle, user in zip(named, users, strict=True)
        }
        ended = set(await self._sessions.destroy_many(named, by=actor.name, reason=reason if tell else ""))
        for handle, entry in entries.items():
            await self._audit.complete(entry, int(handle in ended))
        return Outcome(len(ended))

    async def _owner(self, handle: str) -> str:
        found = await self._sessions.inspect(handle)
        return (found.user or "") if found is not None else ""

    async def end_user(
        self, actor: Actor, user: str, reason: str = "", spared: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End every session of a user but ``spared``. Raises ``InvalidInput`` and ``NotPermitted``."""
        rules.permit(actor.role, Action.END_USER)
        user = await self._accounts.name_of(rules.user_named(user))
        where = rules.cut_off(Where(user=user), self._sessions.clock())
        count = await self._sessions.count(where)
        if count.total > _AT_ONCE:
            return await self._begin(actor, Action.END_USER, where, reason, spared, user=user, tell=tell)

        async def run() -> int:
            """The act itself, between its two audit writes."""
            told = reason if tell else ""
            return len(await self._sessions.destroy_user(user, spared, by=actor.name, reason=told))

        return Outcome(await self._audit.ended(actor, Action.END_USER, user, reason, run, user))

    async def end_where(
        self, actor: Actor, where: Where, reason: str, spared: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End every session that filters match but ``spared``; those created after the cut-off are kept.

        Raises:
            InvalidInput: there is no filter, or no reason.
            NotPermitted: the operator's role is too low.
        """
        rules.permit(actor.role, Action.END_MATCHING)
        where, reason = rules.cut_off(rules.filters_named(where), self._sessions.clock()), rules.reason_given(reason)
        act, user = Action.END_MATCHING, where.user or ""
        return await self._begin(actor, act, where, reason, spared, user=user, tell=tell)

    async def _begin(
        self, actor: Actor, act: Action, where: Where, reason: str, spared: str | None, *, user: str, tell: bool
    ) -> Outcome:
        expected = (await self._sessions.count(where)).total
        entry = await self._audit.note(actor, act, user=user, target=described(where), reason=reason)
        job = await self._jobs.start(actor, entry, where, spared=spared, expected=expected, tell=tell)
        job = await self._jobs.wait(job, _WAIT)
        return Outcome(job.ended, job)

    async def end_everybody(self, actor: Actor, reason: str, *, but_own: bool = False, tell: bool = True) -> Outcome:
        """End every session there is, at once. The records are removed by a job.

        Raises:
            InvalidInput: there is no reason.
            NotPermitted: the operator's role is too low.
        """
        rules.permit(actor.role, Action.END_EVERYBODY)
        reason = rules.reason_given(reason)
        count = await self._sessions.count()
        target = "but one's own" if but_own else ""
        entry = await self._audit.note(actor, Action.END_EVERYBODY, target=target, reason=reason)
        await self._sessions.end_all(by=actor.name, reason=reason if tell else "")
        # All of them have ended by now; the job only removes what is left of them.
        await self._audit.complete(entry, count.total)
        job = await self._jobs.start(actor, entry, None, spared=None, expected=count.total, tell=tell)
        return Outcome(count.total, job)

    async def cancel(self, actor: Actor, job_id: str) -> Job | DamagedJob | None:
        """Stop a job, or remove a damaged one. Returns it, or ``None`` when there is none. Raises ``NotPermitted``."""
        rules.permit(actor.role, Action.CANCEL_JOB)
        await self._audit.note(actor, Action.CANCEL_JOB, target=job_id)
        return await self._jobs.cancel(job_id)

    async def block(self, actor: Actor, user: str, seconds: float | None, reason: str = "") -> None:
        """Block a user's log-ins for some seconds, or allow them again.

        Args:
            actor: the operator.
            user: the name of the account.
            seconds: for how long, from one second to ``rules.MAX_BLOCK``; ``None``: allow log-ins again.
            reason: goes into the audit log.

        Raises:
            InvalidInput: ``seconds`` is out of bounds.
            NoAccount: there is no such account.
            NotPermitted: the account belongs to staff, and the operator is no admin.
        """
        action = Action.ALLOW if seconds is None else Action.BLOCK
        rules.permit(actor.role, action)
        if seconds is not None:
            seconds = rules.block_seconds(seconds)
        account = await self._account(user)
        if not rules.may_block(actor.role, account):
            raise NotPermitted("only an admin blocks somebody who works here")
        user = account.name
        await self._audit.note(
            actor, action, user=user, target="" if seconds is None else f"{seconds:g} s", reason=reason
        )
        await self._accounts.block(user, seconds)

    async def set_role(self, actor: Actor, user: str, role: Role, reason: str = "") -> None:
        """Give a user a role, and end their sessions: staff log in again, with limits of their own.

        Raises:
            NoAccount: there is no such account.
            NotPermitted: it is the operator's own account, or the operator is no admin.
        """
        rules.permit(actor.role, Action.CHANGE_ROLE)
        # Two admins who demote each other at once would leave none: the second finds that he is no admin any more.
        async with self._leases.hold("roles"):
            await self._set_role(actor, user, role, reason)

    async def _set_role(self, actor: Actor, user: str, role: Role, reason: str) -> None:
        account = await self._account(user)
        user = account.name
        # Commands have no address, and are nobody's.
        if actor.ip and account.key == key_of(actor.name):
            raise NotPermitted("nobody changes their own role")
        if actor.ip and not (await self._accounts.role_of(actor.name)).at_least(Role.ADMIN):
            raise NotPermitted("only an admin changes roles")

        async def run() -> int:
            """The act itself, between its two audit writes."""
            await self._accounts.set_role(user, role)
            return len(await self._sessions.destroy_user(user, by=actor.name, reason=reason or "change of role"))

        await self._audit.ended(actor, Action.CHANGE_ROLE, role.value, reason, run, user)

    async def _account(self, user: str) -> User:
        """The account of a name, however it is written."""
        account = await self._accounts.get(user)
        if account is None:
            raise NoAccount
        return account

    async def make_token(self, actor: Actor, name: str, scopes: Sequence[Scope], lifetime: float | None) -> str:
        """Create an API token.

        Args:
            actor: the admin.
            name: for people; 1 to ``rules.MAX_NAME`` printable characters.
            scopes: what its bearer may do; at least one.
            lifetime: seconds, from one second to ``rules.MAX_TOKEN_LIFETIME``; ``None``: until it is revoked.

        Returns:
            The token in clear; only its hash is stored.

        Raises:
            InvalidInput: one of these is out of bounds.
            NotPermitted: the operator is no admin.
        """
        rules.permit(actor.role, Action.CREATE_TOKEN)
        name, lifetime, scopes = rules.token_name(name), rules.token_lifetime(lifetime), rules.scopes_named(scopes)
        await self._audit.note(actor, Action.CREATE_TOKEN, target=f"{name} ({' '.join(scopes)})")
        return await self._tokens.create(name, scopes, lifetime, actor.name)

    async def revoke_token(self, actor: Actor, handle: str) -> bool:
        """End an API token. Returns whether there was one. Raises ``NotPermitted``."""
        rules.permit(actor.role, Action.REVOKE_TOKEN)
        await self._audit.note(actor, Action.REVOKE_TOKEN, target=handle)
        return await self._tokens.revoke(handle)

    async def reveal(self, actor: Actor, handle: str, reason: str) -> dict[str, JSONValue] | None:
        """The values of a session, in clear; ``None`` when it is not live.

        Raises:
            InvalidInput: there is no reason.
            NotPermitted: the operator is no admin.
        """
        rules.permit(actor.role, Action.REVEAL)
        reason = rules.reason_given(reason)
        await self._audit.note(actor, Action.REVEAL, user=await self._owner(handle), target=handle, reason=reason)
        return await self._sessions.values_of(handle)


def described(where: Where) -> str:
    """Filters as people write them."""
    return " ".join(f"{name}={value}" for name, value in where.given.items() if name != "created_until")
