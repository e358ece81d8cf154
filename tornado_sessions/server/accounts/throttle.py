"""Limits on failed attempts: per account and IP address, per account, and per IP address.

Only failures count, so successful sign-ins do not lock out an office that shares one IP address. The limit per account and address
is the strictest, so an attacker can hardly lock out the owner, who uses another address. It must not know passwords or pages.
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

#: Number of keys above which keys without recent failures are removed.
_MAX_KEYS = 10_000


class _Window(NamedTuple):
    """At most ``limit`` failures in any interval of ``seconds``."""

    limit: int
    seconds: float


_PAIR = _Window(10, 900)
_ACCOUNT = _Window(100, 900)
_ADDRESS = _Window(50, 900)
#: Stricter than ``_ACCOUNT``: codes are short, and an attacker who tries them already knows the password.
_CODES = _Window(20, 900)
_REGISTRATIONS = _Window(60, 3600)

Limit = tuple[_Window, tuple[str, ...]]


class Throttle:
    """Counts failures in memory. Each process counts separately.

    Args:
        clock: a monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, ...], deque[float]] = {}
        self._in_progress: Counter[tuple[str, ...]] = Counter()

    def log_in(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """Wrap one check of a password. ``WrongCredentials`` counts as a failure; success clears the failures of the pair.

        Raises:
            Throttled: too many failures. The block does not run.
        """
        return self._attempt("password", _ACCOUNT, name_key, ip)

    def second_step(self, name_key: str, ip: str) -> AbstractAsyncContextManager[None]:
        """Wrap one check of a code like ``log_in``. Failures count separately, so that a right password does not clear them."""
        return self._attempt("code", _CODES, name_key, ip)

    @asynccontextmanager
    async def _attempt(self, step: str, of_account: _Window, name_key: str, ip: str) -> AsyncIterator[None]:
        network = _network(ip)
        limits: list[Limit] = [
            (_PAIR, (step, "pair", name_key, network)),
            (of_account, (step, "account", name_key)),
            (_ADDRESS, ("address", network)),
        ]
        # Count the attempt as a failure while it is being checked, and before the counts are read. Otherwise parallel guesses
        # would all pass before the first one fails.
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
            # Clear only the pair. Clearing the address would let an attacker reset its count by signing in to an own account.
            self._failures.pop(limits[0][1], None)
        finally:
            self._in_progress.subtract(key for _, key in limits)
            # Adding an empty counter drops the keys with a count of zero.
            self._in_progress += Counter()

    async def register(self, ip: str) -> None:
        """Count one registration from an IP address. Raises ``Throttled``."""
        limit: Limit = (_REGISTRATIONS, ("register", _network(ip)))
        if self._recent(limit) >= limit[0].limit:
            self._refuse(limit)
        self._count(limit[1])

    def _recent(self, limit: Limit) -> int:
        """Drop the failures of a key that are older than its window, and return the number of the others."""
        window, key = limit
        times = self._failures.get(key, deque())
        while times and times[0] <= self._clock() - window.seconds:
            times.popleft()
        return len(times)

    def _count(self, key: tuple[str, ...]) -> None:
        if len(self._failures) >= _MAX_KEYS:
            # An attacker who tries many names or addresses must not fill the memory.
            since = self._clock() - max(_PAIR.seconds, _REGISTRATIONS.seconds)
            self._failures = {kept: times for kept, times in self._failures.items() if times and times[-1] > since}
        self._failures.setdefault(key, deque()).append(self._clock())

    def _refuse(self, limit: Limit) -> NoReturn:
        window, key = limit
        times = self._failures.get(key)
        raise Throttled((times[0] if times else self._clock()) + window.seconds - self._clock())


def _network(ip: str) -> str:
    """Return the network that one customer of a provider controls: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(plain_address(ip))
    except ValueError:
        return ip
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
