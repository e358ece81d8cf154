"""At most so many sessions a user: refuse the newest, or end the oldest.

It must not know cookies or how a log-in is stored; it is asked before one and told after it.
"""

from __future__ import annotations

from tornado_sessions.directory import Directory
from tornado_sessions.errors import TooManySessions
from tornado_sessions.record import Cause, Facts

__all__ = ["SessionLimit"]


class SessionLimit:
    """The limit of one user's sessions.

    Args:
        directory: where sessions are found and ended.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._most = directory.config.max_sessions_per_user
        self._refuses = directory.config.when_exceeded == "refuse"

    async def check(self, user: str, own: str | None) -> None:
        """Before a log-in. Raises ``TooManySessions`` where the newest is refused and there are as many as may be."""
        if self._most is not None and self._refuses and len(await self._others(user, own)) >= self._most:
            raise TooManySessions(user, self._most)

    async def enforce(self, user: str, own: str, signed_in_at: float) -> None:
        """After a log-in: look again, since two at once would both have passed ``check``.

        Args:
            user: who logged in.
            own: handle of the session with which.
            signed_in_at: when, in UTC seconds.

        Raises:
            TooManySessions: another log-in was first; the caller ends this one.
        """
        if self._most is None:
            return
        others = await self._others(user, own)
        if not self._refuses:
            over = [item.handle for item in others[self._most - 1 :]]
            if over:
                await self._directory.destroy_many(over, cause=Cause.EVICTED, by=user)
            return
        first = [item for item in others if (item.signed_in_at or 0, item.handle) < (signed_in_at, own)]
        if len(first) >= self._most:
            raise TooManySessions(user, self._most)

    async def _others(self, user: str, own: str | None) -> list[Facts]:
        """The other live sessions of a user, those used last first."""
        others: list[Facts] = []
        cursor: str | None = None
        while True:
            page = await self._directory.find(user=user, limit=500, cursor=cursor)
            others += [item for item in page.items if item.handle != own]
            cursor = page.next_cursor
            if cursor is None:
                return others
