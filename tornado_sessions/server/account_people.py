"""``AccountPeople``: implements ``People`` with the server's accounts.

It must not know how accounts are stored or what operations do with people.
"""

from __future__ import annotations

from typing_extensions import override

from tornado_sessions.server.accounts.errors import NoAccount
from tornado_sessions.server.accounts.links import Links
from tornado_sessions.server.accounts.listing import Choice, Listing
from tornado_sessions.server.accounts.password_rules import new_password
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.operations.people import (
    BlockedPeople,
    Invitation,
    ListedPeople,
    ManagedPeople,
    Note,
    People,
    PeoplePage,
    PeopleQuery,
    PeopleWithRoles,
    Person,
)
from tornado_sessions.server.roles import Role

__all__ = ["AccountPeople"]


class AccountPeople(People, PeopleWithRoles, BlockedPeople, ListedPeople, ManagedPeople):
    """The server's accounts as people. The id of a person is that of the account."""

    def __init__(self, accounts: Accounts, listing: Listing, links: Links) -> None:
        self._accounts = accounts
        self._listing = listing
        self._links = links
        #: Tells people what an admin has done; ``None`` where no mail is sent.
        self.mail: Mail | None = None

    @override
    async def get(self, user_id: str) -> Person | None:
        found = await self._accounts.look_up(user_id)
        return self._person(found) if found is not None else None

    @override
    async def page(self, query: PeopleQuery) -> PeoplePage:
        choice = Choice(query.text, query.role, query.blocked)
        found = await self._listing.page(choice, query.cursor, query.limit)
        return PeoplePage(list(map(self._person, found.users)), found.next_cursor, found.previous_cursor)

    @override
    async def with_role(self, role: Role) -> list[Person]:
        return list(map(self._person, await self._accounts.with_role(role)))

    @override
    async def set_role(self, user_id: str, role: Role) -> None:
        await self._accounts.set_role(user_id, role)

    @override
    async def block(self, user_id: str, until: float | None) -> None:
        await self._accounts.block(user_id, until)

    @override
    async def reset_password(self, user_id: str, new: str | None, made_by: str, note: Note) -> str | None:
        user = await self._accounts.reset_password(user_id, new or new_password(), note)
        await self._tell(user, Kind.PASSWORD_RESET)
        return None if new else "/password/" + await self._links.for_password(user, made_by)

    @override
    async def reset_two_steps(self, user_id: str, made_by: str, note: Note) -> str:
        user = await self._accounts.get(user_id)
        if user is None:
            raise NoAccount
        await note()
        await self._tell(user, Kind.TWO_STEPS_RESET)
        return "/two-steps/" + await self._links.for_two_steps(user, made_by)

    async def _tell(self, user: User, kind: Kind) -> None:
        if self.mail is not None:
            await self.mail.tell(user, kind)

    @override
    async def invite(self, role: Role, made_by: str, note: Note) -> str:
        await note()
        return "/invite/" + await self._links.for_invitation(role, made_by)

    @override
    async def invitations(self) -> list[Invitation]:
        return [
            Invitation(link.key, link.role, link.made_by, link.expires_at) for link in await self._links.invitations()
        ]

    @override
    async def revoke_invitation(self, invitation: str) -> bool:
        return await self._links.revoke(invitation)

    def _person(self, user: User | DamagedUser) -> Person:
        if isinstance(user, DamagedUser):
            return Person(user.id, user.name, damage=user.why)
        return Person(
            user.id,
            user.name,
            user.role,
            user.has_two_steps,
            user.blocked_until,
            email=user.email,
            created_at=user.created_at,
            password_changed_at=user.password_changed_at,
            has_password=not user.issuer,
            details=self._accounts.fields.shown(user.extra),
        )
