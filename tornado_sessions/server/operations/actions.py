"""``Actions``: everything an operator can do. Pages, API and commands all use it; it checks the rules and writes the audit log.

It must not know requests or where accounts are stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal

from tornado_sessions.codec import JSONValue
from tornado_sessions.errors import StoreError
from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit, new_ref
from tornado_sessions.server.operations.ending import Endings
from tornado_sessions.server.operations.errors import ELSEWHERE, DamagedUser, NoSuchUser, NotPermitted
from tornado_sessions.server.operations.jobs import Jobs
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.order import Order, Outcome
from tornado_sessions.server.operations.people import NO_END, BlockedPeople, People, PeopleWithRoles, Person
from tornado_sessions.server.operations.tokens import MAKER, Tokens
from tornado_sessions.server.roles import Role

__all__ = ["Actions", "BlockDuration", "Outcome"]

#: How long a block lasts, in seconds, or that it lasts until somebody ends it.
BlockDuration = float | Literal["no end"]


class Actions(Endings):
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
        super().__init__(sessions, people, audit, jobs)
        self._tokens = tokens
        self._leases = leases

    @cached_property
    def can_block(self) -> bool:
        """Whether sign-ins can be blocked here."""
        return isinstance(self._people, BlockedPeople)

    @cached_property
    def can_set_role(self) -> bool:
        """Whether roles are managed here."""
        return isinstance(self._people, PeopleWithRoles)

    # --- people --------------------------------------------------------------------------------------------------

    async def block(
        self, actor: Actor, user: str, seconds: BlockDuration | None, reason: str = "", *, keep_sessions: bool = False
    ) -> Outcome:
        """Block or unblock a user's sign-ins. A block ends the user's sessions and the API tokens that the user created.

        Args:
            actor, user, reason: the operator, the user's name and the reason.
            seconds: the duration of the block, from one second to 366 days, or ``"no end"``; ``None`` unblocks the user.
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
            target, until = "no end", NO_END
            if seconds != "no end":
                target, until = f"{rules.block_seconds(seconds):g} s", self._sessions.clock() + seconds
        people, person = self._people, await self._person(user)
        if not isinstance(people, BlockedPeople):
            raise NotPermitted(ELSEWHERE)
        if not rules.may_block(actor.role, person):
            raise NotPermitted("Only admins can block staff.")
        if seconds is not None and actor.ip and person.id == actor.name:
            raise NotPermitted("You can't block yourself.")
        order = Order(actor, reason, "", None)
        is_ending = seconds is not None and not keep_sessions
        try:
            await self._audit.perform(
                actor,
                action,
                lambda: people.block(person.id, until),
                user=person.id,
                target=target,
                reason=reason,
            )
        except StoreError:
            # The block cannot be stored, on a full disk for example. The sessions may be elsewhere: at least they end.
            if is_ending:
                await self.end_user(order, person.id)
            raise
        if seconds is None:
            return Outcome(0)
        # After the block, so that a sign-in in between is either refused or ended here.
        ended = await self.end_user(order, person.id) if is_ending else Outcome(0)
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
        people = self._people
        if not isinstance(people, PeopleWithRoles):
            raise NotPermitted(ELSEWHERE)
        # Two admins who demote each other at the same time would leave no admin. The lease makes one of them wait, and
        # ``_check_admin`` then finds that this one is no longer an admin.
        async with self._leases.hold("roles"):
            person = await self._person(user)
            # Commands have no IP address and no account whose role could be checked.
            if actor.ip:
                await self._check_admin(actor, person)

            ref = new_ref()

            async def change() -> int:
                # Change the role first, so that a sign-in in between already gets the new limits.
                await people.set_role(person.id, role)
                why = reason or N_("Role changed")
                ended = len(await self._sessions.destroy_user(person.id, by=actor.name, reason=why, action=ref))
                if not role.at_least(MAKER):
                    await self._tokens.revoke_all_of(person.id)
                return ended

            await self._audit.perform(
                actor, Action.CHANGE_ROLE, change, user=person.id, target=role.value, reason=reason, ref=ref
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
