"""Passwords: argon2id off the event loop, and whether a new one is good enough.

It must not know accounts or pages. At most as many hashes run at once as there are cores, and few wait: each takes 64 MiB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY
from zxcvbn import zxcvbn

from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.accounts.text import nfkc

__all__ = ["Passwords"]

T = TypeVar("T")

logger = logging.getLogger("tornado_sessions.server.accounts")

# NIST SP 800-63B-4 3.1.1.2: at least 8 characters, long ones accepted whole, all of Unicode.
SHORTEST, LONGEST = 8, 256
_WEAKEST = 2  # zxcvbn's scale is 0 to 4; 2 is "somewhat guessable"
_MEASURED = 32  # zxcvbn's time grows with the square of the length; what comes later only makes it stronger
_WAITING = 32
_MEASURING = 4


class _Threads:
    """Threads before which only few wait; whoever is beyond is told so at once."""

    def __init__(self, name: str, threads: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = most
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What the work returns. Raises ``HasherBusy``."""
        if self._under_way >= self._most:
            raise HasherBusy
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Let them go."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Passwords:
    """Hashes and verifies.

    Args:
        profile: argon2 parameters; the default is the second choice of RFC 9106, 64 MiB, 3 passes, 4 lanes.
    """

    def __init__(self, profile: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(profile)
        cores = os.cpu_count() or 1
        self._hashing = _Threads("passwords", cores, most=cores + _WAITING)
        # Measuring takes far longer than hashing: it has a thread of its own, so that log-ins never wait for it.
        self._measuring = _Threads("strength", 1, most=cores + _MEASURING)
        # Verified for unknown names, so that they take as long as known ones.
        self._dummy = ""

    async def open(self) -> None:
        """Make the hash that unknown names are verified against, so that the first of them takes no longer."""
        self._dummy = self._dummy or await self.hash(secrets.token_urlsafe())

    def close(self) -> None:
        """Let the threads go."""
        self._hashing.close()
        self._measuring.close()

    async def hash(self, password: str) -> str:
        """The argon2id hash of a password. Raises ``HasherBusy``."""
        return await self._hashing.run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether a password is right. ``None``, for an unknown name, takes as long and is false. Raises ``HasherBusy``."""
        return await self._hashing.run(lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._dummy, _normal(password))
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            logger.warning(
                "a stored password hash cannot be read; its account cannot log in until the password is set anew"
            )
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with other parameters; asked at log-in, when the password is at hand to hash it anew."""
        return self._hasher.check_needs_rehash(password_hash)

    async def fault(self, password: str, known: list[str]) -> str | None:
        """What is wrong with a new password, or ``None``. Raises ``HasherBusy``.

        Args:
            password: as typed.
            known: what an attacker would try first: the name, the address.
        """
        if len(password) < SHORTEST:
            return N_("Use at least 8 characters.")
        if len(password) > LONGEST:
            return N_("Use at most 256 characters.")
        return await self._measuring.run(lambda: _weakness(password, known))


def _normal(password: str) -> bytes:
    """The same bytes for what looks the same (NIST SP 800-63B-4: NFKC)."""
    return nfkc(password).encode("utf-8", "surrogatepass")


def _weakness(password: str, known: list[str]) -> str | None:
    found = zxcvbn(password[:_MEASURED], user_inputs=known, max_length=_MEASURED)
    if found["score"] >= _WEAKEST:
        return None
    return found["feedback"]["warning"] or N_("This password is easy to guess. Add a few uncommon words.")
