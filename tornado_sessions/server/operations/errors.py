"""Why an operation is refused: one branch of the package's tree of errors, which pages, API and commands all render.

    SessionError
    └── OperationRefused       nothing was done
        ├── InvalidInput       400: a value is out of bounds, or something is missing
        ├── NotPermitted       403: this operator may not do that
        └── HasGrown           409: more sessions match than were shown

It must not know how an error is shown. The sentence is English; its words and values are translated where it is shown.
"""

from __future__ import annotations

from tornado_sessions.errors import SessionError
from tornado_sessions.messages import Message

__all__ = ["HasGrown", "InvalidInput", "NotPermitted", "OperationRefused"]


class OperationRefused(SessionError):
    """An operation breaks a rule; nothing was done.

    Args:
        text: what is wrong, with a ``%s`` for each value.
        values: fill its places.
    """

    status = 400

    def __init__(self, text: str, *values: str) -> None:
        self.sentence = Message(text, values)
        super().__init__(str(self.sentence))


class InvalidInput(OperationRefused):
    """A value is out of bounds, or something that is required is missing."""


class NotPermitted(OperationRefused):
    """The operator's role does not allow this."""

    status = 403


class HasGrown(OperationRefused):
    """More sessions match than the operator has seen; they have to be shown again."""

    status = 409
