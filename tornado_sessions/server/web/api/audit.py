"""``/admin/api/audit``: read and verify the audit log.

It must not know how entries are chained or stored.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.audit import VERIFIED
from tornado_sessions.server.operations.filters import read_query
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.web.api.base import ApiHandler

__all__ = ["routes"]


class AuditResource(ApiHandler):
    """``/admin/api/audit``."""

    reads = Scope.AUDIT

    async def get(self) -> None:
        """Entries, by ``who``, ``act``, of the last ``days``, ``before`` an id."""
        query = read_query(self.query_value, self.sessions.clock())
        entries = await self.ask_store(lambda: self.parts.audit.entries(query))
        items = list(map(entry_item, entries))
        self.answer(answers.AuditPage(items, entries[-1].id if len(entries) == query.limit else None))


class AuditCheckResource(ApiHandler):
    """``/admin/api/audit/verify``."""

    reads = Scope.AUDIT

    async def get(self) -> None:
        """What the chain of the newest entries says; ``head`` is a hash that was noted before."""
        head = self.query_value("head")
        found = await self.ask_store(lambda: self.parts.audit.verify(head, VERIFIED))
        self.answer(answers.AuditCheck(found.entries, list(map(str, found.faults)), found.head, found.knows_head))


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/audit", AuditResource),
        (r"/admin/api/audit/verify", AuditCheckResource),
    ]
