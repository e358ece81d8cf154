"""``Takeover``: the interface to another system's sessions, from which browsers are let in without signing in again.

It must not know our stores, our cookie or the rules: ``taking_over`` decides who is let in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ForeignSession", "Takeover"]


class ForeignSession(NamedTuple):
    """A live session of another system.

    Attributes:
        values: by key. Values that are not JSON, or are too large, are left out of the new session.
        user: id of its user; ``None`` for a visitor.
        idle_timeout: seconds without use after which the other system would end it; ``None``: as ``SessionConfig`` says.
        persistent: whether its cookie survives a restart of the browser; ``None``: as ``SessionConfig`` says.
    """

    values: Mapping[str, object]
    user: str | None = None
    idle_timeout: float | None = None
    persistent: bool | None = None


class Takeover(ABC):
    """Reads the cookies of another system, and its sessions, and ends those that have moved here.

    A session moves in these steps: ``read``, our new session is stored, ``end``, our cookie becomes valid, ``forget``. If this
    process dies in between, the next request of the browser continues. Only live sessions may be returned, and nothing but
    ``end`` and ``forget`` may change anything.

    Attributes:
        remembers_ends: whether ``end`` leaves a mark that distinguishes a moved session from one that its user ended there. Without
            a mark they look the same if this process dies after ``end``: ten seconds later, the session counts as moved.
    """

    remembers_ends = False

    @abstractmethod
    def read_cookie(self, header: str) -> str | None:
        """Return the id of the session that a genuine cookie names, or ``None``.

        Args:
            header: the ``Cookie`` header. Compare signatures in constant time. Do no I/O.
        """

    @abstractmethod
    async def read(self, session_id: str, now: float) -> ForeignSession | None:
        """Return a live session without changing it; ``None`` if it does not exist, has expired or cannot be read.

        Args:
            session_id: from ``read_cookie``.
            now: the time in UTC seconds.

        Raises:
            StoreUnavailable: the other system's store does not answer. The browser gets a 503 and keeps its cookie.
        """

    @abstractmethod
    async def end(self, session_id: str) -> bool:
        """End a session atomically. Of several concurrent calls, only one may return true, unless ``remembers_ends``.

        Returns:
            Whether this call ended it, or with ``remembers_ends`` an earlier one that was not followed by ``forget``. False if it
            no longer existed.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    async def forget(self, session_id: str) -> None:  # noqa: B027 - optional
        """Remove what ``end`` has left of a session. Raises ``StoreUnavailable``."""

    async def admits(self, user: str) -> bool:  # noqa: ARG002
        """Return whether a session that moves may still be signed in as this user of ours.

        Called after our session was stored and before its cookie is valid. So a session never gets into an account that is created
        while it moves: either this method sees the account, or whoever creates it sees our session. Raises
        ``StoreUnavailable``.
        """
        return True

    @abstractmethod
    def clearing_cookie(self, *, secure: bool) -> str:
        """Return the ``Set-Cookie`` header that removes the other system's cookie from a browser.

        Args:
            secure: whether the request came over https.
        """

    async def open(self) -> None:  # noqa: B027 - optional
        """Open connections; do nothing if they are open. Called before each use."""

    async def close(self) -> None:  # noqa: B027 - optional
        """Close connections; they may be opened again."""
