"""``/admin/``: the list of sessions, its views and its news. It must not know stores or how sessions are ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Sort, State
from tornado_sessions.record import SessionSummary
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.operations.filters import FILTERS, PARAMETERS, View
from tornado_sessions.server.operations.rules import DAY, cut_off
from tornado_sessions.server.operations.suggest import suggest
from tornado_sessions.server.operations.suspects import Signs
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.stores.matching import DEVICES

__all__ = ["NewSessions", "SavedViewsForm", "SessionsPage"]

#: The columns that one can hide, and those that are shown unless somebody chose others.
_COLUMNS = ("device", "ip", "created", "signed_in", "last_active", "end")
_USUAL = ("device", "ip", "signed_in", "last_active", "end")
#: Views that everybody has, by the name of their query.
_VIEWS: tuple[tuple[str, dict[str, str]], ...] = (
    (N_("All active"), {}),
    (N_("Suspicious"), {"suspicious": "1"}),
    (N_("Idle for more than 1 hour"), {"idle_for": "3600", "direction": "asc"}),
    (N_("New today"), {"signed_in_within": "86400", "sort": "signed_in"}),
)
#: Parameters that say where one is in a list, not which list it is.
_PLACES = ("cursor", "limit")


class Traits(NamedTuple):
    """What badges say about sessions of a page.

    Attributes:
        two_steps: the users with two-step verification.
        remembered: the handles of sessions whose browser is remembered.
        signs: see ``Suspects``.
    """

    two_steps: frozenset[str] = frozenset()
    remembered: frozenset[str] = frozenset()
    signs: Signs = Signs(0)


class SessionsPage(OperatorHandler):
    """``/admin/``: live sessions or, with ``state=ended``, ended ones. The query string contains filters and order."""

    async def get(self) -> None:
        """Show one page of the list. Invalid filters are shown again as typed."""
        try:
            view = await self.view()
            page, count = await self.find_page(view)
        except QueryError as error:
            self.set_status(400)
            given = {name: value for name in FILTERS if (value := self.query_value(name))}
            await self._show(View(given), Page([], None), None, self.say(error.sentence))
        else:
            await self._show(view, page, count)

    async def _show(self, view: View, page: Page, count: Count | None, fault: str = "") -> None:
        text = "" if fault else view.given.get("q", "")
        is_live = view.state is State.LIVE
        chosen = [name for name in self.preferences.columns if name in _COLUMNS] or _USUAL
        self.render_page(
            "sessions.html",
            view=view,
            fault=fault,
            items=page.items,
            count=count,
            ended=not is_live,
            columns_chosen=[name for name in _COLUMNS if name in chosen],
            all_columns=_COLUMNS,
            chips=self._chips(view),
            sorts=list(Sort),
            devices=list(DEVICES),
            views=await self._views(view),
            suggestions=await self.ask_store(lambda: suggest(self.sessions, text)) if text and is_live else [],
            traits=await self._traits(page.items) if is_live else Traits(),
            next_page=view.url(cursor=page.next_cursor) if page.next_cursor else None,
            previous_page=view.url(cursor=page.previous_cursor) if page.previous_cursor else None,
            position=page.position(count) if count is not None else None,
            news=self._news_url(view) if is_live and not fault else "",
            where=_where_of(view, self.sessions.clock()),
            kept_for_days=round(self.sessions.config.seconds("keep_ended_for") / DAY),
        )

    def _chips(self, view: View) -> list[tuple[str, str, str]]:
        """Return each filter as its name, its value in words, and the URL of the list without it."""
        return [
            (self.say(words.PARAMETERS[name]), self._in_words(name, value), view.url(**{name: None}))
            for name, value in view.given.items()
            if name in FILTERS
        ]

    def _in_words(self, name: str, value: str) -> str:
        if name in ("signed_in_within", "idle_for") and value.isdigit():
            return self.language.duration(int(value))
        if name in ("signed_in_since", "ended_since", "ended_until") and value.isdigit():
            return self.language.moment(float(value))
        if name == "role" and value in list(Role):
            return self.language.translate(words.ROLES[Role(value)])
        named = {"users": words.KINDS["users"], "visitors": words.KINDS["visitors"]} if name == "kind" else {}
        if name == "suspicious":
            named = {"1": N_("Yes")}
        if name == "device":
            return self.language.device(self.language.translate(words.DEVICE_KINDS.get(value, value)))[:80]
        return self.language.translate(named[value]) if value in named else value[:80]

    async def _views(self, view: View) -> list[tuple[str, str, bool, bool]]:
        """Return the views as their name, their query string, whether it is the current one, and whether one can delete it."""
        now = query_of(view)
        own = await self.ask_store(lambda: self.parts.saved_views.of(self.session.user or ""))
        usual = [(self.say(name), urlencode(given), False) for name, given in _VIEWS]
        return [
            (name, "?" + query, query == now, is_own)
            for name, query, is_own in (*usual, *((saved.name, saved.query, True) for saved in own))
        ]

    async def _traits(self, items: Sequence[SessionSummary]) -> Traits:
        usual = self.sessions.config.seconds("idle_timeout") + 1
        users = {item.user for item in items if item.user}
        people = await self.ask_store(lambda: self.parts.directory.known(users))
        return Traits(
            frozenset(person.id for person in people if person.two_steps),
            # A remembered session may be unused for longer than others.
            frozenset(item.handle for item in items if item.user and item.expires_at - item.last_seen_at > usual),
            await self.ask_store(self.parts.suspects.signs),
        )

    def _news_url(self, view: View) -> str:
        """Return the URL that tells how many sessions of this view are newer than this page."""
        given = {name: value for name, value in view.given.items() if name in FILTERS}
        given["signed_in_since"] = str(int(self.sessions.clock()))
        return self.site.url(f"{self.site.dashboard}/new?{urlencode(given)}")


class NewSessions(OperatorHandler):
    """``/admin/new``: the number of sessions that are newer than a page, as a link. A page asks for it by itself."""

    touches = False

    async def get(self) -> None:
        """Render the link, or nothing if there are none."""
        view = await self.view()
        count = await self.ask_store(lambda: self.sessions.count(view.where))
        self.render_page("new_sessions.html", view=view, count=count)


class SavedViewsForm(OperatorHandler):
    """``/admin/views``: save and delete one's own views of the list."""

    role_to_act = Role.VIEWER

    async def post(self) -> None:
        """Save the view ``query`` under a ``name``, or delete the view ``delete``. Redirect to the list."""
        owner, query = self.session.user or "", _cleaned(self.form_value("query"))
        if name := self.form_value("delete"):
            await self.parts.saved_views.delete(owner, name)
            self.notify(Message("The view %s is deleted.", (name[:80],)))
        else:
            await self._save(owner, self.form_value("name"), query)
        self.to_dashboard(f"/?{query}", status=303)

    async def _save(self, owner: str, name: str, query: str) -> None:
        try:
            await self.parts.saved_views.save(owner, name, query)
        except InvalidInput as error:
            self.notify(error.sentence, kind="bad")
        else:
            self.notify(Message("The view %s is saved.", (name[:80],)))


def query_of(view: View) -> str:
    """Return the query string of a view without the place in it, as views are saved."""
    return urlencode({name: value for name, value in view.given.items() if name not in _PLACES})


def _cleaned(query: str) -> str:
    """Return the known parameters of a query string."""
    given = dict(parse_qsl(query.removeprefix("?")))
    return urlencode({name: given[name] for name in PARAMETERS if given.get(name) and name not in _PLACES})


def _where_of(view: View, now: float) -> str:
    """Return the filters of a view as JSON, for a form that ends the matching sessions except those created later."""
    return msgspec.json.encode(cut_off(view.where, now)).decode()
