"""``User``: who can sign in, and what makes two names the same.

Plain data and pure functions. It must not know stores or passwords' rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tornado_sessions.damage import Unreadable, struct_of
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.text import LONGEST, nfkc
from tornado_sessions.server.roles import Role

__all__ = ["DamagedUser", "User", "check_email", "check_name", "clean", "key_of", "user_of"]

_NAME = re.compile(r"[\w.@+-]{2,64}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account.

    Attributes:
        name: as it was registered; the sessions' user id.
        email: as it was given.
        role: what its bearer may do.
        password_hash: argon2id, with its parameters inside.
        created_at, password_changed_at: UTC seconds.
        blocked_until: no log-in before this time, in UTC seconds; ``None``: not blocked.
        totp_secret: what its authenticator app shares with us (RFC 6238), sealed; ``None``: one step is enough.
        totp_step: the time step of the last code that was taken; no code is taken twice.
        recovery: SHA-256 of each recovery code that is left, as hexadecimal text.
        revision: counts its changes, so that two at once never undo each other.
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
    revision: int = 0

    @property
    def has_two_steps(self) -> bool:
        """Whether a log-in needs a code besides the password."""
        return self.totp_secret is not None

    def is_blocked(self, now: float) -> bool:
        """Whether an operator keeps it from logging in at this time."""
        return self.blocked_until is not None and self.blocked_until > now

    @property
    def key(self) -> str:
        """What is the same for names that are the same."""
        return key_of(self.name)


class DamagedUser(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose record cannot be read: nobody signs in with it, and its name stays taken.

    Attributes:
        key: what it is filed under, the key of its name.
        why: what is wrong with it, for the log and for operators; never a value.
    """

    key: str
    why: str

    @property
    def name(self) -> str:
        """Its key, as pages can write it."""
        return self.key.encode("utf-8", "replace").decode()


def user_of(key: str, fields: Mapping[str, Any]) -> User | DamagedUser:
    """The account of a stored record, or what is wrong with it. Unknown fields are ignored, missing ones take their default.

    Args:
        key: what the record is filed under. A record with another name would sign its holder in as somebody else.
        fields: by the names of ``User``.
    """
    try:
        user = struct_of(User, fields)
    except Unreadable as error:
        return DamagedUser(key=key, why=error.why)
    return user if user.key == key else DamagedUser(key=key, why="name is not the one it is filed under")


def clean(text: str) -> str:
    """The form in which text is compared and kept: NFKC, without spaces around."""
    return nfkc(text).strip()


def key_of(text: str) -> str:
    """What makes two names or addresses the same: their letters without regard to case; of what is too long, a part."""
    return nfkc(clean(text[: LONGEST + 1]).casefold())


def check_name(name: str) -> str | None:
    """What is wrong with a user name, or ``None``."""
    if not _NAME.fullmatch(name):
        return N_("Use 2 to 64 letters, digits or . _ - @ +, without spaces.")
    return None


def check_email(email: str) -> str | None:
    """What is wrong with an e-mail address, or ``None``; whether it exists only a letter to it can tell."""
    if len(email) > 254 or not _EMAIL.fullmatch(email) or not email.isprintable():
        return N_("Enter a valid email address, like name@example.com.")
    return None
