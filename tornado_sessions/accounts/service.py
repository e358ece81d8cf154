"""``Accounts``: register, log in, change a password; the rules between a form and a store.

It must not know requests or pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tornado_sessions.accounts.errors import Refused, Taken, WrongCredentials
from tornado_sessions.accounts.passwords import Passwords
from tornado_sessions.accounts.stores import AccountStore
from tornado_sessions.accounts.throttle import Throttle
from tornado_sessions.accounts.user import User, check_email, check_name, clean, key_of
from tornado_sessions.pages import Role

__all__ = ["Accounts"]

_TAKEN = {"username": "This name is taken.", "email": "There is an account with this address already."}


class Accounts:
    """The accounts of a server.

    Args:
        store: where they are kept.
        passwords: hashes and verifies.
        throttle: counts failures.
        clock: the time in UTC seconds.
    """

    def __init__(
        self, store: AccountStore, passwords: Passwords, throttle: Throttle, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = throttle
        self._clock = clock

    async def open(self) -> None:
        """Open the store. Raises ``StoreUnavailable``."""
        await self._store.open()
        await self._passwords.open()

    async def close(self) -> None:
        """Close the store and let the threads go."""
        self._passwords.close()
        await self._store.close()

    async def register(
        self, name: str, email: str, password: str, *, role: Role = Role.USER, ip: str | None = None
    ) -> User:
        """Make an account.

        Args:
            name, email, password: as typed.
            role: what it may do.
            ip: where the form came from; ``None`` for commands, which are not throttled.

        Raises:
            Refused: tells what is wrong with each field, all at once.
            Throttled: too many registrations from this address.
            Busy: too many passwords are being hashed.
        """
        name, email = clean(name), clean(email)
        await self._refuse_faults(name, email, password)
        if ip is not None:
            await self._throttle.register(ip)
        now = self._clock()
        password_hash = await self._passwords.hash(password)
        user = User(
            name=name, email=email, role=role, password_hash=password_hash, created_at=now, password_changed_at=now
        )
        try:
            await self._store.add(user)
        except Taken as taken:
            raise Refused({taken.field: _TAKEN[taken.field]}) from None
        return user

    async def _refuse_faults(self, name: str, email: str, password: str) -> None:
        found = {
            "username": check_name(name),
            "email": check_email(email),
            "password": await self._passwords.fault(password, [name, email]),
        }
        faults = {field: fault for field, fault in found.items() if fault is not None}
        if faults:
            raise Refused(faults)

    async def log_in(self, name: str, password: str, ip: str) -> User:
        """The account of a name, if the password is right. A hash with other parameters is made anew.

        Raises:
            WrongCredentials: no such name, or another password; both take as long.
            Throttled, Busy: nothing was tried.
        """
        async with self._throttle.log_in(key_of(name), ip):
            user = await self._store.get(key_of(name))
            if not await self._passwords.verify(user.password_hash if user else None, password) or user is None:
                raise WrongCredentials
        if self._passwords.is_outdated(user.password_hash):
            user = await self._replace_hash(user, password, user.password_changed_at)
        return user

    async def change_password(self, name: str, old: str, new: str, ip: str) -> User:
        """Replace a password by one that is good enough.

        Raises:
            WrongCredentials: the old one is wrong.
            Refused: tells what is wrong with the new one.
            Throttled, Busy: nothing was tried.
        """
        user = await self.log_in(name, old, ip)
        fault = await self._passwords.fault(new, [user.name, user.email])
        if fault is not None:
            raise Refused({"new_password": fault})
        return await self._replace_hash(user, new, self._clock())

    async def _replace_hash(self, user: User, password: str, changed_at: float) -> User:
        new = msgspec.structs.replace(
            user, password_hash=await self._passwords.hash(password), password_changed_at=changed_at
        )
        # Guarded: a password that was changed meanwhile is not undone.
        await self._store.replace(new, expected_hash=user.password_hash)
        return new

    async def get(self, name: str) -> User | None:
        """The account of a name, without regard to case."""
        return await self._store.get(key_of(name))

    async def role_of(self, user_id: str) -> Role:
        """What a user may do; ``Role.USER`` for one whose account is gone."""
        user = await self.get(user_id)
        return user.role if user is not None else Role.USER

    async def has_operator(self) -> bool:
        """Whether anybody may end sessions."""
        return await self._store.has_role(Role.OPERATOR)
