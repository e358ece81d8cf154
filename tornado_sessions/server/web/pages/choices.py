"""What forms of several pages offer, and the error that several pages answer. It must not know any page."""

from __future__ import annotations

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_

__all__ = ["BLOCKS", "NotKept"]

#: For how long sign-ins can be blocked, in seconds.
BLOCKS = (3600, 86400, 604800)


class NotKept(QueryError):
    """Nothing is known of a session or user, or nothing anymore."""

    status = 404

    def __init__(self) -> None:
        super().__init__(N_("This session is unknown or has been purged. Ended sessions are kept for a limited time."))
