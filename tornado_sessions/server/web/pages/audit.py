"""``/admin/audit``: the audit log as a page and as a file. It must not know how entries are chained or stored."""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec
from tornado.iostream import StreamClosedError

from tornado_sessions.errors import SessionError
from tornado_sessions.server.display import in_calendar
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit_check import VERIFIED
from tornado_sessions.server.operations.entries import AuditQuery, DamagedEntry, Entry
from tornado_sessions.server.operations.filters import read_query
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["AuditExport", "AuditLogPage", "csv_line"]

logger = logging.getLogger("tornado_sessions")

_PAGE = 50
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


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
        found = await self.ask_store(lambda: audit.verify(most=VERIFIED)) if self.query_value("verify") else None
        faults = found.faults if found is not None else (await self.ask_store(audit.look)).all_faults
        given = {name: self.query_value(name) for name in ("who", "act", "days")}
        kept = {name: value for name, value in given.items() if value}
        more = urlencode({**kept, "before": entries[_PAGE - 1].id}) if len(entries) > _PAGE else ""
        self.render_page(
            "audit.html",
            found=found,
            faults=faults,
            checked=VERIFIED,
            entries=entries[:_PAGE],
            next_page=more and "?" + more,
            given=given,
            filters=urlencode(kept),
            kept=kept,
            acts=list(Action),
        )


class AuditExport(AuditHandler):
    """``/admin/audit.jsonl`` and ``/admin/audit.csv``: all matching entries, newest first."""

    role_to_act = rules.REQUIRED_ROLE[Action.EXPORT_AUDIT]
    own_pages_only = True

    async def get(self, file_type: str) -> None:
        """Send the file, or redirect to the page if the password has to be entered again."""
        query = self.query()
        if self.has_fresh_password():
            await self._send(file_type, query)
        else:
            self._back(self.say("Enter your password again to export."))

    async def post(self, file_type: str) -> None:
        """Check the password and send the file."""
        query = self.query()
        if fault := await self.confirm_password():
            self._back(fault)
        else:
            await self._send(file_type, query)

    def _back(self, fault: str) -> None:
        self.notify(fault, kind="bad")
        self.to_dashboard("/audit?" + self.request.query, status=303)

    async def _send(self, file_type: str, query: AuditQuery) -> None:
        """Send the entries in pages, because the whole log may not fit into memory."""
        is_csv = file_type == "csv"
        self.set_header("Content-Type", "text/csv; charset=utf-8" if is_csv else "application/jsonl")
        self.set_header("Content-Disposition", f'attachment; filename="audit.{file_type}"')
        if self.request.method == "HEAD":
            # Nothing leaves, so there is nothing to record.
            await self.flush()
            return
        await self.parts.audit.note(self.actor(), Action.EXPORT_AUDIT, target=file_type)
        if is_csv:
            self.write(csv_line((*Entry.__struct_fields__, "damage")))
        try:
            async for entries in self.parts.audit.all(query):
                self.write("".join(map(_csv_entry if is_csv else _json_entry, entries)))
                await self.flush()
        except StreamClosedError:
            return
        except SessionError as error:
            if not self._headers_written:
                raise
            # The status has already been sent. Closing the connection shows the client that the file is incomplete.
            logger.warning("an audit export was aborted: %s", error)
            self.detach().close()


def _json_entry(entry: Entry) -> str:
    return msgspec.json.encode(entry_item(entry)).decode() + "\n"


def _csv_entry(entry: Entry) -> str:
    """Return an entry as a line of CSV, with an RFC 3339 time and, for a damaged entry, a description of the damage."""
    values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    at = in_calendar(entry.at).isoformat(timespec="milliseconds") if entry.at else ""
    damage = f"damaged: {entry.why}" if isinstance(entry, DamagedEntry) else ""
    return csv_line({**values, "at": at, "damage": damage}.values())


def csv_line(values: Iterable[object]) -> str:
    """Return a line of CSV (RFC 4180). Cells that a spreadsheet would run as a formula are prefixed with an apostrophe."""
    line = io.StringIO()
    cells = ["" if value is None else str(value) for value in values]
    csv.writer(line).writerow("'" + cell if _is_formula(cell) else cell for cell in cells)
    return line.getvalue()


def _is_formula(cell: str) -> bool:
    # Some spreadsheets also run cells that start with a full-width sign or with white space before the sign.
    start = unicodedata.normalize("NFKC", cell[:8])
    return start.startswith(_FORMULA) or start.lstrip().startswith(_FORMULA)
