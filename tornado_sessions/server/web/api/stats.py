"""``/admin/api/stats``: current counts and those of the last hour. It must not know how events are counted."""

from __future__ import annotations

from tornado_sessions.server.operations import schema
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["StatsResource"]


class StatsResource(ApiHandler):
    """Counts."""

    @endpoint()
    async def get(self) -> schema.Stats:
        """Get current counts and those of the last hour."""
        return schema.stats_of(await self.parts.activity.snapshot())
