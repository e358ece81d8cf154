"""Passwords: hash and verify them with argon2id off the event loop.

Each hash needs 64 MiB, so at most one per core runs at a time; the others wait in a ``FairQueue``. On Linux, hashing gives way
to everything else that the process does. It must not know accounts or pages.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.fair_queue import FairQueue, Turn
from tornado_sessions.server.accounts.text import nfkc

__all__ = ["Passwords"]

T = TypeVar("T")

logger = logging.getLogger("tornado_sessions.server.accounts")

#: How much lower the priority of hashing is, in steps of nice(2): a thread of the event loop gets 28 times its share.
_NICER = 15


class Passwords:
    """Hashes and verifies passwords.

    Args:
        profile: argon2 parameters; the default is the second recommended option of RFC 9106: 64 MiB, 3 passes, 4 lanes.

    Attributes:
        hashing: gives the turns that hashing needs.
    """

    def __init__(self, profile: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(profile)
        self.hashing = FairQueue("passwords", prepare=_give_way)
        # Measuring the strength takes far longer than hashing. A separate thread keeps it from delaying sign-ins.
        self._measuring = FairQueue("strength", 1)
        #: Verified for unknown names: without it, the time of an answer would reveal which names exist.
        self._dummy = _made_up(profile)

    def close(self) -> None:
        """End the threads."""
        self.hashing.close()
        self._measuring.close()

    async def hash(self, password: str, turn: Turn) -> str:
        """Return the argon2id hash of a password."""
        return await turn.run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password_hash: str | None, password: str, turn: Turn) -> bool:
        """Return whether a password is right. For an unknown name pass ``None``: the result is ``False`` after the same time."""
        return await turn.run(lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._dummy, _normal(password))
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            logger.warning("a stored password hash cannot be read; its user cannot sign in until the password is reset")
            return False
        return bool(password_hash)

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether a hash has outdated parameters. Call it at sign-in, when the clear text is available for a new hash."""
        return self._hasher.check_needs_rehash(password_hash)

    async def judge(self, rules: Callable[[], T], client: Client) -> T:
        """Return the result of the slow rules for a new password; raise ``HasherBusy`` if too many others wait.

        Args:
            rules: the function to call in the thread for such rules.
            client: where the attempt comes from; signed-in users go first.
        """
        async with self._measuring.turn(client, first=client.session is not None) as turn:
            return await turn.run(rules)


def _made_up(profile: Parameters) -> str:
    """Return a hash that takes as long as any other and that no password has. Hashing one would hold up each start."""
    costs = f"m={profile.memory_cost},t={profile.time_cost},p={profile.parallelism}"
    salt, digest = (
        b64encode(secrets.token_bytes(length)).decode().rstrip("=") for length in (profile.salt_len, profile.hash_len)
    )
    return f"$argon2id$v={profile.version}${costs}${salt}${digest}"


def _give_way() -> None:
    """Lower the priority of this thread and of the lanes that argon2 starts from it.

    Two hashes have eight lanes; with the same priority, two cores would give the event loop a fifth of their time. Work that
    holds Python's lock must not do this: the event loop would wait for a thread that gets no time.
    """
    # Elsewhere, a priority is one of a process, and this number could be another one's.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICER)


def _normal(password: str) -> bytes:
    """Return the same bytes for passwords that look the same (NFKC, as NIST SP 800-63B-4 recommends)."""
    return nfkc(password).encode("utf-8", "surrogatepass")
