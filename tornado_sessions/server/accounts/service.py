"""``Accounts``: register, log in, change a password; the rules between a form and a store.

It must not know requests or pages.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.codec import Codec
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts import guarded, two_step
from tornado_sessions.server.accounts.errors import AlreadyTaken, Blocked, InvalidForm, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.guarded import ATTEMPTS, Check, changed, has_same_password, while_password_is_of
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.stores import AccountStore
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.user import DamagedUser, User, check_email, check_name, clean, key_of
from tornado_sessions.server.roles import Role

__all__ = ["Accounts"]

_TAKEN = {
    "username": N_("That username is taken."),
    "email": N_("An account with this email already exists."),
}

_MOST_STAFF = 100
#: Seconds by which the time of a password's change grows at least, so that two changes never have the same.
_TICK = 1e-6

#: Written when all is checked, and before anything changes; when it fails, nothing has changed.
Note = Callable[[], Awaitable[None]]


async def no_note() -> None:
    """For who keeps no log."""


class Accounts:
    """The accounts of a server.

    Args:
        store: where they are kept.
        passwords: hashes and verifies.
        throttle: counts failures.
        codec: seals what apps of the second step share with us.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        throttle: Throttle,
        codec: Codec,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = throttle
        self._codec = codec
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
        self,
        name: str,
        email: str,
        password: str,
        *,
        role: Role = Role.USER,
        ip: str | None = None,
        note: Note = no_note,
    ) -> User:
        """Make an account.

        Args:
            name, email, password: as typed.
            role: what it may do.
            ip: where the form came from; ``None`` for commands, which are not throttled.
            note: called when all is checked, before it is made.

        Raises:
            InvalidForm: tells what is wrong with each field, all at once.
            Throttled: too many forms from this address.
            HasherBusy: too many passwords are being hashed.
        """
        name, email = clean(name), clean(email)
        if ip is not None:
            await self._throttle.register(ip)
        await self._refuse_faults(name, email, password)
        now = self._clock()
        password_hash = await self._passwords.hash(password)
        user = User(
            name=name, email=email, role=role, password_hash=password_hash, created_at=now, password_changed_at=now
        )
        await note()
        try:
            await self._store.add(user)
        except AlreadyTaken as taken:
            raise InvalidForm({taken.field: _TAKEN[taken.field]}) from None
        return user

    async def _refuse_faults(self, name: str, email: str, password: str) -> None:
        found = {
            "username": check_name(name),
            "email": check_email(email),
            "password": await self._passwords.fault(password, [name, email]),
        }
        faults = {field: fault for field, fault in found.items() if fault is not None}
        if faults:
            raise InvalidForm(faults)

    async def log_in(self, name: str, password: str, ip: str) -> User:
        """The account of a name, if the password is right. A hash with other parameters is made anew.

        Where ``has_two_steps`` is set, the log-in is complete only after ``second_step``.

        Raises:
            WrongCredentials: no such name, or another password; both take as long.
            Blocked: the password is right, but an operator keeps the account out for a while.
            DamagedAccount: the account's record cannot be read.
            Throttled, HasherBusy: nothing was tried.
        """
        async with self._throttle.log_in(key_of(name), ip):
            user = await self.get(name)
            if not await self._passwords.verify(user.password_hash if user else None, password) or user is None:
                raise WrongCredentials
        self._refuse_blocked(user)
        return await self._renewed(user, password) if self._passwords.is_outdated(user.password_hash) else user

    async def _renewed(self, user: User, password: str) -> User:
        """The account with its hash made with today's parameters."""
        renewed = changed(user, password_hash=await self._passwords.hash(password))
        # Guarded: a password that was changed meanwhile is not undone.
        if await self._store.replace(renewed):
            return renewed
        now = await self.get(user.name)
        # Another sign-in may have renewed it first: ``may_stay`` compares hashes, and must not take that for a change.
        return now if now is not None and has_same_password(now, user) else user

    async def second_step(self, name: str, code: str, ip: str) -> User:
        """Take the code of an authenticator app, or a recovery code; each is good once.

        Raises:
            WrongCode: it is neither. Counts as a failure to log in.
            Blocked: an operator has meanwhile blocked the account.
            Throttled: nothing was tried.
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
            # Of two requests with one code only one finds the account as it was; the other looks again and sees the code used.
            if await self._store.replace(used):
                return used
        raise WrongCode

    def _refuse_blocked(self, user: User) -> None:
        if user.blocked_until is not None and user.is_blocked(self._clock()):
            raise Blocked(user.blocked_until)

    async def enable_two_steps(self, name: str, secret: str, code: str, note: Note = no_note) -> list[str]:
        """Ask for codes from now on; ``note`` is called before. Returns the recovery codes, in clear this once.

        Raises:
            WrongCode: the app does not show what it should, or codes are asked for already; nothing has changed.
        """
        step, user = two_step.step_of(secret, code, self._clock()), await self.get(name)
        if step is None or user is None or user.has_two_steps:
            raise WrongCode
        codes = two_step.new_recovery_codes()
        hashes = tuple(map(two_step.hash_of, codes))
        await note()
        sealed = two_step.seal(self._codec, user, secret)

        def refuse_second(now: User) -> None:
            """Of two requests at once one counts: a secret that an app already holds is never replaced unseen."""
            if now.has_two_steps:
                raise WrongCode

        await self._change(name, refuse_second, totp_secret=sealed, totp_step=step, recovery=hashes)
        return codes

    async def disable_two_steps(self, name: str) -> None:
        """The password is enough again."""
        await self._change(name, totp_secret=None, totp_step=0, recovery=())

    async def change_password(self, name: str, old: str, new: str, ip: str, note: Note = no_note) -> User:
        """Replace a password by one that is good enough; ``note`` is called before.

        Raises:
            WrongCredentials: the old one is wrong.
            InvalidForm: tells what is wrong with the new one.
            Throttled, HasherBusy: nothing was tried.
        """
        user = await self.log_in(name, old, ip)
        fault = await self._passwords.fault(new, [user.name, user.email])
        if fault is not None:
            raise InvalidForm({"new_password": fault})
        password_hash = await self._passwords.hash(new)
        await note()
        changed_at = max(self._clock(), user.password_changed_at + _TICK)
        return await self._change(
            name, while_password_is_of(user), password_hash=password_hash, password_changed_at=changed_at
        )

    async def change_email(self, name: str, password: str, email: str, ip: str, note: Note = no_note) -> User:
        """Replace the address; ``note`` is called before.

        Raises:
            WrongCredentials: the password is wrong.
            InvalidForm: the address is none, or another's.
            Throttled, HasherBusy: nothing was tried.
        """
        user = await self.log_in(name, password, ip)
        email = clean(email)
        fault = check_email(email)
        if fault is not None:
            raise InvalidForm({"email": fault})
        await note()
        try:
            return await self._change(name, while_password_is_of(user), email=email)
        except AlreadyTaken:
            raise InvalidForm({"email": _TAKEN["email"]}) from None

    async def remove(self, name: str, password: str, ip: str, note: Note = no_note) -> None:
        """Remove an account for good; ``note`` is called before. Its sessions are ended by the caller.

        Raises:
            WrongCredentials: the password is wrong.
            Throttled, HasherBusy: nothing was tried.
        """
        verified = await self.log_in(name, password, ip)
        await note()
        await guarded.remove(self._store, key_of(name), while_password_is_of(verified))

    async def block(self, name: str, until: float | None) -> User:
        """Refuse sign-ins to an account until a time in UTC seconds; ``None``: allow them again. Raises ``NoAccount``."""
        return await self._change(name, blocked_until=until)

    async def set_role(self, name: str, role: Role) -> User:
        """Give an account a role. Raises ``NoAccount``."""
        return await self._change(name, role=role)

    async def _change(self, name: str, check: Check = lambda _: None, **fields: Any) -> User:
        return await guarded.change(self._store, key_of(name), check, **fields)

    async def may_stay(self, user: User) -> bool:
        """Whether a sign-in still stands: since it was checked, nobody has blocked the account or changed its password or role."""
        now = await self.look_up(user.name)
        return (
            isinstance(now, User)
            and now.password_hash == user.password_hash
            # A session of somebody who works here has shorter limits, chosen by the role.
            and now.role is user.role
            and not now.is_blocked(self._clock())
        )

    async def get(self, name: str) -> User | None:
        """The account of a name, without regard to case. Raises ``DamagedAccount``."""
        return await guarded.find(self._store, key_of(name))

    async def look_up(self, name: str) -> User | DamagedUser | None:
        """The same for pages that show a damaged account as such."""
        return await self._store.get(key_of(name))

    async def name_of(self, name: str) -> str:
        """A name as its account has it; where there is none, or it is damaged, as it was given."""
        user = await self.look_up(name)
        return user.name if isinstance(user, User) else name

    async def role_of(self, user_id: str) -> Role:
        """What a user may do; ``Role.USER`` for one whose account is gone or damaged."""
        user = await self.look_up(user_id)
        return user.role if isinstance(user, User) else Role.USER

    async def with_role(self, role: Role) -> list[User | DamagedUser]:
        """Who has this role; at most a hundred."""
        return await self._store.with_role(role, _MOST_STAFF)

    async def has_operator(self) -> bool:
        """Whether anybody may end sessions."""
        return await self._store.has_role(Role.OPERATOR) or await self._store.has_role(Role.ADMIN)
