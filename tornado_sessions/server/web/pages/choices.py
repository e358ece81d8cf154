"""The durations of blocks that forms offer, and the error for unknown sessions and users. It must not know any page."""

from __future__ import annotations

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_

__all__ = ["BLOCKS", "NotKept"]

#: Durations of a block that forms offer, in seconds.
BLOCKS = (3600, 86400, 604800)


class NotKept(QueryError):
    """The session or user is unknown, or its records have been deleted."""

    status = 404

    def __init__(self) -> None:
        super().__init__(N_("This session is unknown or has been purged. Ended sessions are kept for a limited time."))
