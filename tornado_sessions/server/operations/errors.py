"""Errors of operations, shown by pages, API and commands. In each case but ``MoreThanConfirmed`` nothing was done.

    SessionError
    └── Refused
        └── OperationRefused
            ├── InvalidInput       400: a value is out of bounds, or a required one is missing
            ├── NotPermitted       403: the operator's role does not allow it
            ├── NoSuchUser         404: no user has this name
            ├── HasGrown           409: more sessions match than were shown
            ├── MoreThanConfirmed  409: a job has found more sessions than were confirmed, and waits
            ├── TooManyExports     503: others are running
            └── DamagedUser        503: the user's record cannot be read

It must not know how errors are shown: messages are English and are translated by the pages.
"""

from __future__ import annotations

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.errors import Refused

__all__ = [
    "ELSEWHERE",
    "DamagedUser",
    "HasGrown",
    "InvalidInput",
    "MoreThanConfirmed",
    "NoSuchUser",
    "NotPermitted",
    "OperationRefused",
    "TooManyExports",
]

#: The message that refuses what the application does with its own users.
ELSEWHERE = N_("Accounts are managed elsewhere.")


class OperationRefused(Refused):
    """An operation breaks a rule; nothing was done.

    Args:
        text: an English text with a ``%s`` for each value, or a complete message; by default, that of the class.
        values: the values of the placeholders.
    """

    def __init__(self, text: str | Message = "", *values: str) -> None:
        super().__init__(text if isinstance(text, Message) else Message(text or self.text, values))


class InvalidInput(OperationRefused):
    """A value is out of bounds, or a required one is missing."""


class NotPermitted(OperationRefused):
    """The operator's role does not allow this."""

    status = 403


class NoSuchUser(OperationRefused):
    """No user has this name."""

    status = 404
    text = N_("This account doesn't exist.")


class HasGrown(OperationRefused):
    """More sessions match than the operator was shown. They have to be reviewed again."""

    status = 409


class MoreThanConfirmed(OperationRefused):
    """A job has found over a tenth more sessions than were confirmed, and waits for a confirmation.

    Attributes:
        members: the job's id, the exact number of sessions, and how many of them have ended, for the API.
    """

    status = 409

    def __init__(self, job: str, expected: int, destroyed: int) -> None:
        super().__init__(
            N_("%s sessions match, over a tenth more than were confirmed; %s have ended."),
            str(expected),
            str(destroyed),
        )
        self.members: dict[str, str | int] = {"job": job, "expected": expected, "destroyed": destroyed}


class DamagedUser(OperationRefused):
    """The user's record cannot be read. Trying again does not help."""

    status = 503
    is_public = True
    text = N_("This account can't be used because its record is damaged. Contact your administrator.")


class TooManyExports(OperationRefused):
    """As many exports are running in this process as may run at once. Try again after ``retry_after`` seconds."""

    status = 503
    is_public = True
    retry_after = 10.0
    text = N_("Other exports are running. Try again in a moment.")
