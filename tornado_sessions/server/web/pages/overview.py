"""``/admin/overview``: counts, charts, health and recent actions. It must not know how events are counted or drawn."""

from __future__ import annotations

from collections import Counter

from tornado_sessions.record import Damaged, SessionSummary
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.action_names import BY_OPERATORS
from tornado_sessions.server.operations.activity import DAY, EVENTS, QUARTER, Series, Snapshot, mean_of
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.self_check import self_check
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.charts import draw_charts

__all__ = ["OverviewPage"]

#: The number of latest sessions from which the top users, addresses and devices are computed; all would take a scan.
_SAMPLE, _PAGE = 1_000, 500
#: The number of latest audit entries that are searched for actions of operators.
_HISTORY = 200
#: Maximum length of each list.
_TOP = 5


class OverviewPage(OperatorHandler):
    """``/admin/overview``."""

    async def get(self) -> None:
        """Show the page, with charts of the last hour or, with ``span=day``, of the last day."""
        snapshot = await self.parts.activity.snapshot()
        day = _day(snapshot) if self.query_value("span") == "day" else None
        sample = await self.ask_store(self._sample)
        tops = {
            "user": Counter(item.user for item in sample if item.user).most_common(_TOP),
            "ip": Counter(item.ip for item in sample if item.ip).most_common(_TOP),
            "device": Counter(device(item.user_agent) for item in sample).most_common(_TOP),
        }
        self.render_page(
            "overview.html",
            snapshot=snapshot,
            charts=draw_charts(self.language, snapshot, day),
            day=day is not None,
            tops=tops,
            sampled=len(sample),
            entries=await self.ask_store(self._latest_actions),
            jobs=[job for job in await self.parts.jobs.all() if job.finished_at is None],
            checks=await self_check(self.sessions, self.parts.people, self.parts.audit),
        )

    async def _latest_actions(self) -> list[Entry]:
        entries = await self.parts.audit.entries(AuditQuery(limit=_HISTORY))
        return [entry for entry in entries if entry.act in BY_OPERATORS][:_TOP]

    async def _sample(self) -> list[SessionSummary]:
        found: list[SessionSummary] = []
        cursor = None
        while len(found) < _SAMPLE:
            page = await self.sessions.find(limit=_PAGE, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return [item for item in found if not isinstance(item, Damaged)]


def _day(snapshot: Snapshot) -> Series:
    last = int(snapshot.at // QUARTER)
    slots = range(last - DAY // QUARTER + 1, last + 1)
    events: Series = {name: [snapshot.quarters[slot, name] / 15 for slot in slots] for name in EVENTS}
    means = {"active": ("active", "counts", 1.0), "latency": ("ping_us", "pings", 1000.0)}
    return events | {name: [mean_of(snapshot.quarters, [slot], *of) for slot in slots] for name, of in means.items()}
