"""``Role``: what a user may do. Plain data that every layer of the server imports; it must not import any of them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """What a user may do; each role includes the ones before it."""

    USER = "user"  #: view and end their own sessions
    VIEWER = "viewer"  #: view all sessions
    OPERATOR = "operator"  #: end sessions of others
    ADMIN = "admin"  #: change roles, create API tokens, reveal the values of sessions

    @property
    def is_staff(self) -> bool:
        """Whether this role sees sessions of others."""
        return self.at_least(Role.VIEWER)

    def at_least(self, other: Role) -> bool:
        """Return whether this role may do everything that ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)
