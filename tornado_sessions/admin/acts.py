"""Ending sessions as an operator: what pages, API and commands share, so that each act is said once and always audited.

It must not know requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tornado_sessions.admin.audit import Actor, Audit
from tornado_sessions.manager import Sessions

__all__ = ["Acts"]


class Acts:
    """What operators can do.

    Args:
        sessions: whose sessions.
        audit: where each act is written first.
    """

    def __init__(self, sessions: Sessions, audit: Audit) -> None:
        self._sessions = sessions
        self._audit = audit

    async def end(self, actor: Actor, handles: Sequence[str], reason: str = "") -> int:
        """End these sessions. Returns how many were live."""

        async def run() -> int:
            """The act itself, between its two audit writes."""
            return len(await self._sessions.destroy_many(handles, by=actor.name, reason=reason))

        act = "end session" if len(handles) == 1 else "end sessions"
        return await self._audit.ended(actor, act, " ".join(handles), reason, run)

    async def end_user(self, actor: Actor, user: str, reason: str = "", except_handle: str | None = None) -> int:
        """End every session of a user but one. Returns how many."""

        async def run() -> int:
            """The act itself, between its two audit writes."""
            ended = await self._sessions.destroy_user(user, except_handle, by=actor.name, reason=reason)
            return len(ended)

        return await self._audit.ended(actor, "end all sessions of", user, reason, run)

    async def end_where(
        self, actor: Actor, where: dict[str, Any], until: float, reason: str, except_handle: str | None = None
    ) -> int:
        """End every session that filters match and that was made until a time, but one. Returns how many."""

        async def run() -> int:
            """The act itself, between its two audit writes."""
            return await self._sessions.destroy_where(
                **where, created_until=until, except_handle=except_handle, by=actor.name, reason=reason
            )

        target = " ".join(f"{name}={value}" for name, value in where.items())
        return await self._audit.ended(actor, "end all sessions matching", target, reason, run)

    async def end_everybody(self, actor: Actor, reason: str) -> int:
        """End every session there is, at once. Returns how many there were, as far as they were counted."""

        async def run() -> int:
            """The act itself, between its two audit writes."""
            count = await self._sessions.count()
            await self._sessions.end_all(by=actor.name, reason=reason)
            return count.total

        return await self._audit.ended(actor, "end everybody's sessions", "", reason, run)
