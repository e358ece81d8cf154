"""What forms of several pages offer, and the error that several pages answer. It must not know any page."""

from __future__ import annotations

from tornado_sessions.errors import QueryError

__all__ = ["BLOCKS", "REASONS", "NotKept"]

#: The usual reasons of operators; a text of their own may follow.
REASONS = (
    "Lost or stolen device",
    "Compromised account",
    "Left the organisation",
    "Suspicious activity",
    "Maintenance",
)
#: For how long sign-ins can be blocked, in seconds.
BLOCKS = (3600, 86400, 604800)


class NotKept(QueryError):
    """Nothing is known of a session or user, or nothing anymore."""

    status = 404

    def __init__(self) -> None:
        super().__init__(
            "Nothing is kept of this any more, or it never was: ended sessions are remembered for a while only."
        )
