"""``SlowLane``: one attempt at a time on an account that strangers attack, with a pause between two.

The network that has failed least goes first, so an owner at a new place waits for one pause, not for the attackers. It must not
know passwords or HTTP.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.accounts.waiting import Place, Rank, Waiting
from tornado_sessions.server.budgets import Budget, Budgets

__all__ = ["SlowLane"]

#: How many attempts may wait: in all, on one account, and from one network.
_MAX_IN_ALL, _MAX_OF_ACCOUNT, _MAX_OF_NETWORK = 64, 8, 2
#: How long an attempt waits, in seconds: clients and proxies give up after a minute.
_MAX_WAIT = 35.0
#: How often an attempt that is not the next one checks whether it is now, in seconds.
_CHECK_EVERY = 1.0


class SlowLane:
    """Lets attempts through with pauses.

    Args:
        budgets: count the attempts of all processes.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._waiting = Waiting(HasherBusy)

    async def wait(self, account: str, pause: float, rank: Rank, client: Client) -> bool:
        """Wait until an attempt may be made.

        Args:
            account: the key of the account.
            pause: the time between two attempts, in seconds.
            rank: the order of the attempt; lower ones are first.
            client: where it comes from.

        Returns:
            ``False`` if it has waited too long, or others that go first have taken its place.
        """
        # A place is taken from a network, not from an address, or an IPv6 /64 would have any number.
        limits = {
            "all": _MAX_IN_ALL,
            f"account {account}": _MAX_OF_ACCOUNT,
            **{f"network {prefix}": share * _MAX_OF_NETWORK for prefix, share in client.networks},
        }
        with self._waiting.place(rank, limits, client) as place, suppress(TimeoutError):
            async with asyncio.timeout(_MAX_WAIT):
                return await self._wait_at(place, account, pause)
        return False

    async def _wait_at(self, place: Place, account: str, pause: float) -> bool:
        while (delay := await self._try(place, account, pause)) is not None:
            # Losing the place ends the wait at once.
            await asyncio.wait({place.called}, timeout=delay)
            if place.called.done():
                return False
        return True

    async def _try(self, place: Place, account: str, pause: float) -> float | None:
        """Take the next attempt on the account, if it is this one's turn. Return the time until the next try, or ``None``."""
        if self._waiting.first(f"account {account}") is not place:
            return _CHECK_EVERY
        # The first to count after a pause has the attempt, in whichever process it waits.
        taken = Budget(1, pause, ("slow lane", account))
        total = (await self._budgets.add([taken], [1]))[0]
        return None if total.amount <= 1 else max(0.01, self._budgets.seconds_left(total))

    def close(self) -> None:
        """Refuse the attempts that wait, and each later one that would have to."""
        self._waiting.close()
