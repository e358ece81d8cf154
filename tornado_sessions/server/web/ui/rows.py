"""Components of sessions and audit entries, which several pages list. It must not know the pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tornado.escape import to_unicode, xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.record import SessionSummary
from tornado_sessions.server import display
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.operations.filters import View
from tornado_sessions.server.operations.job import Job
from tornado_sessions.server.operations.suspects import Traits
from tornado_sessions.server.web.ui.component import Component, piece
from tornado_sessions.server.web.ui.components import Badge
from tornado_sessions.server.web.ui.jobs import JobStateBadge
from tornado_sessions.server.web.ui.texts import damage_of, when
from tornado_sessions.stores.matching import device_of

__all__ = ["ROWS"]

#: How many letters of a name a row shows.
_LONGEST_NAME = 40

# Those that every row uses do without templates, which would take longer to render than the rest of the page.


class SessionBadges(Component):
    """Badges that mark damaged sessions and the user's own session."""

    def render(self, item: SessionSummary, own: str | None, label: str) -> str:
        """Render the badges. ``own`` is the handle of the user's session, ``label`` the text of its badge."""
        badges = []
        if why := damage_of(item):
            text = xhtml_escape(self.language.translate(N_("damaged")))
            badges.append(f'<span class="badge danger" title="{xhtml_escape(why[:200])}">{text}</span>')
        if item.handle == own:
            badges.append(f'<span class="badge accent">{xhtml_escape(label)}</span>')
        return " ".join(badges)


class IpAddress(Component):
    """An IP address with its location, if the application provides one."""

    def render(self, ip: str) -> str:
        """Render the address."""
        place = self.site.place(ip)
        address = xhtml_escape(ip[:64])
        return f'<span>{address} <span class="muted">{xhtml_escape(place)}</span></span>' if place else address


class SessionsEnded(Component):
    """How many sessions an action has ended, as a link to them, or what became of it; nothing for one that ends none."""

    def render(self, entry: Entry, url: str, job: Job | None = None) -> str:
        """Render the number.

        Args:
            entry: of the action.
            url: of the list of these sessions; empty if there is none.
            job: the job that ends them, while it runs or waits.
        """
        say = self.language.translate
        if entry.ended is not None:
            number, unit = xhtml_escape(self.language.number(entry.ended)), xhtml_escape(say(N_("ended")))
            text = f'{number}<span class="only-phone">&nbsp;{unit}</span>'
            about = xhtml_escape(say(N_("View the sessions that this action ended")))
            return (
                f'<a href="{xhtml_escape(url)}">{text}<span class="sr">{self.language.colon}{about}</span></a>'
                if url
                else text
            )
        if entry.error:
            return Badge(self.handler).render(say(N_("Failed")), "danger", title=entry.error)
        if job is not None:
            page = xhtml_escape(f"{self.site.url(self.site.dashboard)}/jobs/{job.id}")
            return f'<a href="{page}">{JobStateBadge(self.handler).render(job)}</a>'
        if entry.act in ENDS_SESSIONS:
            return Badge(self.handler).render(say(N_("Interrupted")), "warn")
        return ""


