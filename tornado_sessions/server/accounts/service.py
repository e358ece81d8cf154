"""``Accounts``: the rules for registration and changes of accounts.

Security-relevant changes are recorded before they are made: methods call their ``note`` argument after all checks, and change
nothing if it fails. It must not know requests or pages. It has more than 300 lines because every change of an account shares
its checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import (
    AlreadyTaken,
    InvalidForm,
    NoAccount,
    NoPassword,
    WrongCode,
    WrongCredentials,
)
from tornado_sessions.server.accounts.fields import Fields
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.password_rules import LONGEST, Strength
from tornado_sessions.server.accounts.proofs import Proofs, while_password_is_that_of
from tornado_sessions.server.accounts.repository import Check
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, clean, key_of
from tornado_sessions.server.roles import Role

__all__ = ["Accounts", "MadeBy", "Note", "no_note"]

_TAKEN = {
    "username": N_("That username is taken."),
    "email": N_("An account with this email already exists."),
}

_MAX_STAFF = 100
#: How long after a registration the same form counts as sent twice, in seconds.
_TWICE = 60.0
#: Minimum difference between the times of two password changes, in seconds. The time identifies the password.
_TICK = 1e-6

#: The fields of an account without two-step verification.
_NO_STEPS: dict[str, Any] = {"totp_secret": None, "totp_step": 0, "recovery": ()}

#: Records a change that is about to be made.
Note = Callable[[], Awaitable[None]]


class MadeBy(Enum):
    """Who creates an account: the person who will use it, the first operator by the setup link, or a command."""

    OWNER = auto()
    SETUP_LINK = auto()
    COMMAND = auto()


async def no_note() -> None:
    """Record nothing."""


def _no_check(_: User) -> None:
    """Accept every revision of an account."""


def _refuse_password(user: User) -> None:
    if not user.issuer:
        raise WrongCredentials


#: Commands and operators are not throttled.
_OPERATOR = Client()


class Accounts(Proofs):
    """The accounts of a server. For the arguments and for ``client`` see ``Proofs``. Registrations are throttled by IP address."""

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
            raise InvalidForm({"username": _TAKEN["username"]})
        await note()
        try:
            return await self.repository.add(user)
        except AlreadyTaken as taken:
            raise InvalidForm({taken.field: _TAKEN[taken.field]}) from None

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

    async def enable_two_steps(
        self, user_id: str, secret: str, code: str, note: Note = no_note, *, verified: User | None = None
    ) -> list[str]:
        """Turn two-step verification on. Return the recovery codes in clear text; only their hashes are stored.

        Args:
            user_id, secret, code: the account, what its app shares, and a code of the app.
            note: records the change.
            verified: the account whose password was verified; a change of the password in the meantime refuses this one.

        Raises:
            WrongCode: the code does not match the secret, or two-step verification is already on; nothing has changed.
        """
        step, user = two_step.step_of(secret, code, self._clock()), await self.get(user_id)
        if step is None or user is None or user.has_two_steps:
            raise WrongCode
        codes = two_step.new_recovery_codes()
        hashes = tuple(map(two_step.hash_of, codes))
        await note()
        sealed = two_step.seal(self._codec, user, secret)

        def refuse_second(now: User) -> None:
            """Let only one of two concurrent requests succeed: the other would replace a secret that an app already uses."""
            if now.has_two_steps:
                raise WrongCode
            while_password_is_that_of(verified or now)(now)

        # Storing the step marks this code as used, so that it cannot be used again to sign in.
        await self._change(user_id, refuse_second, totp_secret=sealed, totp_step=step, recovery=hashes)
        return codes

    async def disable_two_steps(
        self, user_id: str, password: str, code: str, client: Client | str, note: Note = no_note
    ) -> User:
        """Turn two-step verification off.

        Raises:
            WrongCredentials: the password is wrong; ``WrongCode``: the code is.
            InvalidForm: the password is too short to be all that signing in requires.
        """
        user = await self.verify(user_id, password, client)
        # Before the code is used up.
        if self.rules.length_fault(password, two_steps=False) is not None:
            raise InvalidForm(
                {"off_password": N_("Your password is too short without two-step verification. Change it first.")}
            )
        user = await self._with_code(user, code, client)
        await note()
        return await self._change(user_id, while_password_is_that_of(user), **_NO_STEPS)

    async def reset_two_steps(self, user_id: str, note: Note = no_note, *, check: Check = _no_check) -> User:
        """Turn two-step verification off without a code: an operator vouches for the user. The caller ends the user's sessions.

        Raises:
            NoAccount: the account does not exist. ``check`` may refuse the change with other errors, in the same step.
        """
        return await self._reset(user_id, note, check, **_NO_STEPS)

    async def reset_password(
        self, user_id: str, new: str, note: Note = no_note, *, client: Client = _OPERATOR, check: Check = _no_check
    ) -> User:
        """Replace a password without a proof: an operator vouches for the user. The caller ends the user's sessions.

        Args:
            user_id, new: the account and its new password.
            note: records the change.
            client: where the password comes from.
            check: raises an error to refuse the change, in the same step as the change.

        Raises:
            NoAccount: the account does not exist. ``NoPassword``: it signs in at a provider.
            InvalidForm: the new password is unacceptable.
        """
        user = await self.get(user_id)
        if user is None:
            raise NoAccount
        check(user)
        if user.issuer:
            # A password would outlive what its provider withdraws.
            raise NoPassword
        fault = await self._judge(new, [user.name, user.email], client, two_steps=user.has_two_steps)
        if fault is not None:
            raise InvalidForm({"password": fault})
        return await self._reset(user_id, note, check, **await self._new_password(user, new, client))

    async def _reset(self, user_id: str, note: Note, check: Check = _no_check, **fields: Any) -> User:
        user = await self.get(user_id)
        if user is None:
            raise NoAccount
        check(user)
        await note()
        return await self._change(user_id, check, **fields)

    async def _new_password(self, user: User, new: str, client: Client) -> dict[str, Any]:
        """Return the fields that a new password changes."""
        async with self._throttle.turn(client, first=True) as turn:
            password_hash = await self._passwords.hash(new, turn)
        # The time must grow even if the clock was set back, because ``has_password_of`` compares it.
        return {
            "password_hash": password_hash,
            "password_changed_at": max(self._clock(), user.password_changed_at + _TICK),
        }

    async def change_password(
        self, user_id: str, old: str, new: str, client: Client | str, note: Note = no_note, code: str = ""
    ) -> User:
        """Replace a password.

        Raises:
            WrongCredentials: the old password is wrong; ``WrongCode``: the code is.
            InvalidForm: the new password is unacceptable.
        """
        user = await self.verify(user_id, old, client)
        fault = await self._judge(new, [user.name, user.email], client, two_steps=user.has_two_steps)
        if fault is not None:
            raise InvalidForm({"new_password": fault})
        # After the other checks, because each code works once.
        user = await self._with_code(user, code, client)
        fields = await self._new_password(user, new, Client.of(client))
        await note()
        return await self._change(user_id, while_password_is_that_of(user), **fields)

    async def change_email(
        self,
        user_id: str,
        password: str,
        email: str,
        client: Client | str,
        note: Note = no_note,
        code: str = "",
        *,
        must_confirm: bool = False,
    ) -> User:
        """Replace the email address, or with ``must_confirm`` remember it until it is confirmed.

        Raises:
            WrongCredentials: the password is wrong; ``WrongCode``: the code is.
            InvalidForm: the email is malformed, or belongs to another account.
        """
        user = await self.verify(user_id, password, client)
        email = clean(email)
        fault = check_email(email)
        if fault is not None:
            raise InvalidForm({"email": fault})
        user = await self._with_code(user, code, client)
        check = while_password_is_that_of(user)
        if must_confirm:
            # Only the owner of the address learns whether another account has it.
            return await self._change(user_id, check, pending_email=email)
        await note()
        return await self._set_email(user_id, email, check, email_confirmed_at=None)

    async def change_extra(self, user_id: str, typed: Mapping[str, str]) -> User:
        """Change the application's fields of an account.

        Args:
            user_id: the account.
            typed: what was typed, by the names of the fields in forms.

        Raises:
            NoAccount: there is none.
            InvalidForm: fields are invalid; nothing has changed.
        """
        return await self._change(user_id, extra=self.fields.read(typed))

    async def confirm_email(self, user_id: str, email: str, note: Note, check: Check) -> User:
        """Use an address that its owner has confirmed. Raises ``NoAccount``, ``InvalidForm`` and the errors of ``check``."""
        user = await self.get(user_id)
        if user is None:
            raise NoAccount
        check(user)
        await note()
        return await self._set_email(user_id, email, check, email_confirmed_at=self._clock())

    async def _set_email(self, user_id: str, email: str, check: Check, **fields: Any) -> User:
        try:
            return await self._change(user_id, check, email=email, pending_email="", **fields)
        except AlreadyTaken:
            raise InvalidForm({"email": _TAKEN["email"]}) from None

    async def find_by_email(self, email: str) -> User | None:
        """Return the account with an email, ignoring case, or ``None``."""
        return await self.repository.by_email(email)

    async def find_by_name_or_email(self, typed: str) -> User | None:
        """Return the account with a username or an email, or ``None``; the username goes first."""
        found = await self.look_up_named(typed)
        return found if isinstance(found, User) else await self.find_by_email(typed)

    async def remove(
        self, user_id: str, password: str, client: Client | str, note: Note = no_note, code: str = ""
    ) -> None:
        """Delete an account permanently. The caller ends its sessions. Raises ``WrongCredentials`` and ``WrongCode``."""
        user = await self.prove(user_id, password, code, client)
        await note()
        await self.repository.remove(user_id, while_password_is_that_of(user))

    async def remove_proved(self, user_id: str, note: Note = no_note) -> None:
        """Delete an account without a password, whose owner has proved elsewhere who they are. The caller ends its sessions.

        Raises:
            NoAccount: there is none. ``WrongCredentials``: it has a password.
        """
        user = await self.get(user_id)
        if user is None:
            raise NoAccount
        _refuse_password(user)
        await note()
        await self.repository.remove(user_id, _refuse_password)

    async def block(self, user_id: str, until: float | None) -> User:
        """Block sign-ins to an account until a time in UTC seconds; ``None`` unblocks it. Raises ``NoAccount``."""
        return await self._change(user_id, blocked_until=until)

    async def set_role(self, user_id: str, role: Role) -> User:
        """Change the role of an account. Raises ``NoAccount``."""
        return await self._change(user_id, role=role)

    async def _change(self, user_id: str, check: Check = _no_check, **fields: Any) -> User:
        return await self.repository.change(user_id, check, **fields)

    async def role_of(self, user_id: str) -> Role:
        """Return a user's role; ``Role.USER`` if the account does not exist or is damaged."""
        user = await self.look_up(user_id)
        return user.role if isinstance(user, User) else Role.USER

    async def with_role(self, role: Role) -> Sequence[User | DamagedUser]:
        """Return at most a hundred users with this role."""
        return await self.repository.page("", _MAX_STAFF, role=role)

    async def has_operator(self) -> bool:
        """Return whether there is an operator or an admin."""
        return await self.repository.has_role(Role.OPERATOR) or await self.repository.has_role(Role.ADMIN)
