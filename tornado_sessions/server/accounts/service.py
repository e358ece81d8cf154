"""``Accounts``: register, sign in, change a password: the rules between a form and the stored accounts.

It must not know requests or pages. A change that concerns security is recorded first: its ``note`` is called once everything is
checked, and when that fails nothing has changed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.codec import Codec
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.errors import AlreadyTaken, Blocked, InvalidForm, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.repository import ATTEMPTS, AccountRepository, Check, changed
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, check_name, clean, key_of
from tornado_sessions.server.roles import Role

__all__ = ["Accounts"]

_TAKEN = {
    "username": N_("That username is taken."),
    "email": N_("An account with this email already exists."),
}

_MAX_STAFF = 100
#: Seconds by which the time of a password change grows at least, so that two changes never have the same.
_TICK = 1e-6

#: Records a change that is about to be made.
Note = Callable[[], Awaitable[None]]


async def no_note() -> None:
    """Record nothing."""


class Accounts:
    """The accounts of a server.

    Every method that takes a password may also raise ``Throttled`` after too many failures, and ``HasherBusy``: then nothing was
    tried. A new account is throttled by its address.

    Args:
        repository: where they are kept.
        passwords: hashes and verifies.
        throttle: counts failures.
        codec: seals the secrets of two-step verification.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        repository: AccountRepository,
        passwords: Passwords,
        throttle: Throttle,
        codec: Codec,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.repository = repository
        self._passwords = passwords
        self._throttle = throttle
        self._codec = codec
        self._clock = clock

    async def open(self) -> None:
        """Prepare the hasher."""
        await self._passwords.open()

    async def close(self) -> None:
        """End the hasher's threads."""
        self._passwords.close()

    async def register(
        self,
        name: str,
        email: str,
        password: str,
        *,
        role: Role = Role.USER,
        ip: str | None = None,
        note: Note = no_note,
    ) -> User:
        """Create an account.

        Args:
            name, email, password: as typed.
            role: what the user may do.
            ip: where the form came from; ``None`` for commands, which are not throttled.
            note: records it.

        Raises:
            InvalidForm: says what is wrong with each field.
        """
        name, email = clean(name), clean(email)
        if ip is not None:
            await self._throttle.register(ip)
        found = {
            "username": check_name(name),
            "email": check_email(email),
            "password": await self._passwords.fault(password, [name, email]),
        }
        faults = {field: fault for field, fault in found.items() if fault is not None}
        if faults:
            raise InvalidForm(faults)
        now = self._clock()
        password_hash = await self._passwords.hash(password)
        user = User(
            name=name, email=email, role=role, password_hash=password_hash, created_at=now, password_changed_at=now
        )
        await note()
        try:
            return await self.repository.add(user)
        except AlreadyTaken as taken:
            raise InvalidForm({taken.field: _TAKEN[taken.field]}) from None

    async def log_in(self, name: str, password: str, ip: str) -> User:
        """Return the account of a name, if the password is right.

        Where ``has_two_steps`` is set, the sign-in is complete only after ``second_step``.

        Raises:
            WrongCredentials: unknown name or wrong password; both take equally long.
            Blocked: the password is right, but an operator keeps the account out for a while.
            DamagedAccount: the record of the account cannot be read.
        """
        async with self._throttle.log_in(key_of(name), ip):
            user = await self.get(name)
            if not await self._passwords.verify(user.password_hash if user else None, password) or user is None:
                raise WrongCredentials
        self._refuse_blocked(user)
        return await self._renewed(user, password) if self._passwords.is_outdated(user.password_hash) else user

    async def _renewed(self, user: User, password: str) -> User:
        """The account with a hash of today's parameters."""
        renewed = changed(user, password_hash=await self._passwords.hash(password))
        # Guarded by the revision: a password that was changed in the meantime is not undone.
        if await self.repository.replace(renewed):
            return renewed
        now = await self.get(user.name)
        # Another sign-in may have renewed it first: ``may_stay`` compares hashes, and must not take that for a change.
        return now if now is not None and now.has_password_of(user) else user

    async def second_step(self, name: str, code: str, ip: str) -> User:
        """Accept the code of an authenticator app, or a recovery code; each works once.

        Raises:
            WrongCode: it is neither. Counts as a failed sign-in.
            Blocked: an operator has blocked the account in the meantime.
        """
        async with self._throttle.second_step(key_of(name), ip):
            used = await self._use_code(name, code)
        self._refuse_blocked(used)
        return used

    async def _use_code(self, name: str, code: str) -> User:
        for _ in range(ATTEMPTS):
            user = await self.get(name)
            used = two_step.use(user, two_step.unseal(self._codec, user), code, self._clock()) if user else None
            if used is None:
                break
            # Of two requests with one code, only one replaces this revision; the other looks again and finds the code used.
            if await self.repository.replace(used):
                return used
        raise WrongCode

    def _refuse_blocked(self, user: User) -> None:
        if user.blocked_until is not None and user.is_blocked(self._clock()):
            raise Blocked(user.blocked_until)

    async def may_stay(self, user: User) -> bool:
        """Return whether a sign-in still holds: since it was checked, neither password nor role changed, and nobody blocked it."""
        now = await self.look_up(user.name)
        return (
            isinstance(now, User)
            and now.password_hash == user.password_hash
            # Sessions of operators have shorter limits, chosen by the role.
            and now.role is user.role
            and not now.is_blocked(self._clock())
        )

    async def enable_two_steps(self, name: str, secret: str, code: str, note: Note = no_note) -> list[str]:
        """Require codes from now on. Returns the recovery codes in clear; only their hashes are stored.

        Raises:
            WrongCode: the code does not fit the secret, or codes are required already; nothing has changed.
        """
        step, user = two_step.step_of(secret, code, self._clock()), await self.get(name)
        if step is None or user is None or user.has_two_steps:
            raise WrongCode
        codes = two_step.new_recovery_codes()
        hashes = tuple(map(two_step.hash_of, codes))
        await note()
        sealed = two_step.seal(self._codec, user, secret)

        def refuse_second(now: User) -> None:
            """Of two requests at once one counts: a secret that an app already holds is never replaced unnoticed."""
            if now.has_two_steps:
                raise WrongCode

        await self._change(name, refuse_second, totp_secret=sealed, totp_step=step, recovery=hashes)
        return codes

    async def disable_two_steps(self, name: str) -> None:
        """Require the password alone again."""
        await self._change(name, totp_secret=None, totp_step=0, recovery=())

    async def change_password(self, name: str, old: str, new: str, ip: str, note: Note = no_note) -> User:
        """Replace a password.

        Raises:
            WrongCredentials: the old one is wrong.
            InvalidForm: says what is wrong with the new one.
        """
        user = await self.log_in(name, old, ip)
        fault = await self._passwords.fault(new, [user.name, user.email])
        if fault is not None:
            raise InvalidForm({"new_password": fault})
        password_hash = await self._passwords.hash(new)
        await note()
        changed_at = max(self._clock(), user.password_changed_at + _TICK)
        check = _while_password_is_that_of(user)
        return await self._change(name, check, password_hash=password_hash, password_changed_at=changed_at)

    async def change_email(self, name: str, password: str, email: str, ip: str, note: Note = no_note) -> User:
        """Replace the email address.

        Raises:
            WrongCredentials: the password is wrong.
            InvalidForm: the address is malformed, or belongs to another account.
        """
        user = await self.log_in(name, password, ip)
        email = clean(email)
        fault = check_email(email)
        if fault is not None:
            raise InvalidForm({"email": fault})
        await note()
        try:
            return await self._change(name, _while_password_is_that_of(user), email=email)
        except AlreadyTaken:
            raise InvalidForm({"email": _TAKEN["email"]}) from None

    async def remove(self, name: str, password: str, ip: str, note: Note = no_note) -> None:
        """Remove an account for good. The caller ends its sessions. Raises ``WrongCredentials``."""
        user = await self.log_in(name, password, ip)
        await note()
        await self.repository.remove(key_of(name), _while_password_is_that_of(user))

    async def block(self, name: str, until: float | None) -> User:
        """Refuse sign-ins to an account until a time in UTC seconds; ``None``: allow them again. Raises ``NoAccount``."""
        return await self._change(name, blocked_until=until)

    async def set_role(self, name: str, role: Role) -> User:
        """Give an account a role. Raises ``NoAccount``."""
        return await self._change(name, role=role)

    async def _change(self, name: str, check: Check = lambda _: None, **fields: Any) -> User:
        return await self.repository.change(key_of(name), check, **fields)

    async def get(self, name: str) -> User | None:
        """Return the account of a name, without regard to case, or ``None``. Raises ``DamagedAccount``."""
        return await self.repository.find(key_of(name))

    async def look_up(self, name: str) -> User | DamagedUser | None:
        """Return the account of a name for pages, which show a damaged one as such."""
        return await self.repository.get(key_of(name))

    async def role_of(self, user_id: str) -> Role:
        """Return what a user may do; ``Role.USER`` where the account is gone or damaged."""
        user = await self.look_up(user_id)
        return user.role if isinstance(user, User) else Role.USER

    async def with_role(self, role: Role) -> list[User | DamagedUser]:
        """Return the first hundred users with this role."""
        return await self.repository.with_role(role, _MAX_STAFF)

    async def has_operator(self) -> bool:
        """Return whether anybody may end sessions."""
        return await self.repository.has_role(Role.OPERATOR) or await self.repository.has_role(Role.ADMIN)


def _while_password_is_that_of(verified: User) -> Check:
    """Refuse a change that an old password has allowed: of two changes at once, the first decides."""

    def check(now: User) -> None:
        if not now.has_password_of(verified):
            raise WrongCredentials

    return check
