"""How many failed attempts are allowed: for an account from one address, for an account, and for an address.

It must not know passwords or pages. Only failures count, so an office behind one address is not locked out by its own success.
The strictest limit is on the pair, so a stranger cannot lock an account for its owner elsewhere.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NoReturn

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from tornado_sessions.proxies import plain_address
from tornado_sessions.server.accounts.errors import Throttled, WrongCredentials

__all__ = ["Throttle"]

_PAIR = RateLimitItemPerMinute(10, 15)
_ACCOUNT = RateLimitItemPerMinute(100, 15)
_ADDRESS = RateLimitItemPerMinute(50, 15)
#: Codes are short, and an attacker who guesses them knows the password already.
_CODES = RateLimitItemPerMinute(20, 15)
_REGISTRATIONS = RateLimitItemPerHour(60)

Limit = tuple[RateLimitItem, tuple[str, ...]]


class Throttle:
    """Counts in the memory of this process; each worker process has its own count."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._in_progress: Counter[tuple[str, ...]] = Counter()

    def log_in(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """Wrap one check of a password: ``WrongCredentials`` counts as a failure, success clears the failures of the pair.

        Raises:
            Throttled: too many failures, before anything is tried.
        """
        return self._attempt("password", _ACCOUNT, name_key, ip)

    def second_step(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """Wrap one check of a code, in the same way; its failures are counted apart, so no right password clears them."""
        return self._attempt("code", _CODES, name_key, ip)

    @asynccontextmanager
    async def _attempt(self, step: str, of_account: RateLimitItem, name_key: str, ip: str) -> AsyncIterator[None]:
        network = _network(ip)
        limits: list[Limit] = [
            (_PAIR, (step, "pair", name_key, network)),
            (of_account, (step, "account", name_key)),
            (_ADDRESS, ("address", network)),
        ]
        # An attempt counts as a failure while it is being checked, from before the counts are read: otherwise a burst of
        # parallel guesses would all pass before the first of them fails.
        self._in_progress.update(key for _, key in limits)
        try:
            for limit in limits:
                if not await self._limiter.test(*_flat(limit), cost=self._in_progress[limit[1]]):
                    await self._refuse(limit)
            yield
        except WrongCredentials:
            for limit in limits:
                await self._limiter.hit(*_flat(limit))
            raise
        else:
            await self._limiter.clear(*_flat(limits[0]))
        finally:
            self._in_progress.subtract(key for _, key in limits)
            self._in_progress += Counter()

    async def register(self, ip: str) -> None:
        """Count one registration from an address. Raises ``Throttled``."""
        limit: Limit = (_REGISTRATIONS, ("register", _network(ip)))
        if not await self._limiter.hit(*_flat(limit)):
            await self._refuse(limit)

    async def _refuse(self, limit: Limit) -> NoReturn:
        window = await self._limiter.get_window_stats(*_flat(limit))
        raise Throttled(window.reset_time - time.time())


def _flat(limit: Limit) -> tuple[RateLimitItem, *tuple[str, ...]]:
    item, key = limit
    return (item, *key)


def _network(ip: str) -> str:
    """What one customer of a provider has: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(plain_address(ip))
    except ValueError:
        return ip
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
