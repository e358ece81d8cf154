"""``Accounts``: the rules for registration, sign-in and changes of accounts.

Security-relevant changes are recorded before they are made: methods call their ``note`` argument after all checks, and change
nothing if it fails. It must not know requests or pages.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.codec import Codec
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import (
    AlreadyTaken,
    Blocked,
    InvalidForm,
    NoAccount,
    WrongCode,
    WrongCredentials,
)
from tornado_sessions.server.accounts.names import check_name
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.repository import ATTEMPTS, AccountRepository, Check, changed
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, clean, key_of
from tornado_sessions.server.roles import Role

__all__ = ["Accounts", "Note", "no_note"]

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


async def no_note() -> None:
    """Record nothing."""


class Accounts:
    """The accounts of a server.

    A ``client`` is where an attempt comes from; an IP address alone stands for an unknown device.
    Every method that takes a password may also raise ``Throttled`` (too many failures) and ``HasherBusy``; then nothing was tried.
    Registrations are throttled by IP address.

    Args:
        repository: stores the accounts.
        passwords: hashes and verifies passwords.
        throttle: limits failed attempts.
        codec: seals the secrets of two-step verification.
        rules: the rules for new passwords.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        repository: AccountRepository,
        passwords: Passwords,
        throttle: Throttle,
        codec: Codec,
        rules: PasswordRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.repository = repository
        self._passwords = passwords
        self._throttle = throttle
        self._codec = codec
        self.rules = rules
        self._clock = clock

    async def open(self) -> None:
        """Prepare the hasher."""
        await self._passwords.open()

    async def close(self) -> None:
        """Refuse attempts that wait, and stop the hasher's threads."""
        self._throttle.close()
        self._passwords.close()

    async def register(
        self,
        name: str,
        email: str,
        password: str,
        *,
        role: Role = Role.USER,
        client: Client | str | None = None,
        note: Note = no_note,
        is_first: bool = False,
    ) -> User:
        """Create an account.

        Args:
            name, email, password: as typed.
            role: the role of the account.
            client: where the registration comes from; ``None`` for commands and the setup link, which are not throttled.
            note: records the registration.
            is_first: whether it is the operator that the setup link makes.

        Raises:
            InvalidForm: fields are invalid, the name or email is taken, or there is an operator that the setup link made.
        """
        name, email = clean(name), clean(email)
        origin = Client.of(client or "")
        if client is not None:
            await self._throttle.register(origin)
        found = {
            "username": check_name(name, by_operator=client is None or role.is_staff),
            "email": check_email(email),
            # There is no second step yet.
            "password": await self._judge(password, [name, email], origin, two_steps=False),
        }
        faults: dict[str, Message | str] = {field: fault for field, fault in found.items() if fault is not None}
        if faults:
            raise InvalidForm(faults)
        if client is not None and (twin := await self._same(name, email, password, origin)):
            return twin
        now = self._clock()
        # Hash before recording: hashing may be refused, and then nothing must be in the audit log.
        async with self._throttle.turn(origin, first=client is None) as turn:
            password_hash = await self._passwords.hash(password, turn)
        user = User(
            name=name,
            email=email,
            role=role,
            password_hash=password_hash,
            created_at=now,
            password_changed_at=now,
            is_first=is_first,
        )
        await note()
        try:
            return await self.repository.add(user)
        except AlreadyTaken as taken:
            if client is not None and (twin := await self._same(name, email, password, origin)):
                return twin
            raise InvalidForm({taken.field: _TAKEN[taken.field]}) from None

    async def _same(self, name: str, email: str, password: str, client: Client) -> User | None:
        """Return the account that the same form has created a moment ago: people click twice, and browsers send again."""
        found = await self.look_up(name)
        if not isinstance(found, User) or (found.name, found.email) != (name, email):
            return None
        if abs(self._clock() - found.created_at) > _TWICE:
            return None
        async with self._throttle.turn(client, first=False) as turn:
            return found if await self._passwords.verify(found.password_hash, password, turn) else None

    async def _judge(self, password: str, known: list[str], client: Client | str, *, two_steps: bool) -> Message | None:
        rules = self.rules
        return await self._passwords.judge(lambda: rules.fault(password, known, two_steps=two_steps), Client.of(client))

    async def log_in(self, name: str, password: str, client: Client | str) -> User:
        """Verify a password and return the account.

        If the account's ``has_two_steps`` is true, the caller must also call ``second_step``.

        Raises:
            WrongCredentials: the name is unknown or the password is wrong; both take equally long.
            Blocked: the password is right, but an operator has blocked the account.
            DamagedAccount: the record of the account cannot be read.
        """
        client = Client.of(client)
        async with self._throttle.log_in(key_of(name), await self.get(name), client) as turn:
            # Read the account again: the attempt may have waited, and its password been changed.
            user = await self.get(name)
            # Verify even for an unknown name, so that the time of the answer does not reveal which names exist.
            if not await self._passwords.verify(user.password_hash if user else None, password, turn) or user is None:
                raise WrongCredentials
            # Only after the password: otherwise anyone could find out which accounts are blocked.
            self._refuse_blocked(user)
            if self._passwords.is_outdated(user.password_hash):
                # In the same turn: with the right password, nobody is refused because too many others wait.
                return await self._renewed(user, await self._passwords.hash(password, turn))
            return user

    async def _renewed(self, user: User, password_hash: str) -> User:
        """Store a hash of the same password with the current parameters and return the changed account."""
        renewed = changed(user, password_hash=password_hash)
        # The revision makes this write fail if the password was changed in the meantime.
        if await self.repository.replace(renewed):
            return renewed
        now = await self.get(user.name)
        # Another sign-in may have rehashed it first. Return the stored hash, because ``may_stay`` compares hashes.
        return now if now is not None and now.has_password_of(user) else user

    async def remember(self, user: User, client: Client) -> str:
        """Make a client's device and network known after a complete sign-in. Return the value of the device's cookie."""
        return await self._throttle.remember(user, client)

    async def second_step(self, name: str, code: str, client: Client | str) -> User:
        """Verify a code of an authenticator app or a recovery code, and return the account. Each code works once.

        Raises:
            WrongCode: the code is wrong, expired or used. It counts as a failed sign-in.
            Blocked: an operator has blocked the account in the meantime.
        """
        async with self._throttle.second_step(key_of(name), await self.get(name), Client.of(client), code):
            used = await self._use_code(name, code)
        self._refuse_blocked(used)
        return used

    async def prove(self, name: str, password: str, code: str, client: Client | str) -> User:
        """Verify everything that signing in requires: the password and, with two-step verification, a code.

        Raises:
            WrongCode: the password is right, but not the code.
            WrongCredentials: the password is wrong. The errors of ``log_in`` and ``second_step`` apply as well.
        """
        return await self._with_code(await self.log_in(name, password, client), code, client)

    async def _with_code(self, user: User, code: str, client: Client | str) -> User:
        if not user.has_two_steps:
            return user
        used = await self.second_step(user.name, code, client)
        # The password that was verified may have been changed since.
        _while_password_is_that_of(user)(used)
        return used

    async def _use_code(self, name: str, code: str) -> User:
        for _ in range(ATTEMPTS):
            user = await self.get(name)
            used = two_step.use(user, two_step.unseal(self._codec, user), code, self._clock()) if user else None
            if used is None:
                break
            # Of two requests with the same code, only one replaces this revision. The other reads again and finds the code used.
            if await self.repository.replace(used):
                return used
        raise WrongCode

    def _refuse_blocked(self, user: User) -> None:
        if user.blocked_until is not None and user.is_blocked(self._clock()):
            raise Blocked(user.blocked_until)

    async def may_stay(self, user: User) -> bool:
        """Return whether a sign-in is still valid: password, two-step verification and role are the same, and it is not blocked."""
        now = await self.look_up(user.name)
        return (
            isinstance(now, User)
            and now.password_hash == user.password_hash
            and now.totp_secret == user.totp_secret
            # The role decides the limits of a session, so a session must not outlive a change of role.
            and now.role is user.role
            and not now.is_blocked(self._clock())
        )

    async def enable_two_steps(self, name: str, secret: str, code: str, note: Note = no_note) -> list[str]:
        """Turn two-step verification on. Return the recovery codes in clear text; only their hashes are stored.

        Raises:
            WrongCode: the code does not match the secret, or two-step verification is already on; nothing has changed.
        """
        step, user = two_step.step_of(secret, code, self._clock()), await self.get(name)
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

        # Storing the step marks this code as used, so that it cannot be used again to sign in.
        await self._change(name, refuse_second, totp_secret=sealed, totp_step=step, recovery=hashes)
        return codes

    async def disable_two_steps(
        self, name: str, password: str, code: str, client: Client | str, note: Note = no_note
    ) -> User:
        """Turn two-step verification off.

        Raises:
            WrongCredentials: the password is wrong; ``WrongCode``: the code is.
            InvalidForm: the password is too short to be all that signing in requires.
        """
        user = await self.log_in(name, password, client)
        # Before the code is used up.
        if self.rules.length_fault(password, two_steps=False) is not None:
            raise InvalidForm(
                {"off_password": N_("Your password is too short without two-step verification. Change it first.")}
            )
        user = await self._with_code(user, code, client)
        await note()
        return await self._change(name, _while_password_is_that_of(user), **_NO_STEPS)

    async def reset_two_steps(self, name: str, note: Note = no_note) -> User:
        """Turn two-step verification off without a proof: an operator vouches for the user. Raises ``NoAccount``."""
        return await self._reset(name, note, **_NO_STEPS)

    async def reset_password(self, name: str, new: str, note: Note = no_note) -> User:
        """Replace a password without a proof: an operator vouches for the user. The caller ends the user's sessions.

        Raises:
            NoAccount: the account does not exist.
            InvalidForm: the new password is unacceptable.
        """
        user = await self.get(name)
        if user is None:
            raise NoAccount
        fault = await self._judge(new, [user.name, user.email], "", two_steps=user.has_two_steps)
        if fault is not None:
            raise InvalidForm({"password": fault})
        return await self._reset(name, note, **await self._new_password(user, new, Client()))

    async def _reset(self, name: str, note: Note, **fields: Any) -> User:
        if await self.get(name) is None:
            raise NoAccount
        await note()
        return await self._change(name, **fields)

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
        self, name: str, old: str, new: str, client: Client | str, note: Note = no_note, code: str = ""
    ) -> User:
        """Replace a password.

        Raises:
            WrongCredentials: the old password is wrong; ``WrongCode``: the code is.
            InvalidForm: the new password is unacceptable.
        """
        user = await self.log_in(name, old, client)
        fault = await self._judge(new, [user.name, user.email], client, two_steps=user.has_two_steps)
        if fault is not None:
            raise InvalidForm({"new_password": fault})
        # After the other checks, because each code works once.
        user = await self._with_code(user, code, client)
        fields = await self._new_password(user, new, Client.of(client))
        await note()
        return await self._change(name, _while_password_is_that_of(user), **fields)

    async def change_email(
        self, name: str, password: str, email: str, client: Client | str, note: Note = no_note, code: str = ""
    ) -> User:
        """Replace the email address.

        Raises:
            WrongCredentials: the password is wrong; ``WrongCode``: the code is.
            InvalidForm: the email is malformed, or belongs to another account.
        """
        user = await self.log_in(name, password, client)
        email = clean(email)
        fault = check_email(email)
        if fault is not None:
            raise InvalidForm({"email": fault})
        user = await self._with_code(user, code, client)
        await note()
        try:
            return await self._change(name, _while_password_is_that_of(user), email=email)
        except AlreadyTaken:
            raise InvalidForm({"email": _TAKEN["email"]}) from None

    async def remove(
        self, name: str, password: str, client: Client | str, note: Note = no_note, code: str = ""
    ) -> None:
        """Delete an account permanently. The caller ends its sessions. Raises ``WrongCredentials`` and ``WrongCode``."""
        user = await self.prove(name, password, code, client)
        await note()
        await self.repository.remove(key_of(name), _while_password_is_that_of(user))

    async def block(self, name: str, until: float | None) -> User:
        """Block sign-ins to an account until a time in UTC seconds; ``None`` unblocks it. Raises ``NoAccount``."""
        return await self._change(name, blocked_until=until)

    async def set_role(self, name: str, role: Role) -> User:
        """Change the role of an account. Raises ``NoAccount``."""
        return await self._change(name, role=role)

    async def _change(self, name: str, check: Check = lambda _: None, **fields: Any) -> User:
        return await self.repository.change(key_of(name), check, **fields)

    async def get(self, name: str) -> User | None:
        """Return the account with a name, ignoring case, or ``None``. Raises ``DamagedAccount``."""
        return await self.repository.find(key_of(name))

    async def look_up(self, name: str) -> User | DamagedUser | None:
        """Return the account with a name, readable or damaged, or ``None``."""
        return await self.repository.get(key_of(name))

    async def role_of(self, user_id: str) -> Role:
        """Return a user's role; ``Role.USER`` if the account does not exist or is damaged."""
        user = await self.look_up(user_id)
        return user.role if isinstance(user, User) else Role.USER

    async def with_role(self, role: Role) -> list[User | DamagedUser]:
        """Return at most a hundred users with this role."""
        return await self.repository.with_role(role, _MAX_STAFF)

    async def has_operator(self) -> bool:
        """Return whether there is an operator or an admin."""
        return await self.repository.has_role(Role.OPERATOR) or await self.repository.has_role(Role.ADMIN)


def _while_password_is_that_of(verified: User) -> Check:
    """Return a check that raises ``WrongCredentials`` if a concurrent change has replaced the password of ``verified``."""

    def check(now: User) -> None:
        if not now.has_password_of(verified):
            raise WrongCredentials

    return check
