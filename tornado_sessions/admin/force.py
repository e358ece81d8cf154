"""``/admin/end``: first shows what would end, then ends it. All of it works without JavaScript.

It must not know stores. What is ended is a scope: some sessions, a user's, all that a filter matches, or everybody's; its cut-off
time and the number that was shown travel with the form.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tornado_sessions.accounts.errors import AccountError
from tornado_sessions.admin.acts import Acts
from tornado_sessions.admin.api import OperatorHandler
from tornado_sessions.admin.audit import Actor
from tornado_sessions.manager import Sessions
from tornado_sessions.record import Count, Facts, Record

__all__ = ["Scope", "routes"]

_MOST_SELECTED = 100
_SHOWN = 20
#: Above so many sessions their number has to be typed.
_TYPED = 100
#: Where the number has grown by more than this part since it was shown, it is shown again.
_GROWN = 0.1


class Scope(NamedTuple):
    """Whose sessions an act speaks of; exactly one of these is given.

    Attributes:
        handles: some sessions.
        user: all of a user's.
        where: filters of the list: ``user``, ``ip``, ``text``.
        everybody: all there are, the operator's own as well.
        until: sessions made later are spared, in UTC seconds.
    """

    handles: list[str]
    user: str
    where: dict[str, str]
    everybody: bool
    until: float

    @property
    def is_empty(self) -> bool:
        """Whether it speaks of nobody."""
        return not (self.handles or self.user or self.where or self.everybody)

    @property
    def is_mass(self) -> bool:
        """Whether it speaks of sessions that nobody has named."""
        return bool(self.where) or self.everybody

    async def preview(self, sessions: Sessions) -> tuple[list[Facts], Count]:
        """The first of them, and how many there are."""
        if self.handles:
            found = [await sessions.inspect(handle) for handle in self.handles]
            items: list[Facts] = [item for item in found if isinstance(item, Record)]
            return items, Count(len(items), exact=True)
        filters: dict[str, Any] = {"user": self.user} if self.user else self.where
        return (await sessions.find(**filters, limit=_SHOWN)).items, await sessions.count(**filters)

    async def end(self, acts: Acts, actor: Actor, reason: str, own: str | None, *, spares_own: bool) -> int:
        """End them; the operator's own session is spared where it was not meant by name. Returns how many ended."""
        if self.everybody:
            return await acts.end_everybody(actor, reason)
        if self.where:
            return await acts.end_where(actor, self.where, self.until, reason, own)
        if self.user:
            return await acts.end_user(actor, self.user, reason, own if spares_own else None)
        return await acts.end(actor, self.handles, reason)


class EndPage(OperatorHandler):
    """Asks, then ends."""

    async def post(self) -> None:
        """Without ``confirm``: shows what would end. With it: ends it, with the password where the last one is old."""
        scope = self._scope()
        if scope.is_empty:
            self.notify("Nothing was selected.")
            self.redirect("/admin/", status=303)
            return
        fault = await self._fault(scope) if self.form("confirm") else ""
        if not self.form("confirm") or fault:
            await self._ask(scope, fault)
            return
        own = self.session.handle
        ended = await scope.end(
            self.acts, self.actor(), self.form("reason"), own, spares_own=scope.user == self.session.user
        )
        if scope.everybody or own in scope.handles:
            await self.log_out()
        else:
            self.notify("Sessions ended: %d", ended)
        self.redirect("/admin/", status=303)

    def _scope(self) -> Scope:
        given = {name: self.form(f"where_{name}") for name in ("user", "ip", "text")}
        try:
            until = min(float(self.form("until") or "inf"), self.sessions.clock())
        except ValueError:
            until = self.sessions.clock()
        return Scope(
            handles=self.get_body_arguments("handle")[:_MOST_SELECTED],
            user=self.form("user"),
            where={name: value for name, value in given.items() if value},
            everybody=self.form("everybody") == "1",
            until=until if until == until else self.sessions.clock(),  # noqa: PLR0124 - a time that is no number
        )

    async def _fault(self, scope: Scope) -> str:
        """Why it is asked again, if it is; the password last, so that it is not typed in vain."""
        if scope.is_mass:
            if not self.form("reason"):
                return "Say why; it goes into the audit log."
            _, count = await scope.preview(self.sessions)
            expected = int(self.form("expected")) if self.form("expected").isdecimal() else 0
            if count.total > expected * (1 + _GROWN):
                return "There are more of them by now. Look again."
            if expected > _TYPED and self.form("number") != str(expected):
                return "Type the number of sessions to confirm."
        if self.is_proved():
            return ""
        accounts, password = self.settings["accounts"], self.form("password", strip=False)
        try:
            await accounts.log_in(self.session.user or "", password, self.client_ip)
        except AccountError as error:
            self.set_status(error.status if error.status != 401 else 400)
            return str(error)
        self.session["proved_at"] = self.sessions.clock()
        return ""

    async def _ask(self, scope: Scope, fault: str) -> None:
        items, count = await scope.preview(self.sessions)
        self.render(
            "admin/end.html",
            items=items[:_SHOWN],
            total=count.total,
            exact=count.exact,
            scope=scope,
            typed=scope.is_mass and count.total > _TYPED,
            own=self.session.handle,
            proved=self.is_proved(),
            fault=fault,
            reason=self.form("reason"),
        )


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [(r"/admin/end", EndPage)]
