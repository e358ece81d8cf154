"""``/admin/end``: show what would end, then end it. It works without JavaScript.

It must not know stores. What ends is a selection (``selections.py``); its cut-off time and the number that was shown travel
with the form.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.filters import LABELS, NAMES, whole_number
from tornado_sessions.server.operations.selections import (
    SHOWN,
    Everybody,
    Handles,
    Matching,
    OfUser,
    Selection,
    check,
    select,
)
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import BLOCKS, REASONS
from tornado_sessions.server.web.sign_in import begin

__all__ = ["routes"]

#: Above so many sessions their number has to be typed.
_TYPED = 100


class EndPage(OperatorHandler):
    """``/admin/end``: asks, then ends."""

    async def get(self) -> None:
        """Who comes here by a link or with the back button finds the list."""
        self.redirect("/admin/")

    def back(self, selection: Selection | None) -> None:
        """To the view from which this was asked: the list, or a user."""
        if isinstance(selection, OfUser):
            self.redirect("/admin/user?" + urlencode({"name": selection.user}), status=303)
            return
        self.redirect("/admin/" + self._came_from(), status=303)

    def _came_from(self) -> str:
        """The filters of the list, as its own address has them."""
        given = parse_qs(self.form_value("from").removeprefix("?"))
        kept = {name: values[0] for name, values in given.items() if name in NAMES and name != "cursor"}
        return "?" + urlencode(kept) if kept else ""

    async def post(self) -> None:
        """Without ``confirm``: shows what would end. With it: ends it, with the password where the last one is old."""
        selection = self._selection()
        if selection is None:
            self.notify("Nothing was selected.", kind="bad")
            self.back(selection)
            return
        fault = await self._fault(selection) if self.form_value("confirm") else ""
        if not self.form_value("confirm") or fault:
            await self._ask(selection, fault)
            return
        if isinstance(selection, Everybody):
            await self._end_everybody(selection)
        else:
            await self._end(selection)

    async def _end(self, selection: Selection) -> None:
        own, reason = self.session.handle, self.reason()
        if self.form_value("block") and await self._blockable(selection):
            # Before they end, or somebody could log in between.
            await self.parts.actions.block(
                self.actor(), selection.one_user, rules.seconds(self.form_value("block")), reason
            )
        outcome = await selection.end(self.parts.actions, self.actor(), reason, own, tell=bool(self.form_value("tell")))
        if isinstance(selection, Handles) and own in selection.handles:
            await self.log_out()
        else:
            self.notify("Sessions ended: %s", f"{outcome.ended:,}")
        if outcome.job is not None and outcome.goes_on:
            self.redirect(f"/admin/jobs/{outcome.job.id}", status=303)
        else:
            self.back(selection)

    async def _blockable(self, selection: Selection) -> bool:
        """Whether all of these are one user's who has an account, which this operator may block."""
        account = await self.parts.accounts.look_up(selection.one_user) if selection.one_user else None
        return isinstance(account, User) and account.name != self.session.user and rules.may_block(self.role, account)

    async def _end_everybody(self, selection: Everybody) -> None:
        """At once for all; "all but mine" means that this browser gets a new session in the same breath."""
        user, proved_at = await self.parts.accounts.get(self.session.user or ""), self.proved_at
        outcome = await selection.end(
            self.parts.actions, self.actor(), self.reason(), tell=bool(self.form_value("tell"))
        )
        if not selection.but_mine or user is None or outcome.job is None:
            await self.log_out()
            self.redirect("/admin/", status=303)
            return
        # Nobody has typed a password just now: the proof that allowed this keeps its time.
        await begin(self, user, remember=False, proved_at=proved_at)
        self.notify("Everybody else is logged out: %s sessions.", f"{max(0, outcome.ended - 1):,}")
        self.redirect(f"/admin/jobs/{outcome.job.id}", status=303)

    def reason(self) -> str:
        """Why: one of the usual words, the operator's own, or both."""
        return ": ".join(filter(None, (self.form_value("why"), self.form_value("reason"))))

    def _selection(self) -> Selection | None:
        """What the form selects; ``None``: nothing."""
        named = ("handle", "user", "where", "everybody")
        if not any(self.form_value(name, strip=False) for name in named):
            return None
        return select(
            self.sessions.clock(),
            handles=self.get_body_arguments("handle") or None,
            user=self.form_value("user", strip=False) or None,
            where=self._where(),
            everybody=self.form_value("everybody") == "1",
            but_mine=self.form_value("but_mine") == "1",
        )

    def _where(self) -> Where | None:
        """The filters that the form carries; none of a time ahead."""
        text = self.form_value("where")
        try:
            return msgspec.json.decode(text, type=Where) if text else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise QueryError("the filter makes no sense") from None

    async def _fault(self, selection: Selection) -> str:
        """Why it is asked again, if it is; the password last, so that it is not typed in vain."""
        expected = whole_number(self.form_value("expected") or "0", "expected")
        try:
            await self.ask_store(lambda: check(selection, self.sessions, self.reason(), expected, self.session.handle))
            if self.form_value("block"):
                rules.block_seconds(rules.seconds(self.form_value("block")))
        except OperationRefused as error:
            self.set_error_status(error)
            return self.say_error(error)
        if selection.can_grow and expected > _TYPED and self.form_value("number").replace(",", "") != str(expected):
            return "Type the number of sessions to confirm."
        return await self.confirm_password()

    async def _ask(self, selection: Selection, fault: str) -> None:
        items, count = await self.ask_store(lambda: selection.preview(self.sessions, self.session.handle))
        where = selection.where if isinstance(selection, Matching) else None
        self.render(
            "admin/end.html",
            items=items[:SHOWN],
            total=count.total,
            exact=count.exact,
            handles=selection.handles if isinstance(selection, Handles) else (),
            theirs=selection.user if isinstance(selection, OfUser) else "",
            filters=where.given if where is not None else {},
            where=msgspec.json.encode(where).decode() if where is not None else "",
            everybody=isinstance(selection, Everybody),
            but_mine=isinstance(selection, Everybody) and selection.but_mine,
            typed=selection.can_grow and count.total > _TYPED,
            own=self.session.handle,
            proved=self.has_fresh_password(),
            came_from=self._came_from(),
            blockable=await self._blockable(selection),
            tell=bool(self.form_value("tell")) or not self.form_value("confirm"),
            labels=LABELS,
            fault=fault,
            reason=self.form_value("reason"),
            why=self.form_value("why"),
            reasons=REASONS,
            blocks=BLOCKS,
        )


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/end", EndPage),
    ]
