"""``/admin/sessions/HANDLE``: one session and its values. Viewing a session never extends it. It must not know stores."""

from __future__ import annotations

import msgspec
from tornado.web import HTTPError

from tornado_sessions.codec import JSONValue
from tornado_sessions.messages import N_
from tornado_sessions.record import Record
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import ON_ONE_SESSION, Action
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import NotKept

__all__ = ["RevealPage", "SessionDetails"]

_HISTORY = 200
#: Names of the types of values.
_KINDS = {
    str: N_("text"),
    int: N_("number"),
    float: N_("number"),
    bool: N_("yes or no"),
    list: N_("list"),
    dict: N_("object"),
    type(None): N_("empty"),
}


class SessionDetails(OperatorHandler):
    """``/admin/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """Show a session, its history, and the names, types and sizes of its values, without the values."""
        found = await self.ask_store(lambda: self.sessions.inspect(handle))
        if found is None:
            raise NotKept
        live = found if isinstance(found, Record) else None
        shapes: list[tuple[str, str, int]] = []
        if live is not None:
            values = await self.sessions.values_of(handle) or {}
            shapes = [
                (key, self.say(_KINDS[type(value)]), len(live.data.get(key, b""))) for key, value in values.items()
            ]
        history: list[Entry] = []
        if found.user:
            query = AuditQuery(who=found.user, since=found.created_at - 1, limit=_HISTORY)
            entries = await self.ask_store(lambda: self.parts.audit.entries(query))
            history = [entry for entry in entries if handle in entry.target or entry.act not in ON_ONE_SESSION]
        self.render_page("session.html", item=found, live=live, shapes=shapes, history=history)


class RevealPage(OperatorHandler):
    """``/admin/sessions/HANDLE/values``."""

    role_to_act = rules.REQUIRED_ROLE[Action.REVEAL]

    async def post(self, handle: str) -> None:
        """Show the values of a session."""
        values: dict[str, JSONValue] | None = None

        async def reveal() -> None:
            nonlocal values
            values = await self.parts.actions.reveal(self.actor(), handle, self.form_value("reason"))

        if fault := await self.attempt(reveal):
            self.notify(fault, kind="bad")
            self.to_dashboard(f"/sessions/{handle}", status=303)
        elif values is None:
            raise HTTPError(404)
        else:
            shown = {key: msgspec.json.encode(value).decode() for key, value in values.items()}
            self.render("admin/values.html", handle=handle, values=shown)
