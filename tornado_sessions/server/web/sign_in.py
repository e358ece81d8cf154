"""Start the session of a user who signs in, and sign the ticket between the two steps. It must not know forms or templates."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.web.access import AccessHandler

__all__ = ["form_of", "is_good_ticket", "make_ticket", "start_session"]

#: Lifetime of a session with "remember me", in seconds: 30 days.
REMEMBERED = 30 * 86400
#: Idle and absolute timeout of staff, in seconds (OWASP ASVS 5.0, 7.3).
STAFF_IDLE, STAFF_ABSOLUTE = 900.0, 28800.0
_TICKET_LIFETIME = 300


async def start_session(handler: AccessHandler, user: User, *, remember: bool, password_at: float) -> None:
    """Start a session with the limits of the user's role.

    Args:
        handler: the handler of the request.
        user: the user who signs in.
        remember: whether the session survives closing the browser. Sessions of staff never do.
        password_at: the time at which the password, and the code if one is required, were entered, in UTC seconds.
    """
    if user.role.is_staff:
        config = handler.sessions.config
        idle = min(STAFF_IDLE, config.seconds("idle_timeout"))
        lifetime = min(STAFF_ABSOLUTE, config.seconds("absolute_timeout"))
        await handler.log_in(user.id, lifetime=lifetime, idle_timeout=idle, persistent=False)
    else:
        await handler.log_in(user.id, lifetime=REMEMBERED if remember else None)
    # Last, because signing in clears the data of a session that belonged to another user.
    handler.mark_password_given(password_at, with_code=user.has_two_steps)


def make_ticket(key: bytes, user: User, now: float) -> str:
    """Return a ticket that proves for five minutes that the user has entered the right password.

    The form of the second step contains the ticket, so the server stores nothing between the two steps. The signature covers
    the password hash, so a change of the password invalidates the ticket. Each ticket is another one: it names its form.
    """
    until, nonce = int(now) + _TICKET_LIFETIME, secrets.token_hex(8)
    return f"{until}.{nonce}.{_sign(key, user, until, nonce)}"


def form_of(ticket: str) -> str:
    """Return the name of a ticket's form, which may be stored: it proves nothing."""
    return sha256(ticket.encode("utf-8", "replace")).hexdigest()


def is_good_ticket(key: bytes, ticket: str, user: User, now: float) -> bool:
    """Return whether a ticket is genuine, not expired, and matches the current state of the account."""
    until, _, rest = ticket.partition(".")
    nonce, _, signature = rest.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) < 16 and int(until) >= now):
        return False
    return hmac.compare_digest(_sign(key, user, int(until), nonce).encode(), signature.encode("utf-8", "replace"))


def _sign(key: bytes, user: User, until: int, nonce: str) -> str:
    text = f"two steps\0{user.id}\0{user.password_hash}\0{until}\0{nonce}"
    return hmac.new(key, text.encode("utf-8", "replace"), sha256).hexdigest()
