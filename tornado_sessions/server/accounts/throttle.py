"""How many failed attempts are allowed: for an account from one address, for an account, and for an address.

It must not know passwords or pages. Only failures count, so an office behind one address is not locked out by its own success.
The strictest limit is on the pair, so a stranger cannot lock an account for its owner elsewhere.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, NoReturn

from tornado_sessions.proxies import plain_address
from tornado_sessions.server.accounts.errors import Throttled, WrongCredentials

__all__ = ["Throttle"]

#: Keys beyond which those without a recent failure are removed.
_MAX_KEYS = 10_000


class _Window(NamedTuple):
    """At most ``limit`` failures in any stretch of so many seconds."""

    limit: int
    seconds: float


_PAIR = _Window(10, 900)
_ACCOUNT = _Window(100, 900)
_ADDRESS = _Window(50, 900)
#: Codes are short, and an attacker who guesses them knows the password already.
_CODES = _Window(20, 900)
_REGISTRATIONS = _Window(60, 3600)

Limit = tuple[_Window, tuple[str, ...]]


class Throttle:
    """Counts in the memory of this process; each worker process has its own count.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, ...], deque[float]] = {}
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
    async def _attempt(self, step: str, of_account: _Window, name_key: str, ip: str) -> AsyncIterator[None]:
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
                if self._recent(limit) + self._in_progress[limit[1]] > limit[0].limit:
                    self._refuse(limit)
            yield
        except WrongCredentials:
            for _, key in limits:
                self._count(key)
            raise
        else:
            self._failures.pop(limits[0][1], None)
        finally:
            self._in_progress.subtract(key for _, key in limits)
            self._in_progress += Counter()

    async def register(self, ip: str) -> None:
        """Count one registration from an address. Raises ``Throttled``."""
        limit: Limit = (_REGISTRATIONS, ("register", _network(ip)))
        if self._recent(limit) >= limit[0].limit:
            self._refuse(limit)
        self._count(limit[1])

    def _recent(self, limit: Limit) -> int:
        """How many failures a key has within its window; older ones are dropped."""
        window, key = limit
        times = self._failures.get(key, deque())
        while times and times[0] <= self._clock() - window.seconds:
            times.popleft()
        return len(times)

    def _count(self, key: tuple[str, ...]) -> None:
        if len(self._failures) >= _MAX_KEYS:
            # Whoever tries many names or addresses must not fill the memory.
            since = self._clock() - max(_PAIR.seconds, _REGISTRATIONS.seconds)
            self._failures = {kept: times for kept, times in self._failures.items() if times and times[-1] > since}
        self._failures.setdefault(key, deque()).append(self._clock())

    def _refuse(self, limit: Limit) -> NoReturn:
        window, key = limit
        times = self._failures.get(key)
        raise Throttled((times[0] if times else self._clock()) + window.seconds - self._clock())


def _network(ip: str) -> str:
    """What one customer of a provider has: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(plain_address(ip))
    except ValueError:
        return ip
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
