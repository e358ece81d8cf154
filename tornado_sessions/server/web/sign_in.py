"""Start a user's session with the limits of their role, and carry a two-step log-in from one step to the next.

It must not know forms or templates. Nothing is stored between the steps: the browser carries a short-lived, signed ticket.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.web.base import PageHandler

__all__ = ["Ticket", "begin"]

#: Seconds that a remembered log-in lives: 30 days.
REMEMBERED = 30 * 86400
#: Seconds that a session of an operator or viewer lives unused, and at all.
STAFF_IDLE, STAFF_ABSOLUTE = 900.0, 28800.0
_TICKET_LIVES = 300


async def begin(handler: PageHandler, user: User, *, remember: bool, proved_at: float) -> None:
    """Start the session of somebody who signs in. Staff have shorter limits and are never remembered (OWASP ASVS 5.0 7.3).

    Args:
        handler: answers the request.
        user: whose session it becomes.
        remember: whether it outlives the browser, for 30 days.
        proved_at: when the password was last given, in UTC seconds.
    """
    if user.role.is_staff:
        configured = handler.sessions.config
        idle, absolute = min(STAFF_IDLE, configured.seconds("idle_timeout")), configured.seconds("absolute_timeout")
        await handler.log_in(user.name, lifetime=min(STAFF_ABSOLUTE, absolute), idle_timeout=idle, persistent=False)
    else:
        await handler.log_in(user.name, lifetime=REMEMBERED if remember else None)
    # After the sign-in: a session that was somebody else's is emptied by it.
    handler.mark_password_given(proved_at)


class Ticket:
    """Says that a password was right a moment ago.

    Args:
        key: signs.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, user: User, now: float) -> str:
        """A ticket for this account as it is now: a changed password makes it worthless."""
        until = int(now) + _TICKET_LIVES
        return f"{until}.{self._sign(user, until)}"

    def is_good(self, ticket: str, user: User, now: float) -> bool:
        """Whether a ticket is ours, for this account, and not too old."""
        until, _, signature = ticket.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 16 and int(until) >= now):
            return False
        return hmac.compare_digest(self._sign(user, int(until)).encode(), signature.encode("utf-8", "replace"))

    def _sign(self, user: User, until: int) -> str:
        text = f"two steps\0{user.key}\0{user.password_hash}\0{until}"
        return hmac.new(self._key, text.encode(), sha256).hexdigest()
