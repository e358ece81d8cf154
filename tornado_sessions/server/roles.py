"""``Role``: what a user may do.

Plain data, with nothing of this package below it: accounts, operations, pages and commands all import it.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Role"]


class Role(StrEnum):
    """What a user may do; each role may do all that the ones before it may."""

    USER = "user"  #: see and end their own sessions
    VIEWER = "viewer"  #: look at everybody's sessions
    OPERATOR = "operator"  #: end anybody's sessions
    ADMIN = "admin"  #: give roles, create API tokens, look into sessions

    @property
    def is_staff(self) -> bool:
        """Whether this role sees other people's sessions."""
        return self.at_least(Role.VIEWER)

    def at_least(self, other: Role) -> bool:
        """Whether this role may do everything that ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)
