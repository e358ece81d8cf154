"""``/admin/api/stats``: counts now and over the last hour.

It must not know how events are counted.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.operations import schema
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["routes"]


class StatsResource(ApiHandler):
    """Counts."""

    @endpoint()
    async def get(self) -> schema.Stats:
        """Get counts now and over the last hour."""
        return schema.stats_of(await self.parts.activity.snapshot())


def routes() -> list[Any]:
    """Return paths and their handlers."""
    return [(r"/admin/api/stats", StatsResource)]
