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
            ├── LinkInvalid        a one-time link is unknown
            │   ├── LinkUsed       it has been used
            │   │   └── SetupUsed  it created the first admin
            │   ├── LinkExpired    its time is over
            │   └── LinkReplaced   what it would change has been changed in another way
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
    "LinkExpired",
    "LinkInvalid",
    "LinkReplaced",
    "LinkUsed",
    "NoAccount",
    "NoPassword",
    "SetupUsed",
    "Throttled",
    "WrongCode",
    "WrongCredentials",
]

#: The page that most people who open a link again are looking for.
SIGN_IN = (("/login", N_("Sign in")),)


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
        # A block without an end is stored as the latest time that calendars can show.
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


class LinkInvalid(AccountError):
    """A one-time link does nothing, because it is unknown or, as a subclass says, because it has worked before.

    Args:
        advice: what its holder can do, as a sentence.
        leads: links to pages on which to continue: paths without the prefix, with their texts. An empty path stands for the page
            for forgotten passwords, if there is one.

    Attributes:
        title: what happened, in a few words.
    """

    status = 404
    title = N_("This link doesn't work")
    text = N_("Part of it may be missing, or it was withdrawn.")

    def __init__(
        self, advice: str = "", leads: tuple[tuple[str, str], ...] = SIGN_IN, explanation: Message | None = None
    ) -> None:
        super().__init__(explanation or self.text)
        self.advice = advice
        self.leads = leads


class LinkUsed(LinkInvalid):
    """The link has been used."""

    title = N_("This link was already used")
    text = N_("Each link works once. If you used it, sign in.")

    @classmethod
    def at(cls, used_at: float, advice: str, leads: tuple[tuple[str, str], ...]) -> LinkUsed:
        """Return the error for a link that was used at a time in UTC seconds."""
        text = N_("It was used on %s (UTC). Each link works once. If you used it, sign in.")
        return cls(advice, leads, Message(text, (_minute(used_at),)))


class LinkExpired(LinkInvalid):
    """The link has expired at a time in UTC seconds."""

    title = N_("This link has expired")

    def __init__(self, expired_at: float, advice: str, leads: tuple[tuple[str, str], ...]) -> None:
        super().__init__(advice, leads, Message("It worked until %s (UTC).", (_minute(expired_at),)))


class LinkReplaced(LinkInvalid):
    """What the link would change has been changed in another way."""

    title = N_("This link no longer works")
    text = N_("The account has changed since the link was made.")


class SetupUsed(LinkUsed):
    """The link that creates the first admin was used at ``used_at``, in UTC seconds; ``None`` or 0.0 if only that is unknown."""

    title = N_("This setup link was already used")
    text = N_("The setup link has been used or is no longer needed. An admin account exists.")

    def __init__(self, used_at: float | None = None) -> None:
        text = Message("The setup link was used on %s (UTC). An admin account exists.", (_minute(used_at or 0.0),))
        super().__init__(
            N_("Sign in as that admin, or ask them for an invitation."), explanation=text if used_at else None
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


def _minute(at: float) -> str:
    return f"{in_calendar(at):%Y-%m-%d %H:%M}"
