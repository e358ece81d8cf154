"""``Credentials``: an admin resets a password or the second step, and invites staff. Pages, API and commands all use it.

It contains all rules for this. It must not know accounts, pages or how a link is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.manager import Sessions
from tornado_sessions.messages import N_
from tornado_sessions.record import Cause
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor, Audit, new_ref
from tornado_sessions.server.operations.errors import ELSEWHERE, DamagedUser, InvalidInput, NoSuchUser, NotPermitted
from tornado_sessions.server.operations.people import Invitation, ManagedPeople, People, Person
from tornado_sessions.server.roles import Role

__all__ = ["Credentials", "Reset"]


class Reset(NamedTuple):
    """The result of resetting a password or two-step verification.

    Attributes:
        person: whose it is.
        ended: the number of sessions that ended.
        link: the path of the link that the person opens; empty if the caller gave the new password.
    """

    person: Person
    ended: int
    link: str


class Credentials:
    """Resets credentials and invites staff.

    Every method first raises ``NotPermitted`` if the operator's role is too low, or if the people of this server cannot be managed
    here. It writes the audit entry right before it changes anything.

    Args:
        people: see ``ManagedPeople``.
        sessions: end with the password.
        audit: the audit log.
    """

    #: Whether anybody signs in here with a password. Otherwise there is nothing to reset, and an invitation would lead nowhere.
    are_used = True

    def __init__(self, people: People, sessions: Sessions, audit: Audit) -> None:
        self._people = people
        self._sessions = sessions
        self._audit = audit

    @property
    def is_available(self) -> bool:
        """Whether the people of this server can be managed here."""
        return self.are_used and isinstance(self._people, ManagedPeople)

    async def reset_password(self, actor: Actor, user: str, reason: str = "", *, new: str | None = None) -> Reset:
        """Replace a user's password and end their sessions.

        Args:
            actor, user, reason: the admin, the user's name and the reason.
            new: the new password. ``None``: the old one stops working, and the result has a link by which the user sets a new one
                within 30 minutes. Only a hash of it is stored.

        Raises:
            NoSuchUser: no user has this name. ``DamagedUser``: the record cannot be read.
            NotPermitted: also for one's own account, which has a page for this.
        """
        people, person = await self._managed(actor, user, Action.RESET_PASSWORD)
        ref = new_ref()

        async def note() -> None:
            await self._audit.note(actor, Action.RESET_PASSWORD, user=person.id, reason=reason.strip(), ref=ref)

        link = await people.reset_password(person.id, new, actor.name, note)
        ended = len(await self._sessions.destroy_user(person.id, cause=Cause.PASSWORD, by=actor.name, action=ref))
        await self._audit.note(actor, Action.OUTCOME, user=person.id, ended=ended, ref=ref)
        return Reset(person, ended, link or "")

    async def reset_two_steps(self, actor: Actor, user: str, reason: str = "") -> Reset:
        """Make a link by which a user turns two-step verification off with the password, within 30 minutes.

        Nothing changes until it is used, and using it requires the password. Then all sessions of the user end.
        Arguments and errors are those of ``reset_password``.

        Raises:
            InvalidInput: the user has no two-step verification.
        """
        people, person = await self._managed(actor, user, Action.RESET_TWO_STEPS)
        if not person.two_steps:
            raise InvalidInput("Two-step verification of %s is off.", person.name)

        async def note() -> None:
            await self._audit.note(actor, Action.RESET_TWO_STEPS, user=person.id, reason=reason.strip())

        return Reset(person, 0, await people.reset_two_steps(person.id, actor.name, note))

    async def _managed(self, actor: Actor, user: str, action: Action) -> tuple[ManagedPeople, Person]:
        people, person = self._permitted(actor, action), await self._people.get(user)
        if person is None:
            raise NoSuchUser
        if person.damage:
            raise DamagedUser
        # Commands have no IP address and no account of their own.
        if actor.ip and person.id == actor.name:
            raise NotPermitted(N_("Use your account settings for your own account."))
        return people, person

    def _permitted(self, actor: Actor, action: Action) -> ManagedPeople:
        rules.permit(actor.role, action)
        if not self.are_used or not isinstance(self._people, ManagedPeople):
            raise NotPermitted(ELSEWHERE)
        return self._people

    # --- invitations ---------------------------------------------------------------------------------------------

    async def invite(self, actor: Actor, role: Role, reason: str = "") -> str:
        """Return the path of a one-time link that creates an account with a role of staff. Only a hash of it is stored.

        Raises:
            InvalidInput: the role is none of staff.
        """
        people = self._permitted(actor, Action.INVITE)
        if not role.is_staff:
            raise InvalidInput("%s must be one of: %s.", "role", ", ".join(one for one in Role if one.is_staff))

        async def note() -> None:
            await self._audit.note(actor, Action.INVITE, target=role.value, reason=reason.strip())

        return await people.invite(role, actor.name, note)

    async def invitations(self) -> Sequence[Invitation]:
        """Return the open invitations; none if people cannot be invited here."""
        return await self._people.invitations() if isinstance(self._people, ManagedPeople) else []

    async def revoke_invitation(self, actor: Actor, invitation: str) -> bool:
        """Delete an open invitation by its id; return whether there was one."""
        people = self._permitted(actor, Action.REVOKE_INVITATION)
        return await self._audit.perform(
            actor, Action.REVOKE_INVITATION, lambda: people.revoke_invitation(invitation), target=invitation[:8]
        )
