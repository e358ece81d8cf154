"""``Refused``: the base of errors that a page, the API or a command shows to the user.

It must not know which operation failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from tornado_sessions.errors import SessionError
from tornado_sessions.messages import Message

__all__ = ["Refused"]


class Refused(SessionError):
    """A request was refused. The message is written for the user who made it.

    Args:
        sentence: an English text or a complete message, which is translated where it is shown; by default, ``text``.

    Attributes:
        text: the message of a class that has only one.
        status: the HTTP status of an answer.
        faults: a message for each field of a form that is wrong; empty if the message is about the whole form.
    """

    status = 400
    text = ""

    def __init__(self, sentence: Message | str = "") -> None:
        self.sentence = sentence if isinstance(sentence, Message) else Message(sentence or self.text)
        self.faults: Mapping[str, Message | str] = {}
        super().__init__(str(self.sentence))
