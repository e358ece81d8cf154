"""Components that wrap HTML of a template, as ``{% apply card("Title") %} … {% end %}``. It must not know what they wrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tornado.escape import to_unicode, xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.server.web.ui.markup import Icon, Wrapper, attributes

__all__ = ["Wrappers"]

#: The icons of alert bars.
_ALERTS = {"info": "info", "good": "ok", "warn": "warn", "danger": "error"}


def _between(start: str, end: str) -> Wrapper:
    return lambda body: f"{start}{to_unicode(body)}{end}"


class Wrappers:
    """The wrappers of a page. Each returns a function for ``apply``.

    Args:
        icon: returns icons.
        translate: translates a text into the reader's language.
    """

    def __init__(self, icon: Icon, translate: Callable[[str], str]) -> None:
        self._icon = icon
        self._translate = translate

    def names(self) -> dict[str, Any]:
        """Return the wrappers by their names in templates."""
        return {
            name: getattr(self, name) for name in ("page_head", "card", "menu", "dialog", "alert", "empty", "figure")
        }

    def page_head(self, title: str, crumbs: Iterable[tuple[str, str]] = (), note: str = "") -> Wrapper:
        """Wrap the content at the end of a page's header.

        Args:
            title: the heading of the page.
            crumbs: URL and text of the pages above, outermost first.
            note: a muted text beside the heading.
        """
        links = "".join(
            f'<li><a href="{xhtml_escape(url)}"><bdi>{xhtml_escape(text)}</bdi></a></li>' for url, text in crumbs
        )
        trail = xhtml_escape(self._translate(N_("Breadcrumb")))
        path = f'<nav class="crumbs" aria-label="{trail}"><ol>{links}</ol></nav>' if links else ""
        beside = f"<p>{xhtml_escape(note)}</p>" if note else ""
        start = f'{path}<div class="page-head"><h1>{xhtml_escape(title)}</h1>{beside}'

        def wrap(body: bytes) -> str:
            end = to_unicode(body).strip()
            return f'{start}<div class="end">{end}</div></div>' if end else f"{start}</div>"

        return wrap

    def card(self, title: str = "", more: tuple[str, str] | None = None, css: str = "body") -> Wrapper:
        """Wrap the content of a card.

        Args:
            title: its heading.
            more: URL and text of a link at the end of the head.
            css: ``body``, or ``rows`` for content that reaches the edges.
        """
        link = f'<a class="more" href="{xhtml_escape(more[0])}">{xhtml_escape(more[1])}</a>' if more else ""
        head = f"<header><h2>{xhtml_escape(title)}</h2>{link}</header>" if title else ""
        return _between(f'<section class="card">{head}<div class="{css}">', "</div></section>")

    def menu(
        self, menu_id: str, label: str, *, icon: str = "more", kind: str = "ghost icon", text: str = "", css: str = ""
    ) -> Wrapper:
        """Wrap the content of a menu behind a button.

        Args:
            menu_id: its ID, unique on the page.
            label: what the button opens, for screen readers.
            icon: of the button; empty for none.
            kind: classes of the button.
            text: the text on the button.
            css: further classes of the menu: ``pad`` for fields, ``from-start`` to open to the right.
        """
        shown = (self._icon(icon) if icon else "") + (f" <span>{xhtml_escape(text)}</span>" if text else "")
        # A label that the text is no part of would be no name for people who speak to their computer (WCAG 2.5.3).
        heard = label if text in label else None
        button = {"class": f"btn {kind}".strip(), "type": "button", "popovertarget": menu_id, "aria-label": heard}
        opened = {"class": f"menu {css}".strip(), "id": menu_id, "popover": True}
        return _between(f"<button{attributes(button)}>{shown}</button><div{attributes(opened)}>", "</div>")

    def dialog(self, dialog_id: str, title: str, *, shown: bool = False) -> Wrapper:
        """Wrap the content of a dialog, whose buttons are in a ``footer``.

        Args:
            dialog_id: its ID, unique on the page.
            title: its heading.
            shown: whether it is open as part of the page.
        """
        named = xhtml_escape(dialog_id)
        start = f'<dialog class="dialog" id="{named}" aria-labelledby="{named}-title"{" open" * shown}>'
        return _between(
            f'{start}<div class="body"><h2 id="{named}-title">{xhtml_escape(title)}</h2>', "</div></dialog>"
        )

    def alert(self, kind: str = "info", icon: str = "", title: str = "", *, css: str = "", role: str = "") -> Wrapper:
        """Wrap the content of an alert bar.

        Args:
            kind: ``info``, ``good``, ``warn`` or ``danger``.
            icon: instead of the one of its kind.
            title: a heading.
            css: ``across`` for a bar over the whole width.
            role: ``alert`` or ``status`` for one that appears while the page is read.
        """
        head = f"<p><b>{xhtml_escape(title)}</b></p>" if title else ""
        bar = attributes({"class": f"alert {kind} {css}".strip(), "role": role or None})
        return _between(f"<div{bar}>{self._icon(icon or _ALERTS[kind])}<div>{head}", "</div></div>")

    def empty(self, title: str, icon: str = "empty") -> Wrapper:
        """Wrap the explanation of an empty list, and the button that leads on."""
        return _between(f'<div class="card empty">{self._icon(icon)}<h2>{xhtml_escape(title)}</h2>', "</div>")

    def figure(self, title: str, value: str = "", note: str = "", *, over: bool = False, name: str = "") -> Wrapper:
        """Wrap the picture of a chart.

        Args:
            title: what it shows.
            value: the current number.
            note: the usual number.
            over: whether the number is unusual.
            name: of the chart, for live updates.
        """
        number = f" <b{attributes({'data_value': name or None})}>{xhtml_escape(value)}</b>" if value else ""
        usual = f"<span{' class=over' if over else ''}>{xhtml_escape(note)}</span>" if note else ""
        start = f'<figure class="plot"><figcaption>{xhtml_escape(title)}{number}{usual}</figcaption>'
        return _between(f"{start}<div{attributes({'data_chart': name or None})}>", "</div></figure>")
