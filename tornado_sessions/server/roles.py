"""``Role``: the roles of users. Plain data that all layers of the server import; it must not import any of them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """The role of a user. Each role includes the permissions of the previous ones."""

    USER = "user"  #: view and end their own sessions
    VIEWER = "viewer"  #: view all sessions
    OPERATOR = "operator"  #: end sessions of others
    ADMIN = "admin"  #: change roles, create API tokens, reveal the values of sessions

    @property
    def is_staff(self) -> bool:
        """Whether this role can view other users' sessions."""
        return self.at_least(Role.VIEWER)

    def at_least(self, other: Role) -> bool:
        """Return whether this role includes the permissions of ``other``."""
        order = list(Role)
        return order.index(self) >= order.index(other)
