"""``Accounts``: the rules for changes of accounts.

Security-relevant changes are recorded before they are made: methods call their ``note`` argument after all checks, and change
nothing if it fails. It must not know requests or pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tornado_sessions.messages import N_
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
from tornado_sessions.server.accounts.proofs import while_password_is_that_of
from tornado_sessions.server.accounts.registration import TAKEN, Note, Registration, no_note
from tornado_sessions.server.accounts.repository import Check
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, clean
from tornado_sessions.server.roles import Role

__all__ = ["Accounts"]

_MAX_STAFF = 100
#: Minimum difference between the times of two password changes, in seconds. The time identifies the password.
_TICK = 1e-6

#: The fields of an account without two-step verification.
_NO_STEPS: dict[str, Any] = {"totp_secret": None, "totp_step": 0, "recovery": ()}


def _no_check(_: User) -> None:
    """Accept every revision of an account."""


def _refuse_password(user: User) -> None:
    if not user.issuer:
        raise WrongCredentials


#: Commands and operators are not throttled.
_OPERATOR = Client()


class Accounts(Registration):
    """The accounts of a server. For the arguments and for ``client`` see ``Proofs``."""

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
            raise InvalidForm({"email": TAKEN["email"]}) from None

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
