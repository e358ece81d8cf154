"""``/admin/end``: show the sessions that would end, ask for confirmation, and end them. It works without JavaScript.

The sessions are a selection (``selections.py``). The confirmation form contains its cut-off time and the number shown. It must not
know stores.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Where
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.operations.filters import PARAMETERS, whole_number
from tornado_sessions.server.operations.selections import (
    Everybody,
    Handles,
    Matching,
    OfUser,
    Selection,
    check,
    preview,
    select,
)
from tornado_sessions.server.web import words
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import BLOCKS
from tornado_sessions.server.web.sign_in import start_session

__all__ = ["EndPage"]

#: Operators who end more sessions than this have to type their number.
_MAX_UNTYPED = 100


class EndPage(OperatorHandler):
    """``/admin/end``."""

    async def get(self) -> None:
        """Redirect to the list."""
        self.to_dashboard("/")

    async def post(self) -> None:
        """Show the selected sessions. With ``confirm``, end them, if the password was entered recently or is in the form."""
        selection = self._selection()
        if selection is None:
            self.notify("Select at least one session.", kind="bad")
            self._back(selection)
            return
        is_confirmed = bool(self.form_value("confirm"))
        fault = await self._fault(selection) if is_confirmed else ""
        if fault or not is_confirmed:
            await self._ask(selection, fault)
        elif isinstance(selection, Everybody):
            await self._end_everybody(selection)
        else:
            await self._end(selection)

    def _back(self, selection: Selection | None) -> None:
        """Redirect to the page that the operator came from: a user, or the list with its filters."""
        if isinstance(selection, OfUser):
            self.to_dashboard("/user?" + urlencode({"name": selection.user}), status=303)
        else:
            self.to_dashboard("/" + self._came_from(), status=303)

    def _came_from(self) -> str:
        # Keep only known parameters: the value comes from the client and becomes part of a redirect.
        given = parse_qs(self.form_value("from").removeprefix("?"))
        kept = {name: values[0] for name, values in given.items() if name in PARAMETERS and name != "cursor"}
        return "?" + urlencode(kept) if kept else ""

    async def _end(self, selection: Selection) -> None:
        actions, reason, own = self.parts.actions, self._given_reason(), self.session.handle
        user = _user_of(selection)
        if self.form_value("block") and await self._can_block(user):
            # Block first: otherwise the user could sign in after the sessions have ended and before the block.
            seconds = rules.number(self.form_value("block"), "seconds")
            # The sessions of the selection end below; a filter may leave others, which the block ends.
            is_all = isinstance(selection, OfUser)
            await actions.block(self.actor(), user, seconds, reason, keep_sessions=is_all)
        expected = (
            None if isinstance(selection, Handles) else whole_number(self.form_value("expected") or "0", "expected")
        )
        outcome = await actions.end(
            self.actor(), selection, reason, own=own, expected=expected, show_reason=bool(self.form_value("tell"))
        )
        if isinstance(selection, Handles) and own in selection.handles:
            await self.log_out()
        else:
            self.notify(Message.plural("%s session ended.", "%s sessions ended.", outcome.ended))
        if (job := outcome.running_job or outcome.paused_job) is not None:
            self.to_dashboard(f"/jobs/{job.id}", status=303)
        else:
            self._back(selection)

    async def _can_block(self, user: str) -> bool:
        """Return whether this is another user whom the operator may block."""
        person = await self.parts.people.get(user) if user else None
        if person is None or person.damage or person.id == self.session.user:
            return False
        return rules.may_block(self.role, person)

    async def _end_everybody(self, selection: Everybody) -> None:
        """End all sessions. With ``but_mine``, this browser gets a new session in the same response."""
        # Read both first: they depend on the session, which ends now.
        user, password_at = await self.parts.accounts.get(self.session.user or ""), self.password_given_at
        show_reason = bool(self.form_value("tell"))
        outcome = await self.parts.actions.end(self.actor(), selection, self._given_reason(), show_reason=show_reason)
        if not selection.but_mine or user is None or outcome.job is None:
            await self.log_out()
            self.to_dashboard("/", status=303)
            return
        # No password was entered for the new session, so it inherits the time of the old one's.
        await start_session(self, user, remember=False, password_at=password_at)
        self.notify(
            Message.plural(
                "Everyone else has been signed out (%s session).",
                "Everyone else has been signed out (%s sessions).",
                max(0, outcome.ended - 1),
            )
        )
        self.to_dashboard(f"/jobs/{outcome.job.id}", status=303)

    def _given_reason(self) -> str:
        """Return the predefined reason, the operator's details, or both."""
        return ": ".join(filter(None, (self.form_value("why"), self.form_value("reason"))))

    def _selection(self) -> Selection | None:
        """Return the selection of the form, or ``None`` if nothing is selected."""
        if not any(self.form_value(name, strip=False) for name in ("handle", "user", "where", "everybody")):
            return None
        is_everybody, but_mine = (self.form_value(name) == "1" for name in ("everybody", "but_mine"))
        return select(
            self.sessions.clock(),
            handles=self.get_body_arguments("handle") or None,
            user=self.form_value("user", strip=False) or None,
            where=self._where(),
            everybody=Everybody(but_mine) if is_everybody else None,
        )

    def _where(self) -> Where | None:
        text = self.form_value("where")
        try:
            return msgspec.json.decode(text, type=Where) if text else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise QueryError("The filter is invalid.") from None

    def _described(self, where: Where) -> list[tuple[str, str]]:
        """Return the names and values of filters in the user's language."""
        return [
            (self.say(words.FILTERS[name]), self._filter_value(name, value))
            for name, value in where.given.items()
            if name in words.FILTERS
        ]

    def _filter_value(self, name: str, value: Any) -> str:
        if name.endswith("_since"):
            return self.language.moment(value)
        if name == "signed_in":
            return self.say(N_("Yes") if value else N_("No"))
        return ", ".join(value)[:200] if name == "users" else str(value)[:80]

    async def _fault(self, selection: Selection) -> str:
        """Return a message if a confirmed form is refused, else an empty string.

        The password is checked last, so that it has to be typed only once.
        """
        expected, block = whole_number(self.form_value("expected") or "0", "expected"), self.form_value("block")
        try:
            await self.ask_store(
                lambda: check(selection, self.sessions, self._given_reason(), expected, self.session.handle)
            )
            if block:
                rules.block_seconds(rules.number(block, "seconds"))
        except OperationRefused as error:
            self.set_error_status(error)
            return self.say_error(error)
        if _must_type(selection, expected) and self.form_value("number").replace(",", "") != str(expected):
            return self.say("Type the number of sessions to confirm.")
        return await self.confirm_password()

    async def _ask(self, selection: Selection, fault: str) -> None:
        items, count = await self.ask_store(lambda: preview(selection, self.sessions, self.session.handle))
        where = selection.where if isinstance(selection, Matching) else None
        self.render(
            "admin/end.html",
            items=items,
            count=count,
            handles=selection.handles if isinstance(selection, Handles) else (),
            theirs=selection.user if isinstance(selection, OfUser) else "",
            filters=self._described(where) if where is not None else [],
            where=msgspec.json.encode(where).decode() if where is not None else "",
            everybody=isinstance(selection, Everybody),
            but_mine=isinstance(selection, Everybody) and selection.but_mine,
            typed=_must_type(selection, count.total),
            own=self.session.handle,
            proved=self.has_fresh_password(),
            came_from=self._came_from(),
            blockable=await self._can_block(_user_of(selection)),
            tell=bool(self.form_value("tell")),
            fault=fault,
            reason=self.form_value("reason"),
            why=self.form_value("why"),
            reasons=words.REASONS,
            blocks=BLOCKS,
        )


def _user_of(selection: Selection) -> str:
    """Return the user of a selection, or an empty string if it may contain sessions of several users."""
    return (selection.where.user or "") if isinstance(selection, OfUser | Matching) else ""


def _must_type(selection: Selection, total: int) -> bool:
    return total > _MAX_UNTYPED and not isinstance(selection, Handles)
