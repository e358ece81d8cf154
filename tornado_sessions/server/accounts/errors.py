"""What can go wrong with an account, drawn as one branch of the package's tree of errors.

    SessionError
    └── AccountError
        ├── InvalidForm            the form's fields have faults; each is told, translatable
        ├── AlreadyTaken              the store: a name or an address is somebody else's already
        ├── WrongCredentials   no such name, or not its password: nobody is told which
        │   └── WrongCode      the password was right, the code of the second step is not
        ├── Blocked            an operator keeps this account from logging in for a while
        ├── NoAccount          the account is gone
        ├── DamagedAccount     its record cannot be read: nobody signs in with it until it is repaired
        ├── LinkUsed           the link that makes the first operator was used meanwhile
        ├── Throttled          too many failures; try again later
        └── HasherBusy               more passwords wait to be hashed than can be in a sensible time

It must not know pages; messages are English and translated where they are shown.
"""

from __future__ import annotations

import math

from tornado_sessions.errors import SessionError

__all__ = [
    "AccountError",
    "AlreadyTaken",
    "Blocked",
    "DamagedAccount",
    "HasherBusy",
    "InvalidForm",
    "LinkUsed",
    "NoAccount",
    "Throttled",
    "WrongCode",
    "WrongCredentials",
]


class AccountError(SessionError):
    """Root of this branch."""

    status = 400
    #: The message is written for the person who meets it, whatever the status.
    is_public = True


class InvalidForm(AccountError):
    """A form has faults.

    Args:
        faults: a sentence for each field.
    """

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults.items()))
        self.faults = faults


class AlreadyTaken(AccountError):
    """``field`` (``username`` or ``email``) has a value that another account has, without regard to case."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the {field} is taken")
        self.field = field


class WrongCredentials(AccountError):
    """The name or the password is wrong."""

    status = 401

    def __init__(self, message: str = "the name or the password is wrong") -> None:
        super().__init__(message)


class WrongCode(WrongCredentials):
    """The code is wrong, old, or was used before."""

    def __init__(self) -> None:
        super().__init__("this code is wrong, too old, or was used before")


class Blocked(AccountError):
    """Nobody logs in to this account before ``until``, in UTC seconds. Told only to who knows the password."""

    status = 403

    def __init__(self, until: float) -> None:
        super().__init__("an operator has blocked this account for a while; try again later")
        self.until = until


class NoAccount(AccountError):
    """There is no account of this name (any more)."""

    status = 404

    def __init__(self) -> None:
        super().__init__("there is no such account")


class DamagedAccount(AccountError):
    """The stored record of this account cannot be read. Trying again does not help; other accounts are not affected."""

    status = 503

    def __init__(self) -> None:
        super().__init__("this account cannot be used because its record is damaged; ask an operator")


class LinkUsed(AccountError):
    """The link that makes the first operator has made one."""

    status = 404

    def __init__(self) -> None:
        super().__init__("this link was used already; there is an operator")


class Throttled(AccountError):
    """Too many failures; ``retry_after`` seconds until the next attempt counts."""

    status = 429

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many attempts; try again later")
        self.retry_after = max(1, math.ceil(retry_after))


class HasherBusy(AccountError):
    """Too many passwords are being checked at this moment."""

    status = 503
    retry_after = 5

    def __init__(self) -> None:
        super().__init__("too many passwords are being checked; try again in a moment")
