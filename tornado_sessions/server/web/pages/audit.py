"""The audit log as a page and as files.

It must not know how entries are chained or stored.
"""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec
from tornado.iostream import StreamClosedError

from tornado_sessions.errors import SessionError
from tornado_sessions.server.display import in_calendar
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import VERIFIED
from tornado_sessions.server.operations.filters import read_query
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.operations.stores import AuditQuery, DamagedEntry, Entry
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["csv_line", "routes"]

logger = logging.getLogger("tornado_sessions")

_PAGE = 50
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class AuditHandler(OperatorHandler):
    """What page and files share: the filters in the address."""

    def query(self) -> AuditQuery:
        """The entries that the address asks for."""
        return read_query(self.query_value, self.sessions.clock())


class AuditLogPage(AuditHandler):
    """``/admin/audit``."""

    async def get(self) -> None:
        """Who did what, when and why; newest first."""
        query = self.query()
        entries = await self.ask_store(
            lambda: self.parts.audit.entries(msgspec.structs.replace(query, limit=_PAGE + 1))
        )
        given = {name: self.query_value(name) for name in ("who", "act", "days")}
        kept = {name: value for name, value in given.items() if value}
        more = urlencode({**kept, "before": entries[_PAGE - 1].id}) if len(entries) > _PAGE else ""
        found = None
        if self.query_value("verify"):
            found = await self.ask_store(lambda: self.parts.audit.verify(most=VERIFIED))
        self.render(
            "admin/audit.html",
            found=found,
            entries=entries[:_PAGE],
            next_page=more and "?" + more,
            given=given,
            filters=urlencode(kept),
            kept=kept,
            acts=list(Action),
            proved=self.has_fresh_password(),
            notice=self.take_notice(),
        )


class AuditExport(AuditHandler):
    """``/admin/audit.jsonl`` and ``/admin/audit.csv``: all that matches, newest first, page by page."""

    role_to_act = rules.NEEDED[Action.EXPORT_AUDIT]

    async def get(self, form: str) -> None:
        """The file; the page that asks for the password where the last one is old."""
        query = self.query()
        if self.has_fresh_password():
            await self._send(form, query)
        else:
            self._back("An export needs your password; it was given too long ago.")

    async def post(self, form: str) -> None:
        """The same, with the password."""
        query = self.query()
        if fault := await self.confirm_password():
            self._back(fault)
        else:
            await self._send(form, query)

    def _back(self, fault: str) -> None:
        self.notify(fault, kind="bad")
        self.redirect("/admin/audit?" + self.request.query, status=303)

    async def _send(self, form: str, query: AuditQuery) -> None:
        """Written as it is read, so that its length is nobody's memory."""
        await self.parts.audit.note(self.actor(), Action.EXPORT_AUDIT, target=form)
        self.set_header("Content-Type", "text/csv; charset=utf-8" if form == "csv" else "application/jsonl")
        self.set_header("Content-Disposition", f'attachment; filename="audit.{form}"')
        if form == "csv":
            self.write(csv_line((*Entry.__struct_fields__, "damage")))
        try:
            async for entries in self.parts.audit.all(query):
                for entry in entries:
                    line = csv_line(_cells(entry)) if form == "csv" else msgspec.json.encode(entry_item(entry)) + b"\n"
                    self.write(line)
                await self.flush()
        except StreamClosedError:
            # Who asked is gone.
            return
        except SessionError as error:
            if not self._headers_written:
                raise
            # What has left cannot be taken back; without its end, nobody takes it for the whole.
            logger.warning("an export was cut off: %s", error)
            stream = self.detach()
            stream.close()


def _cells(entry: Entry) -> Iterable[object]:
    """An entry for a spreadsheet: with a time that people read (RFC 3339), and why it cannot be read where it is damaged."""
    values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    at = in_calendar(entry.at).isoformat(timespec="milliseconds") if entry.at else ""
    damage = f"damaged: {entry.why}" if isinstance(entry, DamagedEntry) else ""
    return {**values, "at": at, "damage": damage}.values()


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV (RFC 4180) in which no cell is a formula: spreadsheets run what begins with ``=``, ``+``, ``-`` or ``@``."""
    line = io.StringIO()
    cells = ["" if value is None else str(value) for value in values]
    # Spreadsheets in some languages take full-width signs, and what stands after white space, as well.
    csv.writer(line).writerow("'" + cell if _is_formula(cell) else cell for cell in cells)
    return line.getvalue()


def _is_formula(cell: str) -> bool:
    begins = unicodedata.normalize("NFKC", cell[:8])
    return begins.startswith(_FORMULA) or begins.lstrip().startswith(_FORMULA)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [(r"/admin/audit", AuditLogPage), (r"/admin/audit\.(jsonl|csv)", AuditExport)]
