"""``/admin/api/audit``: read and verify the audit log. It must not know how entries are chained or stored."""

from __future__ import annotations

from tornado_sessions.server.operations import schema
from tornado_sessions.server.operations.audit_check import VERIFIED
from tornado_sessions.server.operations.filters import AUDIT_PARAMETERS, read_query
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["AuditCheckResource", "AuditResource"]


class AuditResource(ApiHandler):
    """Entries of the audit log."""

    read_scope = Scope.AUDIT

    @endpoint(query=AUDIT_PARAMETERS)
    async def get(self) -> schema.AuditPage:
        """Read the audit log."""
        query = read_query(self.query_value, self.sessions.clock())
        entries = await self.ask_store(lambda: self.parts.audit.entries(query))
        is_full = len(entries) == query.limit
        return schema.AuditPage(list(map(schema.entry_item, entries)), entries[-1].id if is_full else None)


class AuditCheckResource(ApiHandler):
    """The verification of the newest entries."""

    read_scope = Scope.AUDIT

    @endpoint(query={"head": "the head of an earlier verification, which must still be in the chain"})
    async def get(self) -> schema.AuditCheck:
        """Verify the newest 10,000 entries."""
        head = self.query_value("head")
        return schema.audit_check(await self.ask_store(lambda: self.parts.audit.verify(head, VERIFIED)))
