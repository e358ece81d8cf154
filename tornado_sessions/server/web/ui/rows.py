"""Components of sessions and audit entries, which several pages list. It must not know the pages."""

from __future__ import annotations

from tornado.escape import xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.record import SessionSummary
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.web.ui.component import Component, piece
from tornado_sessions.server.web.ui.texts import damage_of

__all__ = ["ROWS"]

# Those that every row uses do without templates, which would take longer to render than the rest of the page.


class SessionBadges(Component):
    """Badges that mark damaged sessions and the user's own session."""

    def render(self, item: SessionSummary, own: str | None, label: str) -> str:
        """Render the badges. ``own`` is the handle of the user's session, ``label`` the text of its badge."""
        badges = []
        if why := damage_of(item):
            text = xhtml_escape(self.language.translate("damaged"))
            badges.append(f'<span class="badge danger" title="{xhtml_escape(why[:200])}">{text}</span>')
        if item.handle == own:
            badges.append(f'<span class="badge accent">{xhtml_escape(label)}</span>')
        return " ".join(badges)


class IpAddress(Component):
    """An IP address with its location, if the application provides one."""

    def render(self, ip: str) -> str:
        """Render the address."""
        place = self.handler.settings["site"].place(ip)
        address = xhtml_escape(ip[:64])
        return f'<span>{address} <span class="muted">{xhtml_escape(place)}</span></span>' if place else address


class SessionsEnded(Component):
    """How many sessions an action has ended, as a link to them, or what became of it; nothing for one that ends none."""

    def render(self, entry: Entry, url: str) -> str:
        """Render the number. ``url`` is that of the list of these sessions; empty if there is none."""
        say = self.language.translate
        if entry.ended is not None:
            number, unit = xhtml_escape(self.language.number(entry.ended)), xhtml_escape(say(N_("ended")))
            text = f'{number}<span class="only-phone">&nbsp;{unit}</span>'
            about = xhtml_escape(say(N_("View the sessions that this action ended")))
            return f'<a href="{xhtml_escape(url)}">{text}<span class="sr">: {about}</span></a>' if url else text
        if entry.error:
            return f'<span class="badge danger" title="{xhtml_escape(entry.error)}">{xhtml_escape(say(N_("Failed")))}</span>'
        if entry.act in ENDS_SESSIONS:
            return f'<span class="badge warn">{xhtml_escape(say(N_("Interrupted")))}</span>'
        return ""


ROWS = {
    "SessionsEnded": SessionsEnded,
    "SessionBadges": SessionBadges,
    "IpAddress": IpAddress,
    "Moment": piece("moment", "at", only_when=False),
    "SessionEnding": piece("session_ending"),
    "SessionTable": piece("session_table"),
    "SessionLine": piece("session_line"),
    "AuditTable": piece("audit_table"),
    "Checks": piece("checks"),
}
