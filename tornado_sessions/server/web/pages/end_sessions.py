"""``/admin/end``: show the sessions that would end, ask for confirmation, and end them. It works without JavaScript.

The sessions are a selection (``selections.py``). The confirmation form contains its cut-off time and the number shown. It must not
know stores. It has more than 300 lines because the preview and the confirmation must use the same selection.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Where
from tornado_sessions.record import Cause
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.errors import HasGrown, OperationRefused
from tornado_sessions.server.operations.filters import known_query, whole_number
from tornado_sessions.server.operations.selections import (
    Everybody,
    Handles,
    Matching,
    OfUser,
    Selection,
    check,
    keeps,
    preview,
    select,
)
from tornado_sessions.server.web import words
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import BLOCKS, MAX_UNTYPED, typed_fault
from tornado_sessions.server.web.ui.texts import filter_text

__all__ = ["EndPage"]

#: What is typed to confirm that everyone is signed out where their number is unknown.
_EVERYONE = N_("everyone")


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
        faults = await self._faults(selection) if is_confirmed else {}
        if faults or not is_confirmed:
            await self._ask(selection, faults)
        elif isinstance(selection, Everybody):
            await self._end_everybody(selection)
        else:
            await self._end(selection)

    def _back(self, selection: Selection | None) -> None:
        """Redirect to the page that the operator came from."""
        self.to_dashboard(self._began(selection), status=303)

    def _began(self, selection: Selection | None) -> str:
        """Return the page of the dashboard that the operator came from: named by the form, or the one that sent it."""
        given = self.form_value("from") or self.request.headers.get("Referer", "")
        if given.startswith("?"):
            # The value comes from the client and becomes part of a redirect.
            kept = known_query(given, without=("cursor",))
            return f"/?{kept}" if kept else "/"
        path, dashboard = self.following(given), self.site.dashboard
        if path is not None and path.startswith(f"{dashboard}/") and not path.startswith(f"{dashboard}/end"):
            return path.removeprefix(dashboard)
        return "/user?" + urlencode({"name": selection.user}) if isinstance(selection, OfUser) else "/"

    async def _end(self, selection: Handles | OfUser | Matching) -> None:
        actions, reason, own = self.parts.actions, self._given_reason(), self.session.handle
        show_reason, user = bool(self.form_value("tell")), _user_of(selection)
        if self.form_value("block") and await self._can_block(user):
            # Block first: otherwise the user could sign in after the sessions have ended and before the block. The block itself
            # ends nothing: only the sessions that were shown end.
            seconds = rules.number(self.form_value("block_for") or self.form_value("block"), "seconds")
            await actions.block(self.actor(), user, seconds, reason, keep_sessions=True)
        if self.form_value("count_first") and not isinstance(selection, Handles):
            job = await actions.count_first(self.actor(), selection, reason, own=own, show_reason=show_reason)
            self.to_dashboard(f"/jobs/{job.id}", status=303)
            return
        outcome = await actions.end(
            self.actor(), selection, reason, own=own, expected=self._expected(selection), show_reason=show_reason
        )
        if isinstance(selection, Handles) and own in selection.handles:
            await self.log_out()
            self._back(selection)
        elif outcome.paused_job is not None:
            self.to_dashboard(f"/jobs/{outcome.paused_job.id}", status=303)
        else:
            done = Message.plural("%s session ended.", "%s sessions ended.", outcome.ended)
            if outcome.running_job is not None:
                done = Message.plural(
                    "%s session has ended so far; a job ends the rest.",
                    "%s sessions have ended so far; a job ends the rest.",
                    outcome.ended,
                )
            self._report(done, outcome)
            self._back(selection)

    def _expected(self, selection: Selection) -> int | None:
        if isinstance(selection, Handles) or self.form_value("count_first") or self.form_value("no_number"):
            return None
        return whole_number(self.form_value("expected") or "0", "expected")

    def _report(self, done: Message, outcome: Outcome) -> None:
        """Say on the next page what has ended, with links to the job and the audit entry."""
        links: list[tuple[str, str]] = []
        if outcome.job is not None:
            links.append((f"{self.site.dashboard}/jobs/{outcome.job.id}", N_("View job")))
        if outcome.entry is not None:
            links.append((f"{self.site.dashboard}/audit?before={outcome.entry.id + 1}", N_("View in audit log")))
        self.notify(done, links=links)

    async def _can_block(self, user: str) -> bool:
        """Return whether this is another user whom the operator may block."""
        person = await self.parts.people.get(user) if user else None
        if not self.parts.actions.can_block or person is None or person.damage or person.id == self.user_id:
            return False
        return rules.may_block(self.role, person)

    async def _end_everybody(self, selection: Everybody) -> None:
        """End all sessions. With ``but_mine``, this browser gets a new session in the same response."""
        # Read both first: they depend on the session, which ends now.
        person, proved_at = self.person, self.password_given_at
        began, show_reason = self._began(selection), bool(self.form_value("tell"))
        outcome = await self.parts.actions.end(self.actor(), selection, self._given_reason(), show_reason=show_reason)
        if not selection.but_mine or person is None:
            await self.log_out()
            self.to_dashboard("/", status=303)
            return
        # No password was entered for the new session, so it inherits the time of the old one's.
        await self.site.visitors.sign_in_again(self, person, proved_at)
        others = max(0, outcome.ended - 1)
        done = Message.plural(
            "Everyone else has been signed out (%s session).",
            "Everyone else has been signed out (%s sessions).",
            others,
        )
        self._report(done if outcome.is_exact else Message("Everyone else has been signed out."), outcome)
        self.to_dashboard(began, status=303)

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
            (
                self.say(words.FILTERS[name]),
                filter_text(name, value, self.language, self.site.called),
            )
            for name, value in where.given.items()
            if name in words.FILTERS
        ]

    async def _faults(self, selection: Selection) -> dict[str, str]:
        """Return a message for each wrong field of a confirmed form; the key ``""`` means the whole form.

        The password is checked even if another field is wrong: a right one does not have to be typed again.
        """
        faults: dict[str, str] = {}
        expected, block = self._expected(selection), self.form_value("block")
        if fault := self._typed_fault(expected):
            faults["number"] = fault
        try:
            await self.ask_store(
                lambda: check(selection, self.sessions, self._given_reason(), expected, self.session.handle)
            )
        except OperationRefused as error:
            self.set_error_status(error)
            faults["" if isinstance(error, HasGrown) else "why"] = self.say_error(error)
        try:
            if block:
                rules.block_seconds(rules.number(self.form_value("block_for") or block, "seconds"))
        except OperationRefused as error:
            self.set_error_status(error)
            faults["block_for"] = self.say_error(error)
        return {**faults, **await self.proof_faults()}

    def _typed_fault(self, expected: int | None) -> str:
        typed = self.form_value("number")
        if self.form_value("no_number"):
            word = self.say(_EVERYONE)
            message = None if typed in (word, _EVERYONE) else Message(N_("Type %s to confirm."), (word,))
        else:
            message = typed_fault(typed, expected or 0)
        if message is None:
            return ""
        self.set_status(400)
        return self.say(message)

    async def _ask(self, selection: Selection, faults: dict[str, str]) -> None:
        own = self.session.handle
        items, count = await self.ask_store(lambda: preview(selection, self.sessions, own))
        where = selection.where if isinstance(selection, Matching) else None
        filters = selection.where if isinstance(selection, OfUser | Matching) else Where()
        person = _user_of(selection)
        await self.learn_names([person, *(item.user for item in items)])
        began, is_everybody = self._began(selection), isinstance(selection, Everybody)
        keeps_own = not isinstance(selection, Handles | Everybody) and await keeps(filters, self.sessions, own)
        others = await self._others(person, filters, count)
        self.render(
            "admin/end.html",
            items=items,
            count=count,
            title=self._title(selection, count),
            crumbs=self._crumbs(began, person),
            list_url=self._list_url(filters),
            kept=self._kept(selection, person, others, keeps_own=keeps_own),
            consequence=self._consequence(selection, count),
            sentence=self.say(words.ENDINGS[Cause.OPERATOR]),
            handles=selection.handles if isinstance(selection, Handles) else (),
            theirs=selection.user if isinstance(selection, OfUser) else "",
            person=person,
            filters=self._described(filters),
            where=msgspec.json.encode(where).decode() if where is not None else "",
            everybody=is_everybody,
            but_mine=isinstance(selection, Everybody) and selection.but_mine,
            word=self.say(_EVERYONE),
            most_untyped=MAX_UNTYPED,
            own=own,
            proved=self.has_fresh_password(),
            began=began,
            blockable=await self._can_block(person),
            faults=faults,
            form_value=self.form_value,
            reasons=words.REASONS,
            blocks=BLOCKS,
            now=self.sessions.clock(),
        )

    def _title(self, selection: Selection, count: Count) -> str:
        """Return the question. It names a number only if that is exact."""
        plural, say = self.language.plural, self.say
        match selection:
            case Everybody(but_mine=True):
                return say(N_("End everyone else's sessions?"))
            case Everybody():
                return say(N_("End everyone's sessions, including yours?"))
            case Matching():
                if not count.exact:
                    return say(N_("End all matching sessions?"))
                return plural("End %s matching session?", "End all %s matching sessions?", count)
            case OfUser(user=user):
                if not count.exact:
                    return say(Message(N_("End all sessions of %s?"), (self.site.called(user)[:80],)))
                return plural("End %s session of %s?", "End all %s sessions of %s?", count, self.site.called(user)[:80])
        return plural("End %s session?", "End %s sessions?", count)

    def _consequence(self, selection: Selection, count: Count) -> str:
        plural = self.language.plural
        if not isinstance(selection, Everybody):
            return ""
        if selection.but_mine:
            return plural(
                "This ends %s session. Everyone else has to sign in again.",
                "This ends %s sessions. Everyone else has to sign in again.",
                count,
                more=self.say(N_("This ends %s+ sessions. Everyone else has to sign in again.")),
            )
        return plural(
            "This ends %s session, yours included. Everyone has to sign in again.",
            "This ends all %s sessions, yours included. Everyone has to sign in again.",
            count,
            more=self.say(N_("This ends all %s+ sessions, yours included. Everyone has to sign in again.")),
        )

    def _kept(self, selection: Selection, person: str, others: int, *, keeps_own: bool) -> str:
        """Return which sessions stay active. They are neither listed nor counted."""
        own = self.session.handle
        if (isinstance(selection, Everybody) and not selection.but_mine) or (
            isinstance(selection, Handles) and own in selection.handles
        ):
            return self.say(N_("Nothing; your own session ends, too."))
        mine = N_("Your current session stays active.")
        if keeps_own:
            mine = N_("Your current session matches, but stays active. It is neither listed nor counted.")
        theirs = ""
        if others:
            theirs = self.language.plural(
                "%s other session of %s stays active.",
                "%s other sessions of %s stay active.",
                others,
                self.site.called(person)[:80],
            )
        return self.language.sentences(theirs, self.say(mine))

    def _crumbs(self, began: str, person: str) -> list[tuple[str, str]]:
        sessions = (self._dashboard_url("/"), self.say(N_("Sessions")))
        if began.startswith("/user?") and person:
            return [sessions, (self._dashboard_url(began), self.site.called(person)[:80])]
        return (
            [sessions, (self._dashboard_url(began), self.say(N_("Matching")))] if began.startswith("/?") else [sessions]
        )

    def _list_url(self, filters: Where) -> str:
        """Return the list of these sessions, if their filters can be part of a URL."""
        names = ("user", "ip", "handle", "device")
        given = {name: str(value) for name, value in filters.given.items() if name in names}
        if not given or filters.given.keys() - {*names, "created_until"}:
            return ""
        return self._dashboard_url("/?" + urlencode(given))

    def _dashboard_url(self, path: str) -> str:
        return self.site.url(self.site.dashboard + path)

    async def _others(self, person: str, filters: Where, count: Count) -> int:
        """Return how many sessions a person keeps, if the filters select some of them and both numbers are known."""
        if not person or not filters.given.keys() - {"user", "created_until"}:
            return 0
        whole = await self.ask_store(lambda: self.sessions.count(user=person))
        return max(0, whole.total - count.total) if whole.exact and count.exact else 0


def _user_of(selection: Selection) -> str:
    """Return the user of a selection, or an empty string if it may contain sessions of several users."""
    return (selection.where.user or "") if isinstance(selection, OfUser | Matching) else ""
