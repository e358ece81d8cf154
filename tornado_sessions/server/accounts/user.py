"""``User``: an account, its stored form, and the comparison of names and emails.

Plain data and pure functions. It must not know stores or the rules for passwords.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Self

import msgspec

from tornado_sessions.damage import Unreadable, fields_of, struct_of
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.text import LONGEST, nfkc
from tornado_sessions.server.roles import Role

__all__ = ["DamagedUser", "User", "check_email", "clean", "identity_of", "key_of"]

#: An account that nobody has signed in to here: no password is right.
_NEW: dict[str, Any] = {"password_hash": "", "created_at": 0.0, "password_changed_at": 0.0}
#: One address without quotes, comments or a list: it becomes a header of a mail.
_EMAIL = re.compile(r"""[^@\s<>()\[\]\\,;:"]+@[^@\s<>()\[\]\\,;:"]+\.[^@\s<>()\[\]\\,;:"]+""")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account. A field that is added later needs a default, for the accounts that are stored without it.

    Attributes:
        id: the user id of its sessions. Our own store takes the name; a table of yours may have ids of its own.
        name: the username as registered.
        email: the email as entered.
        email_confirmed_at: when its owner proved that it is theirs, in UTC seconds. Mails go to confirmed addresses only.
        pending_email: an address that replaces it as soon as it is confirmed.
        language: the code of the language in which the account was registered; empty if unknown.
        role: see ``Role``.
        password_hash: an argon2id hash, which includes its parameters.
        created_at, password_changed_at: UTC seconds.
        blocked_until: the end of a block of sign-ins, in UTC seconds; ``None`` if not blocked.
        totp_secret: the encrypted secret shared with the authenticator app (RFC 6238); ``None`` without two-step verification.
        totp_step: the time step of the last accepted code; only codes of later steps are accepted.
        recovery: SHA-256 of each unused recovery code, hexadecimal.
        issuer, subject: the identity at an OpenID provider, with which this account signs in; empty for one with a password.
        is_vouched: whether an operator made it with a command. Then its name means the same person in other systems (Express).
        is_first: whether the setup link made it. The store accepts no second operator of this kind.
        extra: values of the application's own fields, by their names; see ``Field``.
        rest: fields that a later version of this package has stored. They are kept, so that an old process drops nothing.
        revision: counts changes, from 1; it prevents concurrent changes from overwriting each other.
    """

    id: str = ""
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
    issuer: str = ""
    subject: str = ""
    is_first: bool = False
    is_vouched: bool = False
    email_confirmed_at: float | None = None
    pending_email: str = ""
    language: str = ""
    extra: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    revision: int = 1

    def __post_init__(self) -> None:
        if not self.id:
            msgspec.structs.force_setattr(self, "id", self.name)

    @classmethod
    def restore(cls, record: str | bytes, **columns: Any) -> Self | DamagedUser:
        """Return the account that a table stores.

        Args:
            record: its ``record``; empty for a user whom the table had before it stored records.
            columns: attributes that the table stores in columns of their own. They override the record, except that ``extra`` is
                merged into it.

        Returns:
            A ``DamagedUser`` if the record cannot be read.
        """
        try:
            stored = fields_of(record.encode() if isinstance(record, str) else record) if record else dict(_NEW)
            extra = stored.get("extra")
            fields = {**stored, **columns}
            if isinstance(extra, dict):
                fields["extra"] = {**extra, **columns.get("extra", {})}
            known = set(cls.__struct_fields__) - {"rest"}
            rest = {name: value for name, value in fields.items() if name not in known}
            return struct_of(cls, {**{name: fields[name] for name in known & fields.keys()}, "rest": rest})
        except (Unreadable, UnicodeEncodeError) as error:
            name = str(columns.get("name") or columns.get("id", ""))
            why = getattr(error, "why", "it is not valid text")
            return DamagedUser(key=key_of(name), why=why, id=str(columns.get("id", "")))

    @property
    def record(self) -> str:
        """Everything about the account as JSON, the hash of the password included. Store it as opaque text; see ``restore``."""
        fields = msgspec.to_builtins(self)
        return msgspec.json.encode({**fields.pop("rest"), **fields}).decode()

    @property
    def has_two_steps(self) -> bool:
        """Whether signing in requires a code in addition to the password."""
        return self.totp_secret is not None

    @property
    def unconfirmed_email(self) -> str:
        """The address that waits to be confirmed; empty if there is none."""
        return self.pending_email or ("" if self.email_confirmed_at is not None else self.email)

    def is_blocked(self, now: float) -> bool:
        """Return whether sign-ins are blocked at a time in UTC seconds."""
        return self.blocked_until is not None and self.blocked_until > now

    def has_password_of(self, other: User) -> bool:
        """Return whether this is the same account with the same password. A rehash of the password does not count as a change."""
        return (self.created_at, self.password_changed_at) == (other.created_at, other.password_changed_at)

    @property
    def key(self) -> str:
        """The key of its name; see ``key_of``."""
        return key_of(self.name)

    @property
    def email_key(self) -> str:
        """The key of its email; see ``key_of``."""
        return key_of(self.email)


class DamagedUser(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose record cannot be read. Sign-in is impossible, and its name stays taken.

    Attributes:
        key: the key of its name, under which the record is stored.
        why: a description of the damage for the log and for operators; contains no stored values.
        id: the user id of its sessions; by default the name.
    """

    key: str
    why: str
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            msgspec.structs.force_setattr(self, "id", self.name)

    @property
    def name(self) -> str:
        """The key as text that pages can show."""
        return self.key.encode("utf-8", "replace").decode()


def identity_of(issuer: str, name: str) -> str:
    """Return a key of a name that an OpenID provider gives to a user or a session."""
    return "identity " + sha256(f"{issuer}\0{name}".encode()).hexdigest()


def clean(text: str) -> str:
    """Return the form in which a text is compared and stored: NFKC without surrounding spaces."""
    return nfkc(text).strip()


def key_of(text: str) -> str:
    """Return a key that is equal for names or emails that differ only in case or Unicode form.

    Text that is too long for either is truncated. Characters that UTF-8 cannot encode become ``?``, which no name contains.
    """
    # Normalise twice, because case folding can produce text that is not in NFKC.
    return nfkc(clean(text[: LONGEST + 1]).casefold()).encode("utf-8", "replace").decode()


def check_email(email: str) -> str | None:
    """Return a message if an email address is malformed, else ``None``. Only its form is checked."""
    if len(email) > 254 or not _EMAIL.fullmatch(email) or not email.isprintable():
        return N_("Enter a valid email address, like name@example.com.")
    return None
