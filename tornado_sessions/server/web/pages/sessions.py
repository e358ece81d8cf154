"""``/admin/``: the list of sessions, its views and its news. It must not know stores or how sessions are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from urllib.parse import urlencode

import msgspec

from tornado_sessions.errors import QueryError, StoreUnavailable
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Sort, State
from tornado_sessions.record import SessionSummary, Tombstone
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.ended import Group, grouped
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.operations.filters import FILTERS, View, known_query
from tornado_sessions.server.operations.rules import DAY, cut_off
from tornado_sessions.server.operations.suggest import Kind, Suggestion, narrower, suggest
from tornado_sessions.server.operations.suspects import Traits, is_remembered
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.ui.markup import Head
from tornado_sessions.server.web.ui.texts import filter_text
from tornado_sessions.stores.matching import DEVICES

__all__ = ["NewSessions", "SavedViewsForm", "SessionsPage"]

#: The columns behind the user, with their headings and the order that each heading sorts by.
_COLUMNS: dict[str, tuple[str, Sort | None]] = {
    "device": (N_("Device"), None),
    "ip": (N_("IP address"), None),
    "created": (N_("Created"), None),
    "signed_in": (N_("Signed in"), Sort.SIGNED_IN),
    "last_active": (N_("Last active"), Sort.LAST_SEEN),
    "end": (N_("Expires"), Sort.EXPIRES),
}
_USUAL = frozenset(_COLUMNS) - {"created"}
_KINDS = {
    Kind.USER: N_("User"),
    Kind.NETWORK: N_("Network"),
    Kind.IP: N_("IP address"),
    Kind.SESSION: N_("Session ID"),
}
#: People of the application whose sessions are suggested.
_NAMED = 3
#: Views that everybody has, by the name of their query.
_VIEWS: tuple[tuple[str, dict[str, str]], ...] = (
    (N_("All active"), {}),
    (N_("Suspicious"), {"suspicious": "1"}),
    (N_("Idle for more than 1 hour"), {"idle_for": "3600", "direction": "asc"}),
    (N_("New today"), {"signed_in_within": "86400", "sort": "signed_in"}),
)


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
        is_live = view.state is State.LIVE
        rows = await self._rows(view, page)
        await self.learn_names(
            [item.user for item in page.items]
            + [item.ending.by for item in page.items if isinstance(item, Tombstone)]
            + [view.where.user]
        )
        titles = {name: self.say(title) for name, (title, _) in _COLUMNS.items()}
        if not is_live:
            titles["end"] = self.say(N_("Ended"))
        chosen = frozenset(self.preferences.columns) or _USUAL
        shown = [name for name in _COLUMNS if name in chosen or (name == "end" and not is_live)]
        self.render_page(
            "sessions.html",
            view=view,
            fault=fault,
            items=page.items,
            rows=rows,
            is_group=lambda row: isinstance(row, Group),
            count=count,
            ended=not is_live,
            titles=titles,
            shown=shown,
            heads=self._heads(view, titles, shown),
            chips=self._chips(view),
            sorts=list(Sort),
            devices=list(DEVICES),
            views=await self._views(view),
            suggestions=await self._suggestions(view, page) if is_live and not fault else [],
            traits=await self._traits(page.items) if is_live else Traits(),
            may_export=self.role.at_least(rules.REQUIRED_ROLE[Action.EXPORT_SESSIONS]),
            next_page=view.url(cursor=page.next_cursor) if page.next_cursor else None,
            previous_page=view.url(cursor=page.previous_cursor) if page.previous_cursor else None,
            position=page.position(count) if count is not None else None,
            where=_where_of(view, self.sessions.clock()),
            kept_for_days=round(self.sessions.config.seconds("keep_ended_for") / DAY),
        )

    async def _rows(self, view: View, page: Page) -> Sequence[SessionSummary | Group]:
        """Return the rows of a page: of ended sessions, those of one action are one row that leads to them."""
        if view.state is State.LIVE or view.where.ended_by is not None or view.where.ended_action is not None:
            return page.items
        return await self.ask_store(lambda: grouped(page.items, self.parts.audit))

    async def _suggestions(self, view: View, page: Page) -> list[tuple[Suggestion, str]]:
        """Return filters that the text of the search may mean, and the networks of a user that all rows are of.

        None if the store is slow: the list does not need them.
        """
        if not view.is_filtered or view.cursor:
            return []
        text, found = view.given.get("q", ""), []
        try:
            if text:
                read = page if view.where.given.keys() == {"text"} else None
                found = await self.ask_store(lambda: suggest(self.sessions, text, page=read))
                found = [*await self.ask_store(lambda: self._named(text)), *found]
            if "ip" not in view.given:
                found = [*found, *await self.ask_store(lambda: narrower(self.sessions, view.where, page.items))]
        except (QueryError, StoreUnavailable):
            return []
        return [(each, self.say(_KINDS[each.kind])) for each in found]

    async def _named(self, text: str) -> list[Suggestion]:
        """Return the sessions of people whose name is not the id by which lists find them."""
        people = await self.parts.directory.named(text, _NAMED)
        counts = await asyncio.gather(*(self.sessions.count(user=person.id) for person in people))
        return [
            Suggestion(Kind.USER, person.id, count)
            for person, count in zip(people, counts, strict=True)
            if count.total and person.name != person.id
        ]

    def _heads(self, view: View, titles: dict[str, str], shown: list[str]) -> SimpleNamespace:
        is_ended, heads = view.state is State.ENDED, {}
        for name, title in (("user", self.say(N_("User"))), *((name, titles[name]) for name in shown)):
            sort = Sort.USER if name == "user" else _COLUMNS[name][1]
            if sort is None or (is_ended and name != "end"):
                heads[name] = Head(title, css=f"c-{name}")
                continue
            direction = "ascending" if view.is_ascending else "descending"
            is_now = is_ended or sort is view.sort
            heads[name] = Head(title, view.sort_url(sort), direction if is_now else "", f"c-{name}")
        return SimpleNamespace(**heads, menu=Head(self.say(N_("Actions")), css="c-menu"))

    def _chips(self, view: View) -> list[tuple[str, str, str]]:
        """Return each filter as its name, its value in words, and the URL of the list without it."""
        return [
            (
                self.say(words.FILTERS[name]),
                filter_text(name, value, self.language, self.site.called),
                view.url(**{name: None}),
            )
            for name, value in view.given.items()
            if name in FILTERS
        ]

    async def _views(self, view: View) -> list[tuple[str, str, bool, bool]]:
        """Return the views as their name, their query string, whether it is the current one, and whether one can delete it."""
        own = await self.ask_store(lambda: self.parts.saved_views.of(self.user_id or ""))
        usual = [(self.say(name), urlencode(given), False) for name, given in _VIEWS]
        return [
            (name, "?" + query, query == view.query, is_own)
            for name, query, is_own in (*usual, *((saved.name, saved.query, True) for saved in own))
        ]

    async def _traits(self, items: Sequence[SessionSummary]) -> Traits:
        usual = self.sessions.config.seconds("idle_timeout")
        users = {item.user for item in items if item.user}
        people = await self.ask_store(lambda: self.parts.directory.known(users))
        return Traits(
            frozenset(person.id for person in people if person.two_steps),
            frozenset(item.handle for item in items if is_remembered(item, usual)),
            await self.ask_store(self.parts.suspects.signs),
            # Backwards, because the last value of a key stays.
            frozenset({item.user: item.handle for item in reversed(items)}.values()),
        )


class NewSessions(OperatorHandler):
    """``/admin/new``: how many people have signed in since a list was shown, for its link to them."""

    touches = False

    async def get(self) -> None:
        """Write the text of the link; nothing if there are none."""
        view = await self.view()
        count = await self.ask_store(lambda: self.sessions.count(view.where))
        since = self.language.clock(view.where.signed_in_since or 0.0).partition(" ")[0][:5]
        more = self.say(N_("%s+ sign-ins since %s – show"))
        text = self.language.plural(
            "%s sign-in since %s – show", "%s sign-ins since %s – show", count, since, more=more
        )
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(text if count.total else "")


class SavedViewsForm(OperatorHandler):
    """``/admin/views``: save and delete one's own views of the list."""

    role_to_act = Role.VIEWER

    async def post(self) -> None:
        """Save the view ``query`` under a ``name``, or delete the view ``delete``. Redirect to the list."""
        owner, query = self.user_id or "", known_query(self.form_value("query"))
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


def _where_of(view: View, now: float) -> str:
    """Return the filters of a view as JSON, for a form that ends the matching sessions except those created later."""
    return msgspec.json.encode(cut_off(view.where, now)).decode()
