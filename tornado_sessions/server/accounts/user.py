"""``User``: who can sign in, and what makes two names the same.

Plain data and pure functions. It must not know stores or the rules for passwords.
"""

from __future__ import annotations

import re

import msgspec

from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.text import LONGEST, nfkc
from tornado_sessions.server.roles import Role

__all__ = ["DamagedUser", "User", "check_email", "check_name", "clean", "key_of"]

_NAME = re.compile(r"[\w.@+-]{2,64}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account. A field that is added later needs a default, for the accounts that are stored without it.

    Attributes:
        name: as it was registered; the user id of its sessions.
        email: as it was entered.
        role: what the user may do.
        password_hash: argon2id, with its parameters inside.
        created_at, password_changed_at: UTC seconds.
        blocked_until: nobody signs in before this time, in UTC seconds; ``None``: not blocked.
        totp_secret: the secret shared with the authenticator app (RFC 6238), sealed; ``None``: no second step.
        totp_step: the time step of the last code that was accepted; no code is accepted twice.
        recovery: SHA-256 of each unused recovery code, hexadecimal.
        revision: counts the changes, from 1, so that two at once never undo each other.
    """

    name: str
    email: str
    role: Role = Role.USER
    password_hash: str
    created_at: float
    password_changed_at: float
    blocked_until: float | None = None
    totp_secret: str | None = None
    totp_step: int = 0
    recovery: tuple[str, ...] = ()
    revision: int = 1

    @property
    def has_two_steps(self) -> bool:
        """Whether signing in needs a code besides the password."""
        return self.totp_secret is not None

    def is_blocked(self, now: float) -> bool:
        """Return whether an operator keeps the user from signing in at this time."""
        return self.blocked_until is not None and self.blocked_until > now

    def has_password_of(self, other: User) -> bool:
        """Return whether this is the same account with the same password; its hash may have been renewed."""
        return (self.created_at, self.password_changed_at) == (other.created_at, other.password_changed_at)

    @property
    def key(self) -> str:
        """Equal for names that count as the same."""
        return key_of(self.name)


class DamagedUser(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose record cannot be read: nobody signs in to it, and its name stays taken.

    Attributes:
        key: of its name; the record is filed under it.
        why: what is wrong with it, for the log and for operators; never a value.
    """

    key: str
    why: str

    @property
    def name(self) -> str:
        """Its key, as text that a page can show."""
        return self.key.encode("utf-8", "replace").decode()


def clean(text: str) -> str:
    """Return the form in which text is compared and stored: NFKC, without surrounding spaces."""
    return nfkc(text).strip()


def key_of(text: str) -> str:
    """Return what two names or addresses have in common if they count as the same: case and form do not matter.

    Of text that is too long to be either, only a part is used. What UTF-8 cannot express becomes ``?``, which no name contains.
    """
    return nfkc(clean(text[: LONGEST + 1]).casefold()).encode("utf-8", "replace").decode()


def check_name(name: str) -> str | None:
    """Return what is wrong with a username, or ``None``."""
    if not _NAME.fullmatch(name):
        return N_("Use 2 to 64 letters, digits or . _ - @ +, without spaces.")
    return None


def check_email(email: str) -> str | None:
    """Return what is wrong with an email address, or ``None``. Whether it exists only a message to it can show."""
    if len(email) > 254 or not _EMAIL.fullmatch(email) or not email.isprintable():
        return N_("Enter a valid email address, like name@example.com.")
    return None
