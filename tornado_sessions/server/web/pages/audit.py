"""``/admin/audit``: the audit log as a page and as a file. It must not know how entries are chained or stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import msgspec

from tornado_sessions.messages import N_
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import BY_OPERATORS, Action
from tornado_sessions.server.operations.audit_check import VERIFIED
from tornado_sessions.server.operations.entries import AuditQuery, DamagedEntry, Entry
from tornado_sessions.server.operations.export import csv_line, rfc3339
from tornado_sessions.server.operations.filters import read_query
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.web.exports import ExportHandler
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["AuditExport", "AuditLogPage"]

_PAGE = 50
_ALL = list(Action)
#: The actions that one can filter by, in groups. An outcome is shown as part of its action.
_GROUPS = {
    N_("By operators"): [action for action in _ALL if action in BY_OPERATORS],
    N_("By the server"): _ALL[_ALL.index(Action.OUTCOME) + 1 : _ALL.index(Action.LOG_IN)],
    N_("By users"): _ALL[_ALL.index(Action.LOG_IN) :],
}


class AuditHandler(OperatorHandler):
    """Base of the page and the export."""

    def query(self) -> AuditQuery:
        """Return the audit query of the query string."""
        return read_query(self.query_value, self.sessions.clock())


class AuditLogPage(AuditHandler):
    """``/admin/audit``."""

    async def get(self) -> None:
        """Show entries, newest first, and whether the newest are missing. With ``verify`` in the query string, verify them."""
        audit, query = self.parts.audit, msgspec.structs.replace(self.query(), limit=_PAGE + 1)
        entries = await self.ask_store(lambda: audit.entries(query))
        if query.after is not None and len(entries) <= _PAGE:
            # Back at the newest entries, of which the whole first page is shown.
            query = msgspec.structs.replace(query, after=None)
            entries = await self.ask_store(lambda: audit.entries(query))
        found = await self.ask_store(lambda: audit.verify(most=VERIFIED)) if self.query_value("verify") else None
        look = await self.ask_store(audit.look)
        given = {name: self.query_value(name) for name in ("who", "act", "days")}
        kept = {name: value for name, value in given.items() if value}
        # A page that is read from its older end has its extra entry at the newer one.
        is_back = query.after is not None
        shown = entries[1:] if is_back else entries[:_PAGE]
        await self.learn_names(name for entry in shown for name in (entry.actor, entry.user))
        has_newer, has_older = is_back or query.before is not None, is_back or len(entries) > _PAGE
        self.render_page(
            "audit.html",
            found=found,
            faults=found.faults if found is not None else look.all_faults,
            look=look,
            checked=VERIFIED,
            entries=shown,
            jobs=await self.open_jobs(shown),
            previous="?" + urlencode({**kept, "after": shown[0].id}) if has_newer and shown else "",
            following="?" + urlencode({**kept, "before": shown[-1].id}) if has_older and shown else "",
            given=given,
            filters=urlencode(kept),
            kept=kept,
            groups=[(self.say(label), acts) for label, acts in _GROUPS.items()],
        )


class AuditExport(AuditHandler, ExportHandler):
    """``/admin/audit.jsonl`` and ``/admin/audit.csv``: all matching entries, newest first."""

    role_to_act = rules.REQUIRED_ROLE[Action.EXPORT_AUDIT]

    async def get(self, file_type: str) -> None:
        """Send the file, or redirect to the page if the password has to be entered again."""
        query = self.query()
        if self.has_fresh_password():
            await self._send_entries(file_type, query)
        else:
            self._back(self.say("Enter your password again to export."))

    async def post(self, file_type: str) -> None:
        """Check the password and send the file."""
        query = self.query()
        if fault := await self.confirm_password():
            self._back(fault)
        else:
            await self._send_entries(file_type, query)

    def _back(self, fault: str) -> None:
        self.notify(fault, kind="bad")
        self.to_dashboard("/audit?" + self.request.query, status=303)

    async def _send_entries(self, file_type: str, query: AuditQuery) -> None:
        await self.send_file("audit", file_type, Action.EXPORT_AUDIT, file_type, self._lines(file_type, query))

    async def _lines(self, file_type: str, query: AuditQuery) -> AsyncIterator[str]:
        is_csv = file_type == "csv"
        head = csv_line((*Entry.__struct_fields__, "damage")) if is_csv else ""
        async for entries in self.parts.audit.all(query):
            yield head + "".join(map(_csv_entry if is_csv else _json_entry, entries))
            head = ""
        yield head


def _json_entry(entry: Entry) -> str:
    return msgspec.json.encode(entry_item(entry)).decode() + "\n"


def _csv_entry(entry: Entry) -> str:
    """Return an entry as a line of CSV, with an RFC 3339 time and, for a damaged entry, a description of the damage."""
    values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    damage = f"damaged: {entry.why}" if isinstance(entry, DamagedEntry) else ""
    return csv_line({**values, "at": rfc3339(entry.at), "damage": damage}.values())
