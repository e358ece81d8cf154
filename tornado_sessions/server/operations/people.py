"""``People``: the protocol through which operations access users.

The server implements it with its accounts, a host application with its own users. It must not know either of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tornado_sessions.server.roles import Role

__all__ = ["People", "Person", "id_of"]


@dataclass(frozen=True)
class Person:
    """A user.

    Attributes:
        id: the user id in their sessions.
        name: the name shown to operators.
        role: their role in the dashboard; ``None`` for no access.
        two_steps: whether they use two-step verification; ``None`` if unknown.
        blocked_until: the end of a block of their sign-ins, in UTC seconds; ``None`` if not blocked.
        damage: why their record cannot be read; then only ``id`` and ``name`` are set. Empty for a readable record.
    """

    id: str
    name: str
    role: Role | None = None
    two_steps: bool | None = None
    blocked_until: float | None = None
    damage: str = ""

    def __post_init__(self) -> None:
        if self.role is not None:
            # Host applications may pass a plain string.
            object.__setattr__(self, "role", Role(self.role))


class People(Protocol):
    """The users of the server or of a host application. Each method may raise ``StoreUnavailable``."""

    async def get(self, name: str) -> Person | None:
        """Return the person with this id or username, ignoring case, or ``None``."""

    async def with_role(self, role: Role) -> Sequence[Person]:
        """Return at most a hundred people with exactly this role, including damaged ones."""

    async def set_role(self, user_id: str, role: Role) -> None:
        """Change a person's role. The caller ends their sessions."""

    async def block(self, user_id: str, until: float | None) -> None:
        """Block a person's sign-ins until a time in UTC seconds; ``None`` unblocks them."""


async def id_of(people: People, name: str) -> str:
    """Return the user id of a typed name, or the name itself if the person does not exist or their record is damaged."""
    person = await people.get(name)
    return person.id if person is not None and not person.damage else name
