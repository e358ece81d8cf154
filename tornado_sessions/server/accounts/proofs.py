"""``Proofs``: verify passwords and codes, and who may stay signed in.

It must not know requests or pages, or how accounts change otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from tornado_sessions.codec import Codec
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import Blocked, FormRepeated, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.repository import ATTEMPTS, AccountRepository, Check, changed
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.user import DamagedUser, User, key_of

__all__ = ["Proofs", "while_password_is_that_of"]


async def _tell_nobody(_user: User, _language: str) -> None:
    """Send no mail."""


class Proofs:
    """Proofs of who somebody is.

    A ``client`` is where an attempt comes from; an IP address alone means an unknown device.
    Every method that takes a password may also raise ``Throttled`` (too many failures) and ``HasherBusy``; then nothing was tried.

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
        #: Called when a recovery code was used, wherever that was, with the account and the code of the language of the request.
        self.on_recovery_code: Callable[[User, str], Awaitable[None]] = _tell_nobody

    def stop_waiting(self) -> None:
        """Refuse attempts that have to wait: the server stops, and they would hold it up for half a minute."""
        self._throttle.close()

    async def close(self) -> None:
        """Refuse attempts that wait, and stop the hasher's threads."""
        self.stop_waiting()
        self._passwords.close()

    async def log_in(self, name: str, password: str, client: Client | str) -> User:
        """Verify a password and return the account.

        If the account's ``has_two_steps`` is true, the caller must also call ``second_step``.

        Raises:
            WrongCredentials: the name is unknown or the password is wrong; both take equally long.
            Blocked: the password is right, but an operator has blocked the account.
            DamagedAccount: the record of the account cannot be read.
        """
        found = await self.repository.find_named(name)
        return await self._verify(
            key_of(name), found, lambda: self.repository.find_named(name), password, Client.of(client)
        )

    async def verify(self, user_id: str, password: str, client: Client | str) -> User:
        """Do the same for a signed-in user, by user id."""
        found = await self.get(user_id)
        key = found.key if found is not None else key_of(user_id)
        return await self._verify(key, found, lambda: self.get(user_id), password, Client.of(client))

    async def _verify(
        self, key: str, found: User | None, find: Callable[[], Awaitable[User | None]], password: str, client: Client
    ) -> User:
        async with self._throttle.log_in(key, found, client) as turn:
            # Read the account again: the attempt may have waited, and its password been changed.
            user = await find()
            # Verify even for an unknown name, so that the time of the answer does not reveal which names exist.
            is_right = await self._passwords.verify(user.password_hash if user else None, password, turn)
            if user is None or not (is_right or await self.repository.is_former_password(user, password)):
                raise WrongCredentials
            # Only after the password: otherwise anyone could find out which accounts are blocked.
            self._refuse_blocked(user)
            if not is_right or self._passwords.is_outdated(user.password_hash):
                # In the same turn: with the right password, nobody is refused because too many others wait.
                return await self._renewed(user, await self._passwords.hash(password, turn))
            return user

    async def _renewed(self, user: User, password_hash: str) -> User:
        """Store a hash of the same password with the current parameters and return the changed account."""
        renewed = changed(user, password_hash=password_hash)
        # The revision makes this write fail if the password was changed in the meantime.
        if await self.repository.replace(renewed):
            return renewed
        now = await self.get(user.id)
        # Another sign-in may have rehashed it first. Return the stored hash, because ``may_stay`` compares hashes.
        return now if now is not None and now.has_password_of(user) else user

    async def remember(self, user: User, client: Client) -> str:
        """Make a client's device and network known after a complete sign-in. Return the value of the device's cookie."""
        return await self._throttle.remember(user, client)

    async def second_step(self, user_id: str, code: str, client: Client | str, form: str = "") -> User:
        """Verify a code of an authenticator app or a recovery code, and return the account. Each code works once.

        Args:
            user_id, code, client: the account, the code as typed, and where it comes from.
            form: identifies the form of the code. Of two copies of it with a code of the app, one signs in.

        Raises:
            FormRepeated: a copy of this form has signed in.
            WrongCode: the code is wrong, expired or used. It counts as a failed sign-in.
            Blocked: an operator has blocked the account in the meantime.
        """
        user = await self.get(user_id)
        key = user.key if user is not None else key_of(user_id)
        async with self._throttle.second_step(key, user, Client.of(client), code):
            used = await self._use_code_of(form, user_id, code)
        if not two_step.is_of_app(code):
            await self.on_recovery_code(used, Client.of(client).language)
        self._refuse_blocked(used)
        return used

    async def prove(self, user_id: str, password: str, code: str, client: Client | str) -> User:
        """Verify everything that signing in requires: the password and, with two-step verification, a code.

        Raises:
            WrongCode: the password is right, but not the code.
            WrongCredentials: the password is wrong. The errors of ``log_in`` and ``second_step`` apply as well.
        """
        return await self._with_code(await self.verify(user_id, password, client), code, client)

    async def _with_code(self, user: User, code: str, client: Client | str) -> User:
        if not user.has_two_steps:
            return user
        used = await self.second_step(user.id, code, client)
        # The password that was verified may have been changed since.
        while_password_is_that_of(user)(used)
        return used

    async def _use_code_of(self, form: str, user_id: str, code: str) -> User:
        """Use a code. If it is right, but has been used by a copy of the same form, raise ``FormRepeated``."""
        if not form:
            return await self._use_code(user_id, code)
        # Counted before the attempt, and left counted after a success: so of two copies at the same moment, whichever loses sees
        # the other. A wrong code stays a wrong code, and another form with the same code does, too.
        await self._throttle.count_form(form, 1)
        try:
            return await self._use_code(user_id, code)
        except WrongCode:
            others = await self._throttle.count_form(form, -1)
            user = await self.get(user_id)
            if others and user and two_step.is_used(user, two_step.unseal(self._codec, user), code, self._clock()):
                raise FormRepeated from None
            raise

    async def _use_code(self, user_id: str, code: str) -> User:
        for _ in range(ATTEMPTS):
            user = await self.get(user_id)
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
        now = await self.look_up(user.id)
        return (
            isinstance(now, User)
            and now.password_hash == user.password_hash
            and now.totp_secret == user.totp_secret
            # The role decides the limits of a session, so a session must not outlive a change of role.
            and now.role is user.role
            and not now.is_blocked(self._clock())
        )

    async def get(self, user_id: str) -> User | None:
        """Return the account with a user id, or ``None``. Raises ``DamagedAccount``.

        In our own store the id is the username, ignoring case.
        """
        return await self.repository.find(user_id)

    async def look_up(self, user_id: str) -> User | DamagedUser | None:
        """Return the account with a user id, readable or damaged, or ``None``."""
        return await self.repository.get(user_id)

    async def look_up_named(self, name: str) -> User | DamagedUser | None:
        """Return the account with a username, ignoring case, readable or damaged, or ``None``."""
        return await self.repository.named(name)


def while_password_is_that_of(verified: User) -> Check:
    """Return a check that raises ``WrongCredentials`` if a concurrent change has replaced the password of ``verified``."""

    def check(now: User) -> None:
        if not now.has_password_of(verified):
            raise WrongCredentials

    return check
