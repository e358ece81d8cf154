"""``/admin/api/stats``: counts now and over the last hour.

It must not know how events are counted.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.web.api.base import ApiHandler

__all__ = ["routes"]


class StatsResource(ApiHandler):
    """``/admin/api/stats``."""

    async def get(self) -> None:
        """Counts now, and the last hour minute by minute."""
        at, active, users, visitors, series = await self.parts.activity.snapshot()
        counts = (active.total, active.exact, users.total, users.exact, visitors.total, visitors.exact)
        self.answer(answers.Stats(at, *counts, series))


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/stats", StatsResource),
    ]
