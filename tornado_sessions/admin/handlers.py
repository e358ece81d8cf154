"""The dashboard's pages to look at: sessions, one session, audit log and its export.

It must not know stores, nor how sessions are ended; ``force`` does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec
from tornado.web import HTTPError

from tornado_sessions.admin.api import OperatorHandler
from tornado_sessions.admin.stores import Entry
from tornado_sessions.errors import ConfigError
from tornado_sessions.record import Record, State

__all__ = ["routes"]

#: Entries of the audit log that an export reads at once.
_EXPORTED = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class SessionsPage(OperatorHandler):
    """``/admin/``: who is in, or who was."""

    async def get(self) -> None:
        """The list, with its filters and its tab in the address."""
        chosen = {name: self.get_query_argument(name, "").strip() for name in ("user", "ip", "handle", "q")}
        state, cursor = self.get_query_argument("state", "live"), self.get_query_argument("cursor", None)
        filters: dict[str, Any] = {"text" if name == "q" else name: value or None for name, value in chosen.items()}
        try:
            page = await self.sessions.find(**filters, state=state, cursor=cursor)
            count = await self.sessions.count(**filters, state=state)
        except ConfigError as error:
            raise HTTPError(400, "%s", error) from None
        kept = {name: value for name, value in chosen.items() if value}
        notice = self.take_notice()
        self.render(
            "admin/sessions.html",
            items=page.items,
            count=count,
            chosen=chosen,
            ended=State(state) is State.ENDED,
            tabs={name: "?" + urlencode({**kept, "state": name}) for name in ("live", "ended")},
            next_page=page.next_cursor and "?" + urlencode({**kept, "state": state, "cursor": page.next_cursor}),
            first_page=cursor and "?" + urlencode({**kept, "state": state}),
            own=self.session.handle,
            now=self.sessions.clock(),
            notice=notice,
        )


class SessionPage(OperatorHandler):
    """``/admin/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """Facts, and the names and sizes of its values; never the values."""
        found = await self.sessions.inspect(handle)
        if found is None:
            raise HTTPError(404)
        live = found if isinstance(found, Record) else None
        sizes = {key: len(value) for key, value in live.data.items()} if live is not None else {}
        self.render("admin/session.html", item=found, live=live, sizes=sizes, own=self.session.handle)


class AuditPage(OperatorHandler):
    """``/admin/audit``."""

    async def get(self) -> None:
        """Who ended what, when and why; newest first."""
        before = self.get_query_argument("before", "")
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise HTTPError(400)
        entries = await self.settings["audit"].entries(int(before) if before else None, 51)
        next_page = f"?before={entries[49].id}" if len(entries) > 50 else None
        self.render("admin/audit.html", entries=entries[:50], next_page=next_page)


class AuditExport(OperatorHandler):
    """``/admin/audit.jsonl`` and ``/admin/audit.csv``: the whole log, newest first, page by page."""

    async def get(self, form: str) -> None:
        """Written as it is read, so that its length is nobody's memory."""
        self.set_header("Content-Type", "text/csv; charset=utf-8" if form == "csv" else "application/jsonl")
        self.set_header("Content-Disposition", f'attachment; filename="audit.{form}"')
        if form == "csv":
            self.write(csv_line(Entry.__struct_fields__))
        before: int | None = None
        while entries := await self.settings["audit"].entries(before, _EXPORTED):
            for entry in entries:
                values = msgspec.structs.astuple(entry)
                self.write(csv_line(values) if form == "csv" else msgspec.json.encode(entry) + b"\n")
            await self.flush()
            before = entries[-1].id


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV (RFC 4180) in which no cell is a formula: spreadsheets run what begins with ``=``, ``+``, ``-`` or ``@``."""
    line = io.StringIO()
    cells = ["" if value is None else str(value) for value in values]
    csv.writer(line).writerow("'" + cell if cell.startswith(_FORMULA) else cell for cell in cells)
    return line.getvalue()


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/?", SessionsPage),
        (r"/admin/sessions/([A-Za-z0-9]{1,64})", SessionPage),
        (r"/admin/audit", AuditPage),
        (r"/admin/audit\.(jsonl|csv)", AuditExport),
    ]
