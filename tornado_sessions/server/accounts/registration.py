"""``Registration``: create accounts, and judge what is typed for them.

A registration is recorded before the account is stored: methods call their ``note`` argument after all checks, and store nothing
if it fails. It must not know requests or pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import AlreadyTaken, InvalidForm
from tornado_sessions.server.accounts.fields import Fields
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.password_rules import LONGEST, Strength
from tornado_sessions.server.accounts.proofs import Proofs
from tornado_sessions.server.accounts.user import User, check_email, clean, key_of
from tornado_sessions.server.roles import Role

__all__ = ["TAKEN", "MadeBy", "Note", "Registration", "no_note"]

#: The faults of a name and an email that another account has, by field.
TAKEN = {
    "username": N_("That username is taken."),
    "email": N_("An account with this email already exists."),
}

#: How long after a registration the same form counts as sent twice, in seconds.
_TWICE = 60.0

#: Records a change that is about to be made.
Note = Callable[[], Awaitable[None]]


class MadeBy(Enum):
    """Who creates an account: the person who will use it, the first operator by the setup link, or a command."""

    OWNER = auto()
    SETUP_LINK = auto()
    COMMAND = auto()


async def no_note() -> None:
    """Record nothing."""


class Registration(Proofs):
    """Creates accounts. For the arguments and for ``client`` see ``Proofs``. Registrations are throttled by IP address."""

    #: What an application adds to its users.
    fields = Fields()

    async def register(
        self,
        name: str,
        email: str,
        password: str,
        *,
        role: Role = Role.USER,
        client: Client | str | None = None,
        note: Note = no_note,
        made_by: MadeBy = MadeBy.OWNER,
        email_confirmed: bool = False,
        language: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> User:
        """Create an account.

        Args:
            name, email, password: as typed.
            role: the role of the account.
            client: where the registration comes from; ``None`` for commands and the setup link, which are not throttled.
            note: records the registration.
            made_by: who creates it; see ``User.is_first`` and ``User.is_vouched``.
            email_confirmed: whether an operator vouches for the email.
            language: the code of the language of its owner.
            extra: the application's fields as typed, by their names in forms; ``None`` if nobody was asked.

        Raises:
            InvalidForm: fields are invalid, the name or email is taken, or there is an operator that the setup link made.
        """
        name, email = clean(name), clean(email)
        origin = Client.of(client or "")
        if client is not None:
            await self._throttle.register(origin)
        by_operator = client is None or role.is_staff
        values = await self._check_form(name, email, password, origin, extra, by_operator=by_operator)
        if client is not None and (twin := await self.just_registered(name, email, password, origin)):
            return twin
        now = self._clock()
        # Hash before recording: hashing may be refused, and then nothing must be in the audit log.
        async with self._throttle.turn(origin, first=client is None) as turn:
            password_hash = await self._passwords.hash(password, turn)
        made: dict[str, Any] = {"password_hash": password_hash, "created_at": now, "password_changed_at": now}
        made |= {"email_confirmed_at": now if email_confirmed else None, "language": language}
        made |= {"is_first": made_by is MadeBy.SETUP_LINK, "is_vouched": made_by is MadeBy.COMMAND, "extra": values}
        user = User(name=name, email=email, role=role, **made)
        try:
            return await self._add(user, note)
        except InvalidForm:
            if client is not None and (twin := await self.just_registered(name, email, password, origin)):
                return twin
            raise

    async def _add(self, user: User, note: Note) -> User:
        if await self.look_up_named(user.name) is not None:
            # Check before recording: the audit log must not contain a registration under a name that was already taken.
            raise InvalidForm({"username": TAKEN["username"]})
        await note()
        try:
            return await self.repository.add(user)
        except AlreadyTaken as taken:
            raise InvalidForm({taken.field: TAKEN[taken.field]}) from None

    async def prepare(
        self, name: str, email: str, password: str, client: Client, extra: Mapping[str, str] | None = None
    ) -> User:
        """Return the account that a registration asks for, without storing it.

        Neither the time nor the result depends on other accounts, so it does not reveal which ones exist.

        Raises:
            InvalidForm: fields are invalid.
        """
        name, email = clean(name), clean(email)
        await self._throttle.register(client)
        values = await self._check_form(name, email, password, client, extra, by_operator=False)
        async with self._throttle.turn(client, first=False) as turn:
            password_hash = await self._passwords.hash(password, turn)
        made: dict[str, Any] = dict.fromkeys(("created_at", "password_changed_at"), 0.0)
        return User(name=name, email=email, password_hash=password_hash, extra=values, **made)

    async def add_confirmed(
        self,
        name: str,
        email: str,
        password_hash: str,
        language: str,
        note: Note = no_note,
        extra: dict[str, Any] | None = None,
    ) -> User:
        """Store the account of ``prepare``, whose owner has confirmed its email. Raises ``InvalidForm`` as ``register`` does."""
        made: dict[str, Any] = dict.fromkeys(("created_at", "password_changed_at", "email_confirmed_at"), self._clock())
        return await self._add(
            User(name=name, email=email, password_hash=password_hash, language=language, extra=extra or {}, **made),
            note,
        )

    async def admit_mail(self, client: Client, typed: str) -> bool:
        """Count a request for a mail to a typed name or address; see ``Throttle.mail``."""
        return await self._throttle.mail(client, key_of(typed))

    async def _check_form(
        self,
        name: str,
        email: str,
        password: str,
        client: Client,
        extra: Mapping[str, str] | None,
        *,
        by_operator: bool,
    ) -> dict[str, Any]:
        """Return the values of the application's fields. Raises ``InvalidForm`` with the faults of all fields."""
        faults: dict[str, Message | str | None] = {
            "username": check_name(name, by_operator=by_operator),
            "email": check_email(email),
        }
        values: dict[str, Any] = {}
        try:
            values = self.fields.read(extra) if extra is not None else {}
        except InvalidForm as error:
            faults |= error.faults
        # A new account has no second step.
        faults["password"] = await self._judge(password, [name, email], client, two_steps=False)
        if any(faults.values()):
            raise InvalidForm({field: fault for field, fault in faults.items() if fault is not None})
        return {name: value for name, value in values.items() if value is not None}

    async def just_registered(self, name: str, email: str, password: str, client: Client) -> User | None:
        """Return the account that the same form has created a moment ago: users click twice, and browsers resend forms."""
        found = await self.look_up_named(name)
        if not isinstance(found, User) or (found.name, found.email) != (name, email):
            return None
        if abs(self._clock() - found.created_at) > _TWICE:
            return None
        async with self._throttle.turn(client, first=False) as turn:
            return found if await self._passwords.verify(found.password_hash, password, turn) else None

    async def _judge(self, password: str, known: list[str], client: Client | str, *, two_steps: bool) -> Message | None:
        rules = self.rules
        return await self._passwords.judge(lambda: rules.fault(password, known, two_steps=two_steps), Client.of(client))

    async def strength(self, password: str, known: list[str], client: Client, *, two_steps: bool) -> Strength:
        """Return how hard a new password is to guess; see ``PasswordRules.strength``. Raises ``HasherBusy``."""
        return await self._passwords.judge(
            lambda: self.rules.strength(password[: LONGEST + 1], known, two_steps=two_steps), client
        )
