"""``People``: the protocol through which operations access users.

The server implements it with its accounts, a host application with its own users. It must not know either of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from tornado_sessions.record import LATEST
from tornado_sessions.server.roles import Role

__all__ = [
    "NO_END",
    "BlockedPeople",
    "Invitation",
    "ListedPeople",
    "ManagedPeople",
    "Note",
    "People",
    "PeoplePage",
    "PeopleQuery",
    "PeopleWithRoles",
    "Person",
    "SearchedPeople",
    "id_of",
]


#: The end of a block that lasts until somebody unblocks the person, in UTC seconds: the latest time that calendars can show.
NO_END = LATEST
#: Records a change that is about to be made, after all checks; see ``ManagedPeople``.
Note = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Person:
    """A user.

    Attributes:
        id: the user id in their sessions.
        name: the name shown to operators.
        role: their role in the dashboard; ``None`` for no access.
        two_steps: whether they use two-step verification; ``None`` if unknown.
        blocked_until: the end of a block of their sign-ins, in UTC seconds (``NO_END`` for one without an end); ``None`` if not
            blocked.
        email, created_at, password_changed_at: of their account, if they are known; times in UTC seconds.
        has_password: whether ``verify`` knows a password of theirs; without one, they sign in again instead.
        proved_at: when they last proved who they are, in UTC seconds; ``None``: at the sign-in of their session.
        details: further facts about them, each a label and a value: a text, or one for each language, a number or a ``bool``.
        damage: why their record cannot be read; then only ``id`` and ``name`` are set. Empty for a readable record.
    """

    id: str
    name: str
    role: Role | None = None
    two_steps: bool | None = None
    blocked_until: float | None = None
    damage: str = ""
    email: str = ""
    created_at: float | None = None
    password_changed_at: float | None = None
    has_password: bool = True
    proved_at: float | None = None
    details: tuple[tuple[object, object], ...] = ()

    def is_blocked(self, now: float) -> bool:
        """Return whether their sign-ins are blocked at a time in UTC seconds."""
        return self.blocked_until is not None and self.blocked_until > now

    def __post_init__(self) -> None:
        if self.role is not None:
            # Host applications may pass a plain string.
            object.__setattr__(self, "role", Role(self.role))


class People(Protocol):
    """The users of the server or of a host application. Each method may raise ``StoreUnavailable``."""

    async def get(self, name: str) -> Person | None:
        """Return the person with this id, or ``None``. The server also finds usernames, ignoring case."""


@runtime_checkable
class PeopleWithRoles(Protocol):
    """People whose roles are managed in the dashboard. Optional."""

    async def with_role(self, role: Role) -> Sequence[Person]:
        """Return at most a hundred people with exactly this role, including damaged ones."""

    async def set_role(self, user_id: str, role: Role) -> None:
        """Change a person's role. The caller ends their sessions."""


@runtime_checkable
class BlockedPeople(Protocol):
    """People whose sign-ins can be blocked. Optional."""

    async def block(self, user_id: str, until: float | None) -> None:
        """Block a person's sign-ins until a time in UTC seconds (see ``NO_END``); ``None`` unblocks them."""


class PeopleQuery(NamedTuple):
    """A selection of people, in the order of their names.

    Attributes:
        text: the beginning of the username, ignoring case; empty for all.
        role: only people with this role.
        blocked: only people whose sign-ins are blocked, or only those whose are not; ``None`` for both.
        cursor: a cursor of the page before or after; empty for the first page.
        limit: maximum number of people.
    """

    text: str = ""
    role: Role | None = None
    blocked: bool | None = None
    cursor: str = ""
    limit: int = 50

    @property
    def is_filtered(self) -> bool:
        """Whether it excludes anybody."""
        return bool(self.text) or self.role is not None or self.blocked is not None


class PeoplePage(NamedTuple):
    """One page of people. A page reads a bounded number of records, so it may be short although another follows."""

    people: Sequence[Person]
    next_cursor: str | None = None
    previous_cursor: str | None = None


@runtime_checkable
class ListedPeople(Protocol):
    """People who can be listed. Optional: without it and ``SearchedPeople``, the list of users only finds exact names."""

    async def page(self, query: PeopleQuery) -> PeoplePage:
        """Return one page, which an index serves at any depth. Raises ``QueryError`` if the cursor is invalid."""


@runtime_checkable
class SearchedPeople(Protocol):
    """People who can be searched, but not listed. Optional, for host applications."""

    async def search(self, text: str, limit: int) -> Sequence[Person]:
        """Return at most ``limit`` people whom a text finds; which ones, the application decides."""


class Invitation(NamedTuple):
    """An open invitation. ``id`` is not its link, which is shown once; ``expires_at`` is in UTC seconds."""

    id: str
    role: Role
    made_by: str
    expires_at: float


@runtime_checkable
class ManagedPeople(Protocol):
    """People whose credentials an admin may reset, and whom an admin may invite. Optional.

    ``note`` is awaited right before a change; if it fails, nothing changes.
    """

    async def reset_password(self, user_id: str, new: str | None, made_by: str, note: Note) -> str | None:
        """Replace a person's password; the caller ends their sessions.

        Args:
            user_id: the person.
            new: the new password. ``None``: the old one stops working, and nobody knows the new one.
            made_by: the name of the admin.
            note: see above.

        Returns:
            Without ``new``, the path of a one-time link by which the person sets a password; otherwise ``None``.
        """

    async def reset_two_steps(self, user_id: str, made_by: str, note: Note) -> str:
        """Return the path of a one-time link by which a person turns two-step verification off. Until then it stays on."""

    async def invite(self, role: Role, made_by: str, note: Note) -> str:
        """Return the path of a one-time link that creates an account with a role."""

    async def invitations(self) -> Sequence[Invitation]:
        """Return the open invitations."""

    async def revoke_invitation(self, invitation: str) -> bool:
        """Delete an open invitation by its id; return whether there was one."""


async def id_of(people: People, name: str) -> str:
    """Return the user id of a typed name, or the name itself if the person does not exist or their record is damaged."""
    person = await people.get(name)
    return person.id if person is not None and not person.damage else name
