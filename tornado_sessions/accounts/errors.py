"""What can go wrong with an account, drawn as one branch of the package's tree of errors.

    SessionError
    └── AccountError
        ├── Refused            the form's fields have faults; each is told, translatable
        ├── Taken              the store: a name or an address is somebody else's already
        ├── WrongCredentials   no such name, or not its password: nobody is told which
        ├── Throttled          too many failures; try again later
        └── Busy               more passwords wait to be hashed than can be in a sensible time

It must not know pages; messages are English and translated where they are shown.
"""

from __future__ import annotations

import math

from tornado_sessions.errors import SessionError

__all__ = ["AccountError", "Busy", "Refused", "Taken", "Throttled", "WrongCredentials"]


class AccountError(SessionError):
    """Root of this branch."""

    status = 400


class Refused(AccountError):
    """A form has faults.

    Args:
        faults: a sentence for each field.
    """

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults.items()))
        self.faults = faults


class Taken(AccountError):
    """``field`` (``username`` or ``email``) has a value that another account has, without regard to case."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the {field} is taken")
        self.field = field


class WrongCredentials(AccountError):
    """The name or the password is wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class Throttled(AccountError):
    """Too many failures; ``retry_after`` seconds until the next attempt counts."""

    status = 429

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many attempts; try again later")
        self.retry_after = max(1, math.ceil(retry_after))


class Busy(AccountError):
    """Too many passwords are being checked at this moment."""

    status = 503
    retry_after = 5

    def __init__(self) -> None:
        super().__init__("too many passwords are being checked; try again in a moment")
