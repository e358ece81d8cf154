"""The dashboard's pages: sessions, one session, confirmation, audit.

It must not know stores. Every act is confirmed on a page of its own, so all of it works without JavaScript.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError

from tornado_sessions.accounts.errors import AccountError
from tornado_sessions.admin.api import OperatorHandler
from tornado_sessions.errors import ConfigError
from tornado_sessions.record import Facts, Record, State

__all__ = ["routes"]

_MOST_SELECTED = 100
_SHOWN = 20


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


class EndPage(OperatorHandler):
    """``/admin/end``: first asks, then ends."""

    async def post(self) -> None:
        """Without ``confirm``: shows what would end. With it: ends it, with the password where the last one is old."""
        user, handles = self.form("user"), self.get_body_arguments("handle")[:_MOST_SELECTED]
        if not user and not handles:
            self.notify("Nothing was selected.")
            self.redirect("/admin/", status=303)
            return
        if not self.form("confirm") or not await self._prove(user, handles):
            if not self._finished:
                await self._ask(user, handles)
            return
        own = self.session.handle
        if user:
            spared = own if user == self.session.user else None
            ended = await self.acts.end_user(self.actor(), user, self.form("reason"), spared)
        else:
            ended = await self.acts.end(self.actor(), handles, self.form("reason"))
        if own in handles:
            await self.log_out()
        else:
            self.notify("Sessions ended: %d", ended)
        self.redirect("/admin/", status=303)

    async def _prove(self, user: str, handles: list[str]) -> bool:
        if self.is_proved():
            return True
        try:
            await self.settings["accounts"].log_in(
                self.session.user or "", self.form("password", strip=False), self.client_ip
            )
        except AccountError as error:
            self.set_status(error.status if error.status != 401 else 400)
            await self._ask(user, handles, fault=str(error))
            return False
        self.session["proved_at"] = self.sessions.clock()
        return True

    async def _ask(self, user: str, handles: list[str], fault: str = "") -> None:
        items: list[Facts] = []
        if user:
            items = (await self.sessions.find(user=user, limit=_SHOWN)).items
            total = (await self.sessions.count(user=user)).total
        else:
            found = [await self.sessions.inspect(handle) for handle in handles]
            items = [item for item in found if isinstance(item, Record)]
            total = len(items)
        self.render(
            "admin/end.html",
            items=items,
            total=total,
            of_user=user,
            handles=handles,
            own=self.session.handle,
            proved=self.is_proved(),
            fault=fault,
            reason=self.form("reason"),
        )


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


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/?", SessionsPage),
        (r"/admin/sessions/([A-Za-z0-9]{1,64})", SessionPage),
        (r"/admin/end", EndPage),
        (r"/admin/audit", AuditPage),
    ]