class ListRow(Component):
    """A row of the list of sessions."""

    def render(self, *, item: SessionSummary, view: View, own: str | None, **of_list: Any) -> str:
        """Render the row.

        Args:
            item: the session.
            view: the list, for links that filter it.
            own: the handle of the operator's own session, which cannot be selected.
            of_list: ``shown`` (the names of the columns), ``ended``, ``may_end`` and ``traits`` (what badges say).
        """
        translate, is_damaged = self.language.translate, bool(damage_of(item))
        site = self.site
        session = f"{site.url(site.dashboard)}/sessions/{xhtml_escape(item.handle)}"
        name = (site.called(item.user) if item.user else translate(N_("unknown") if is_damaged else N_("Anonymous")))[
            :80
        ]
        what = item.handle[:64] if is_damaged else self.language.device(display.device(item.user_agent))
        about = xhtml_escape(name + self.language.comma + what)
        badges = SessionBadges(self.handler).render(item, own, translate(N_("This session")))
        badges += self._traits(item, of_list["traits"])
        cells = [self._user(item, name, session, badges)]
        cells += [getattr(self, f"_{column}")(item, view, session) for column in of_list["shown"] if column != "end"]
        if of_list["ended"]:
            ending = self.handler.ui["modules"].SessionEnding(item=item)
            cells.append(f'<td class="c-ending">{to_unicode(ending)}</td>')
        elif "end" in of_list["shown"]:
            cells.append(f'<td class="c-time c-end">{when(item.expires_at, self.language)}</td>')
        if of_list["may_end"]:
            cells.insert(0, f'<td class="c-check">{self._box(item, about) if item.handle != own else ""}</td>')
        more = xhtml_escape(translate(N_("Actions for %s"))) % about
        cells.append(
            f'<td class="c-menu"><a class="btn ghost icon" href="{session}" aria-label="{more}">{self.icon("more")}</a></td>'
        )
        return f"<tr>{''.join(cells)}</tr>"

    def _box(self, item: SessionSummary, about: str) -> str:
        label = xhtml_escape(self.language.translate(N_("Select session of %s"))) % about
        handle = xhtml_escape(item.handle)
        box = f'<input class="box" type="checkbox" name="handle" value="{handle}" aria-label="{label}">'
        return f'<label class="pick">{box}</label>'

    def _user(self, item: SessionSummary, name: str, session: str, badges: str) -> str:
        site = self.site
        url = session
        if item.user:
            url = xhtml_escape(site.url(f"{site.dashboard}/user?{urlencode({'name': item.user})}"))
        css = "" if item.user else ' class="anon"'
        shown = xhtml_escape(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…")
        whole = item.user if item.user and name != item.user[:80] else name
        title = f' title="{xhtml_escape(whole)}"' if len(name) > _LONGEST_NAME or whole != name else ""
        damage = ""
        if why := damage_of(item):
            damage = (
                f" <code>{xhtml_escape(item.handle[:64])}</code> <span class=muted>{xhtml_escape(why[:200])}</span>"
            )
        return (
            f'<th scope="row" class="c-user"><a{css} href="{url}"{title}><bdi>{shown}</bdi></a> {badges}{damage}</th>'
        )

    def _traits(self, item: SessionSummary, traits: Traits) -> str:
        """Return the badges of what is known about a session and its user."""
        translate, countries = self.language.translate, traits.signs.countries.get(item.user or "", 0)
        badges = []
        if countries:
            text = self.language.plural("%s country in 1 h", "%s countries in 1 h", countries)
            badges.append(("danger" if item.handle in traits.first else "danger quiet", "countries", text))
        if item.handle in traits.signs.moved:
            badges.append(("warn", "new-ip", translate(N_("New IP"))))
        if item.user in traits.two_steps:
            badges.append(("trait", "two-step", translate(N_("Two-step"))))
        if item.handle in traits.remembered:
            badges.append(("trait", "remembered", translate(N_("Remembered"))))
        badge = Badge(self.handler)
        return "".join(f" {badge.render(text, kind, icon=icon, title=text)}" for kind, icon, text in badges)

    def _device(self, item: SessionSummary, view: View, _session: str) -> str:
        found = display.parts_of(item.user_agent)
        if not item.user_agent:
            return '<td class="c-device">–</td>'
        browser, version, system = map(xhtml_escape, found)
        text = f"{self.icon(display.picture(item.user_agent))}<bdi>{browser or system}</bdi>"
        if version:
            text += f' <span class="ver">{version}</span>'
        if family := device_of(item.user_agent):
            text = f'<a href="{xhtml_escape(view.url(device=family))}">{text}</a>'
        return f'<td class="c-device">{text} <span class="muted os">{system if browser else ""}</span></td>'

    def _ip(self, item: SessionSummary, view: View, _session: str) -> str:
        if not item.ip:
            return '<td class="c-ip">–</td>'
        place = xhtml_escape(self.site.place(item.ip))
        address = f'<a href="{xhtml_escape(view.url(ip=item.ip[:64]))}">{xhtml_escape(item.ip[:64])}</a>'
        return f'<td class="c-ip">{address}{f" <span class=place>{place}</span>" if place else ""}</td>'

    def _created(self, item: SessionSummary, _view: View, _session: str) -> str:
        return f'<td class="c-time c-created">{when(item.created_at, self.language)}</td>'

    def _signed_in(self, item: SessionSummary, _view: View, _session: str) -> str:
        return f'<td class="c-time c-signed_in">{when(item.signed_in_at, self.language)}</td>'

    def _last_active(self, item: SessionSummary, _view: View, session: str) -> str:
        return f'<td class="c-time c-last_active"><a href="{session}">{when(item.last_seen_at, self.language)}</a></td>'


ROWS = {
    "SessionsEnded": SessionsEnded,
    "ListRow": ListRow,
    "RowMenu": piece("row_menu"),
    "SessionBadges": SessionBadges,
    "IpAddress": IpAddress,
    "Moment": piece("moment", "at", only_when=False),
    "EndedGroup": piece("ended_group"),
    "SessionEnding": piece("session_ending"),
    "SessionTable": piece("session_table"),
    "SessionLine": piece("session_line"),
    "AuditTable": piece("audit_table"),
    "Checks": piece("checks", folds=True),
}
