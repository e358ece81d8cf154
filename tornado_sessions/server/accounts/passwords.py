"""Passwords: argon2id off the event loop, and whether a new password is good enough.

It must not know accounts or pages. Each hash takes 64 MiB, so at most one for each core runs at a time, and few wait.
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
_MIN_SCORE = 2  # zxcvbn's scale is 0 to 4; 2 is "somewhat guessable"
_MEASURED = 32  # characters; zxcvbn's time grows with their square, and what follows only makes a password stronger
_MAX_HASHING, _MAX_MEASURING = 32, 4


class _Threads:
    """Threads with a short queue: a call beyond it fails at once, instead of waiting for ever longer."""

    def __init__(self, name: str, threads: int, limit: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = limit
        self._calls = 0

    async def run(self, work: Callable[[], T]) -> T:
        if self._calls >= self._limit:
            raise HasherBusy
        self._calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._calls -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Passwords:
    """Hashes and verifies passwords. Each coroutine may raise ``HasherBusy``, and then did nothing.

    Args:
        profile: argon2 parameters; the default is the second choice of RFC 9106: 64 MiB, 3 passes, 4 lanes.
    """

    def __init__(self, profile: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(profile)
        cores = os.cpu_count() or 1
        self._hashing = _Threads("passwords", cores, cores + _MAX_HASHING)
        # Measuring takes far longer than hashing: in a thread of its own, it never delays a sign-in.
        self._measuring = _Threads("strength", 1, cores + _MAX_MEASURING)
        self._dummy = ""

    async def open(self) -> None:
        """Make the hash that unknown names are verified against, so that even the first takes as long as a known one."""
        self._dummy = self._dummy or await self.hash(secrets.token_urlsafe())

    def close(self) -> None:
        """End the threads."""
        self._hashing.close()
        self._measuring.close()

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of a password."""
        return await self._hashing.run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether a password is right. With ``None``, for an unknown name, the answer takes as long and is False."""
        return await self._hashing.run(lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._dummy, _normal(password))
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            logger.warning("a stored password hash cannot be read; nobody can sign in to its account until it is reset")
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether a hash has other parameters than new ones. Call it at sign-in: the clear text is needed to rehash."""
        return self._hasher.check_needs_rehash(password_hash)

    async def fault(self, password: str, known: list[str]) -> str | None:
        """Return what is wrong with a new password, or ``None``.

        Args:
            password: as typed.
            known: what an attacker tries first: the name, the address.
        """
        if len(password) < SHORTEST:
            return N_("Use at least 8 characters.")
        if len(password) > LONGEST:
            return N_("Use at most 256 characters.")
        return await self._measuring.run(lambda: _weakness(password, known))


def _normal(password: str) -> bytes:
    """The same bytes for passwords that look the same (NIST SP 800-63B-4: NFKC)."""
    return nfkc(password).encode("utf-8", "surrogatepass")


def _weakness(password: str, known: list[str]) -> str | None:
    found = zxcvbn(password[:_MEASURED], user_inputs=known, max_length=_MEASURED)
    if found["score"] >= _MIN_SCORE:
        return None
    return found["feedback"]["warning"] or N_("This password is easy to guess. Add a few uncommon words.")
