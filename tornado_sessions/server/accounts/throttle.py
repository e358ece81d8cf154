"""Limits on guessing that an attacker cannot use up for the victim. ``docs/explanation/guessing.md`` has the numbers.

An attempt comes from a known device, a known network or a stranger. Each known device and network has a budget of its own for
each account; when it is spent, the attempt is a stranger's. Strangers have budgets for each network, and one for the account:
beyond it, attempts are slowed down, not refused. Only failures count. It must not know passwords or pages.

NIST SP 800-63B-4, 3.2.2, allows 100 failures in a row on an account before its password has to be disabled, which would let
anybody lock anybody out. Here 100 attempts a day run at full speed; after them, attempts have to wait, as NIST proposes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.devices import Devices
from tornado_sessions.server.accounts.errors import Throttled, WrongCredentials
from tornado_sessions.server.accounts.fair_queue import FairQueue, Turn
from tornado_sessions.server.accounts.slow_lane import SlowLane
from tornado_sessions.server.accounts.two_step import is_of_app
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.accounts.waiting import Rank
from tornado_sessions.server.budgets import Budget, Budgets

__all__ = ["Throttle"]

_QUARTER, _HOUR, _DAY = 900.0, 3600.0, 86400.0
#: How long a network stays known after a sign-in, in seconds.
_NETWORK_KNOWN_FOR = 60 * _DAY


class _Limits(NamedTuple):
    """Numbers of failures of one kind of attempt.

    Attributes:
        name: the kind.
        device: for each known device and account, in an hour.
        pair: for each network and account, in a quarter of an hour; those of a wider network are its ``share`` times as many.
        network: for each network, likewise.
        account: for each account, by strangers, in a day.
        is_slowed: whether more than ``account`` are slowed down instead of refused.
    """

    name: str
    device: int
    pair: int
    network: int
    account: int
    is_slowed: bool


_PASSWORDS = _Limits("password", device=10, pair=10, network=50, account=100, is_slowed=True)
# A guess has a chance of 3 in a million, and the attacker already knows the password, so more than 20 a day are refused.
_CODES = _Limits("code", device=10, pair=10, network=50, account=20, is_slowed=False)
# Recovery codes cannot be guessed (49 bits). They have budgets of their own, so that wrong codes of an app do not refuse them.
_RECOVERY = _Limits("recovery code", device=50, pair=50, network=100, account=200, is_slowed=True)
_REGISTRATIONS = 60
#: Requests for mails in an hour: of a network, for a typed name or address, and of all strangers together.
_MAILS, _MAILS_OF_KEY, _MAILS_OF_ALL = 30, 5, 2000

#: The pause between two guesses of strangers beyond the account's budget: it doubles after each 50 guesses, up to a maximum.
_FIRST_PAUSE, _LONGEST_PAUSE, _DOUBLES_AFTER = 2.0, 30.0, 50


class _Admitted(NamedTuple):
    """An attempt that may be made.

    Attributes:
        counted: what it counts for if it fails.
        limiting: how many of these refuse it when they are exceeded; the first ones.
        cleared: how many of these a success clears; the first ones.
        is_known: whether it goes first in the hashing queue.
    """

    counted: list[Budget]
    limiting: int
    cleared: int
    is_known: bool


class Throttle:
    """Limits attempts.

    Args:
        budgets: count the failures.
        devices: finds known devices.
        queue: gives turns to hash.
    """

    def __init__(self, budgets: Budgets, devices: Devices, queue: FairQueue) -> None:
        self._budgets = budgets
        self._devices = devices
        self._queue = queue
        self._slow_lane = SlowLane(budgets)

    @asynccontextmanager
    async def log_in(self, name_key: str, user: User | None, client: Client) -> AsyncIterator[Turn]:
        """Wrap one check of a password, and give its turn to hash. ``WrongCredentials`` in the block counts as a failure.

        Args:
            name_key: the key of the name as typed; unknown names are limited alike.
            user: the account, if there is one.
            client: where the attempt comes from.

        Raises:
            Throttled: too many failures. The block does not run.
            HasherBusy: too many passwords wait to be hashed. The block does not run.
        """
        admitted = await self._admit(_PASSWORDS, name_key, user, client)
        async with self._queue.turn(client, first=admitted.is_known) as turn, self._counted(admitted):
            yield turn

    @asynccontextmanager
    async def second_step(self, name_key: str, user: User | None, client: Client, code: str) -> AsyncIterator[None]:
        """Wrap one check of a code like ``log_in``. Codes of an app, recovery codes and passwords have separate budgets."""
        limits = _CODES if is_of_app(code) else _RECOVERY
        async with self._counted(await self._admit(limits, name_key, user, client)):
            yield

    async def count_form(self, form: str, amount: int) -> int:
        """Count attempts with one form, and return the count. It expires after a while, like the form."""
        return (await self._budgets.add([Budget(float("inf"), _QUARTER, ("form", form))], [amount]))[0].amount

    async def register(self, client: Client) -> None:
        """Count one registration. Raises ``Throttled``."""
        counted = [Budget(_REGISTRATIONS * share, _HOUR, ("register", prefix)) for prefix, share in client.networks]
        await self._reserve(counted, limiting=len(counted))

    async def mail(self, client: Client, key: str) -> bool:
        """Count one request for a mail. Return whether it may be sent: whether there were few enough for this key.

        Raises:
            Throttled: too many requests came from the network of the client, or from all strangers together.
        """
        counted = [Budget(_MAILS * share, _HOUR, ("mail", prefix)) for prefix, share in client.networks]
        counted.append(Budget(_MAILS_OF_ALL, _HOUR, ("mails",)))
        await self._reserve(counted, limiting=len(counted))
        of_key = Budget(_MAILS_OF_KEY, _HOUR, ("mail for", key))
        return (await self._budgets.add([of_key], [1]))[0].amount <= of_key.limit

    @asynccontextmanager
    async def turn(self, client: Client, *, first: bool) -> AsyncIterator[Turn]:
        """Give a turn to hash a new password. ``first``: for signed-in users, commands and the setup link."""
        async with self._queue.turn(client, first=first) as turn:
            yield turn

    async def remember(self, user: User, client: Client) -> str:
        """Make the client's device and network known to an account after a complete sign-in. Return the cookie of the device."""
        await self._budgets.add([_known_network(user.key, client)], [1])
        return self._devices.add(client.devices, user)

    def close(self) -> None:
        """Refuse attempts that wait for a pause between guesses; others continue. A second call has no effect."""
        self._slow_lane.close()

    # --- steps of an attempt -------------------------------------------------------------------------------------

    async def _admit(self, limits: _Limits, name_key: str, user: User | None, client: Client) -> _Admitted:
        """Find the budgets of an attempt, and refuse it or let it wait if they are spent. Reads only."""
        name, networks = limits.name, client.networks
        device = Budget(limits.device, _HOUR, (name, "device", name_key, self._device(user, client)))
        pairs = [Budget(limits.pair * share, _QUARTER, (name, "pair", name_key, prefix)) for prefix, share in networks]
        wide = [Budget(limits.network * share, _QUARTER, (name, "network", prefix)) for prefix, share in networks]
        account = Budget(limits.account, _DAY, (name, "account", name_key))
        days = [Budget(limits.account * share, _DAY, (name, "day", name_key, prefix)) for prefix, share in networks]
        budgets = [device, _known_network(name_key, client), account, *pairs, *wide, *days]
        totals = dict(zip(budgets, await self._budgets.read(budgets), strict=True))
        if device.of[-1] and totals[device].amount < device.limit:
            # Its failures count for its network too: when its budget is spent, it gets no second one there.
            return _Admitted([device, pairs[0]], limiting=1, cleared=0, is_known=True)
        if totals[budgets[1]].amount and totals[pairs[0]].amount < pairs[0].limit:
            # Its failures count for the network as well, but others on the same network cannot spend its own budget.
            return _Admitted([pairs[0], *wide], limiting=1, cleared=1, is_known=True)
        for budget in (*pairs, *wide):
            if totals[budget].amount >= budget.limit:
                raise Throttled(self._budgets.seconds_left(totals[budget]))
        if totals[account].amount >= account.limit:
            if not limits.is_slowed:
                raise Throttled(self._budgets.seconds_left(totals[account]))
            # Whoever has failed least on this account today goes first: attackers rank behind an owner at a new place.
            failed = max(totals[day].amount / day.limit for day in days)
            await self._slow_down(name_key, totals[account].amount - limits.account, (failed,), client)
        limiting = [*pairs, *wide]
        return _Admitted([*limiting, account, *days], limiting=len(limiting), cleared=1, is_known=False)

    def _device(self, user: User | None, client: Client) -> str:
        """Return the ID of the device if it is known to the account: by its cookie, or by its session."""
        if user is None:
            return ""
        if client.session is not None and client.session[0] == user.key:
            return f"session {client.session[1]}"
        return self._devices.find(client.devices, user) or ""

    async def _slow_down(self, name_key: str, surplus: int, rank: Rank, client: Client) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(10, surplus // _DOUBLES_AFTER))
        if not await self._slow_lane.wait(name_key, pause, rank, client):
            raise Throttled(pause)

    @asynccontextmanager
    async def _counted(self, admitted: _Admitted) -> AsyncIterator[None]:
        """Count an attempt as a failure before it is made, and take it back unless it fails.

        Otherwise parallel guesses would all pass before the first one fails, and a crash would give guesses away.
        """
        totals = await self._reserve(admitted.counted, admitted.limiting)
        try:
            yield
        except WrongCredentials:
            raise
        except BaseException:
            await self._budgets.add(admitted.counted, [-1] * len(admitted.counted))
            raise
        # Clear the narrowest pair only: clearing more would let an attacker reset counts by signing in to an account of their
        # own, or the victim reset those of an attacker nearby.
        taken_back = [-total if place < admitted.cleared else -1 for place, total in enumerate(totals)]
        await self._budgets.add(admitted.counted, taken_back)

    async def _reserve(self, budgets: Sequence[Budget], limiting: int) -> list[int]:
        totals = await self._budgets.add(budgets, [1] * len(budgets))
        for budget, total in zip(budgets[:limiting], totals, strict=False):
            if total.amount > budget.limit:
                # Take it back: an attempt that is not made must not spend the budgets of others.
                await self._budgets.add(budgets, [-1] * len(budgets))
                raise Throttled(self._budgets.seconds_left(total))
        return [total.amount for total in totals]


def _known_network(name_key: str, client: Client) -> Budget:
    """Return the count of sign-ins of an account from the client's narrowest network."""
    return Budget(float("inf"), _NETWORK_KNOWN_FOR, ("known network", name_key, client.networks[0].prefix))
