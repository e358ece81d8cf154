"""``People``: what operations need to know about the people who sign in, as a protocol.

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
    """Somebody who signs in.

    Attributes:
        id: the user id of their sessions.
        name: what operators call them.
        role: what they may do in the dashboard; ``None``: nothing.
        two_steps: whether they sign in with more than a password; ``None``: not known.
        blocked_until: no sign-in before this time, in UTC seconds; ``None``: not blocked.
        damage: why their record cannot be read; empty for a sound one. Then only ``id`` and ``name`` are known.
    """

    id: str
    name: str
    role: Role | None = None
    two_steps: bool | None = None
    blocked_until: float | None = None
    damage: str = ""

    def __post_init__(self) -> None:
        if self.role is not None:
            # A host application may write "operator".
            object.__setattr__(self, "role", Role(self.role))


class People(Protocol):
    """The people of a server or of a host application. Each method may raise ``StoreUnavailable``."""

    async def get(self, name: str) -> Person | None:
        """Return the person with this id or user name, which may be spelled in another case; ``None``: there is none."""

    async def with_role(self, role: Role) -> Sequence[Person]:
        """Return the people who have exactly this role, damaged ones included; at most a hundred."""

    async def set_role(self, user_id: str, role: Role) -> None:
        """Give a person a role. Their sessions are ended by the caller."""

    async def block(self, user_id: str, until: float | None) -> None:
        """Refuse a person's sign-ins until a time in UTC seconds; ``None``: allow them again."""


async def id_of(people: People, name: str) -> str:
    """Return the user id that a typed name means; the name as given when there is no such person, or their record is damaged."""
    person = await people.get(name)
    return person.id if person is not None and not person.damage else name
