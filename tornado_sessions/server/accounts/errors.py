"""Errors of accounts.

    SessionError
    └── Refused
        └── AccountError
            ├── InvalidForm        fields of a form are invalid; each has a message
            ├── AlreadyTaken       another account has this name or email
            ├── WrongCredentials   unknown name or wrong password; the message does not say which
            │   └── WrongCode      the password was right, the code of the second step was wrong
            ├── NoPassword         the account has no password: it signs in at an OpenID provider
            ├── FormRepeated       a copy of this form has signed in
            ├── Blocked            an operator has blocked this account's sign-ins
            ├── NoAccount          the account does not exist
            ├── DamagedAccount     its record cannot be read; sign-in is impossible until it is repaired
            ├── LinkUsed           the link that creates the first admin has been used
            ├── LinkInvalid        a one-time link is unknown, expired or has been used
            ├── Throttled          too many failures; try again later
            └── HasherBusy         too many passwords wait to be hashed

It must not know pages: messages are English and are translated by the pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tornado_sessions.messages import N_, Message
from tornado_sessions.record import LATEST
from tornado_sessions.server.display import in_calendar
from tornado_sessions.server.errors import Refused

__all__ = [
    "AccountError",
    "AlreadyTaken",
    "Blocked",
    "DamagedAccount",
    "FormRepeated",
    "HasherBusy",
    "InvalidForm",
    "LinkInvalid",
    "LinkUsed",
    "NoAccount",
    "NoPassword",
    "Throttled",
    "WrongCode",
    "WrongCredentials",
]


class AccountError(Refused):
    """Base class of account errors. The message is written for users, whatever the status."""

    is_public = True


class InvalidForm(AccountError):
    """Fields of a form are invalid.

    Args:
        faults: a message for each invalid field.
    """

    def __init__(self, faults: Mapping[str, Message | str]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults.items()))
        self.faults = faults


class AlreadyTaken(AccountError):
    """Another account has the same ``field`` (``username`` or ``email``), ignoring case."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the {field} is taken")
        self.field = field


class WrongCredentials(AccountError):
    """The name is unknown or the password is wrong."""

    status = 401
    text = N_("Incorrect username or password.")


class WrongCode(WrongCredentials):
    """The code is wrong, expired or has been used."""

    text = N_("That code isn't valid. Codes change every 30 seconds; try the newest one.")


class FormRepeated(AccountError):
    """A copy of this form has used its code a moment ago, for example after a second click."""

    text = N_("This form has already been sent.")


class Blocked(AccountError):
    """Sign-ins to this account are blocked until ``until``, in UTC seconds. Raised only after the password was verified."""

    status = 403

    def __init__(self, until: float) -> None:
        # A block without an end lasts as long as calendars go.
        super().__init__(
            Message("This account is blocked until %s. Contact your administrator.", (in_calendar(until),))
            if until < LATEST
            else N_("This account is blocked. Contact your administrator.")
        )
        self.until = until


class NoPassword(AccountError):
    """The account has no password, because it belongs to a user of an OpenID provider."""

    status = 403
    text = N_("This account has no password. It signs in with single sign-on.")


class NoAccount(AccountError):
    """The account does not exist."""

    status = 404
    text = N_("This account doesn't exist.")


class DamagedAccount(AccountError):
    """The record of this account cannot be read. Trying again does not help; other accounts are not affected."""

    status = 503
    text = N_("This account can't be used because its record is damaged. Contact your administrator.")


class LinkUsed(AccountError):
    """The link that creates the first admin was used at ``used_at``, in UTC seconds; ``None`` or 0.0 if only that is unknown."""

    status = 404

    def __init__(self, used_at: float | None = None) -> None:
        super().__init__(
            N_("This setup link has been used or is no longer needed. An admin account exists.")
            if not used_at
            else Message(
                "The setup link was used on %s (UTC). An admin account exists.",
                (f"{in_calendar(used_at):%Y-%m-%d %H:%M}",),
            )
        )


class LinkInvalid(AccountError):
    """A one-time link is unknown, expired or has been used."""

    status = 404
    text = N_(
        "This link has expired or has been used. If you have just used it, sign in. Otherwise ask for a new link."
    )


class Throttled(AccountError):
    """Too many failures. The next attempt is allowed in ``retry_after`` seconds."""

    status = 429

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, math.ceil(retry_after))
        super().__init__(
            Message.plural(
                "Too many attempts. Try again in %s minute.",
                "Too many attempts. Try again in %s minutes.",
                math.ceil(self.retry_after / 60),
            )
        )


class HasherBusy(AccountError):
    """Too many passwords are waiting to be hashed."""

    status = 503
    retry_after = 5
    text = N_("The server is busy. Try again in a moment.")
