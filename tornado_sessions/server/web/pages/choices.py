"""What several pages of the dashboard share: durations of blocks, typed numbers, and the error for unknown sessions and users.

It must not know any page.
"""

from __future__ import annotations

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_, Message

__all__ = ["BLOCKS", "MAX_UNTYPED", "NotKept", "typed_fault"]

#: Durations of a block that forms offer, in seconds.
BLOCKS = (3600, 86400, 604800)
#: Operators who end more sessions than this have to type their number.
MAX_UNTYPED = 100


class NotKept(QueryError):
    """The session or user is unknown, or its records have been deleted."""

    status = 404

    def __init__(self) -> None:
        super().__init__(N_("This session is unknown or has been purged. Ended sessions are kept for a limited time."))


def typed_fault(typed: str, number: int) -> Message | None:
    """Return what is wrong with a number typed to confirm how many sessions end; ``None`` if it is right or not needed."""
    typed = typed.replace(",", "")
    if number <= MAX_UNTYPED or typed == str(number):
        return None
    if not typed:
        return Message(N_("Enter %s to confirm the number."), (str(number),))
    return Message(N_("%s is not the number of sessions. Enter %s."), (typed[:20], str(number)))
