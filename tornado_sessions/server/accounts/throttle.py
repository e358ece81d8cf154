"""How many failures are let through: per account and address, per account, per address.

It must not know passwords or pages. Only failures count, so an office behind one address is not locked out by its own success;
and the strictest limit is on the pair, so a stranger cannot lock an account for its owner elsewhere.
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
#: Codes are short, and who guesses them knows the password already.
_CODES = RateLimitItemPerMinute(20, 15)
_REGISTRATIONS = RateLimitItemPerHour(60)

Limit = tuple[RateLimitItem, tuple[str, ...]]


class Throttle:
    """Counts in the memory of this process; each worker process has its own count."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._under_way: Counter[tuple[str, ...]] = Counter()

    def log_in(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """Around one attempt: ``WrongCredentials`` raised inside counts as a failure, success forgets the pair's failures.

        Raises:
            Throttled: too many failures, before anything is tried.
        """
        return self._attempt("password", _ACCOUNT, name_key, ip)

    def second_step(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """The same around a code; it has a count of its own, which no right password forgets."""
        return self._attempt("code", _CODES, name_key, ip)

    @asynccontextmanager
    async def _attempt(self, step: str, of_account: RateLimitItem, name_key: str, ip: str) -> AsyncIterator[None]:
        network = _network(ip)
        limits: list[Limit] = [
            (_PAIR, (step, "pair", name_key, network)),
            (of_account, (step, "account", name_key)),
            (_ADDRESS, ("address", network)),
        ]
        # Attempts that are still being checked count as failures, from before the first look at the counts: guesses at once
        # must not slip past together.
        self._under_way.update(key for _, key in limits)
        try:
            await self._refuse(limits)
            yield
        except WrongCredentials:
            for item, key in limits:
                await self._limiter.hit(item, *key)
            raise
        else:
            await self._limiter.clear(*_flat(limits[0]))
        finally:
            self._under_way.subtract(key for _, key in limits)
            self._under_way += Counter()

    async def register(self, ip: str) -> None:
        """Count one form from an address. Raises ``Throttled``."""
        limit: Limit = (_REGISTRATIONS, ("register", _network(ip)))
        if not await self._limiter.hit(*_flat(limit)):
            await self._throttle(limit)

    async def _refuse(self, limits: list[Limit]) -> None:
        for limit in limits:
            item, key = limit
            if not await self._limiter.test(item, *key, cost=self._under_way[key]):
                await self._throttle(limit)

    async def _throttle(self, limit: Limit) -> NoReturn:
        window = await self._limiter.get_window_stats(*_flat(limit))
        raise Throttled(window.reset_time - time.time())


def _flat(limit: Limit) -> tuple[RateLimitItem, *tuple[str, ...]]:
    item, key = limit
    return (item, *key)


def _network(ip: str) -> str:
    """What one customer has: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(plain_address(ip))
    except ValueError:
        return ip
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
