"""``/admin/overview``: counts, charts, health and the latest actions.

It must not know how events are counted or drawn.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.action_names import BY_OPERATORS
from tornado_sessions.server.operations.self_check import self_check
from tornado_sessions.server.operations.stores import AuditQuery, Entry
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.charts import drawn

__all__ = ["routes"]

#: Sessions that the overview looks at to say who has most.
_SAMPLE = 1_000
_TOP = 5
_HISTORY = 200


class Overview(OperatorHandler):
    """``/admin/overview``: what is going on."""

    async def get(self) -> None:
        """Counts, charts, who has most sessions, what operators did last."""
        snapshot = await self.parts.activity.snapshot()
        day = await self.ask_store(self.parts.activity.day) if self.query_value("span") == "day" else None
        sample = await self.ask_store(self._sample)
        tops = {
            "user": Counter(item.user for item in sample if item.user).most_common(_TOP),
            "ip": Counter(item.ip for item in sample if item.ip).most_common(_TOP),
            "device": Counter(device(item.user_agent) for item in sample).most_common(_TOP),
        }
        self.render(
            "admin/overview.html",
            snapshot=snapshot,
            charts=drawn(self, snapshot, day),
            day=day is not None,
            tops=tops,
            sampled=len(sample),
            entries=await self.ask_store(self._acts_of_operators),
            jobs=[job for job in await self.parts.jobs.all() if job.finished_at is None],
            checks=await self_check(self.sessions, self.parts.accounts),
            notice=self.take_notice(),
        )

    async def _acts_of_operators(self) -> list[Entry]:
        entries = await self.parts.audit.entries(AuditQuery(limit=_HISTORY))
        return [entry for entry in entries if entry.act in BY_OPERATORS][:_TOP]

    async def _sample(self) -> list[SessionSummary]:
        """Those seen last; a look at all of them would be a scan."""
        found: list[SessionSummary] = []
        cursor = None
        while len(found) < _SAMPLE:
            page = await self.sessions.find(limit=500, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        # What is not known of a damaged one is not what most have.
        return [item for item in found if not isinstance(item, Damaged)]


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/overview", Overview),
    ]
