"""Components that show something or lead somewhere: badges, numbers, tabs, pager, toast. It must not know sessions or accounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from tornado.escape import xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.server.web.ui.component import Component, piece
from tornado_sessions.server.web.ui.markup import attributes

__all__ = ["COMPONENTS"]

#: What the entries of a legend look like: the shape of each kind.
_SHAPES = {
    "line": '<path class="line" d="M0 5h16"/>',
    "ghost": '<path class="ghost" d="M0 5h16"/>',
    "band": '<rect class="band" width="16" height="10" rx="2"/>',
    "bar": '<rect class="bar" width="16" height="10" rx="2"/>',
    "over": '<rect class="bar over" width="16" height="10" rx="2"/>',
}


class Badge(Component):
    """A word about a row or a heading."""

    def render(self, text: str, kind: str = "", icon: str = "", title: str = "") -> str:
        """Render the badge.

        Args:
            text: the word.
            kind: empty, ``accent``, ``warn``, ``danger``, ``good``, or ``trait`` for one without a border.
            icon: a picture before it.
            title: an explanation.
        """
        about = attributes({"class": f"badge {kind}".strip(), "title": title or None})
        return f"<span{about}>{self.icon(icon) if icon else ''}<span>{xhtml_escape(text)}</span></span>"


class Stat(Component):
    """A number with its label and its change, for ``<dl class="stats">``."""

    template = "stat"

    def render(self, label: str, value: str, **more: object) -> str:
        """Render the number.

        Args:
            label: what it counts.
            value: the number as text.
            more: ``unit``, ``url`` of the things counted, ``note`` about its change, ``trend`` (``up`` or ``down``), and ``bad``
                if the change is.
        """
        usual: dict[str, object] = {"unit": "", "url": "", "note": "", "trend": "", "bad": False}
        return self.draw(label=label, value=value, **{**usual, **more})


class Segment(Component):
    """A choice between a few views, as links."""

    template = "segment"

    def render(self, items: Iterable[tuple[Any, ...]], label: str) -> str:
        """Render the links. ``items`` are URL, text, whether it is current and, instead of the visible text, an icon."""
        return self.draw(items=[(*item, "")[:4] for item in items], label=label)


class Tabs(Component):
    """The views of one thing, as links."""

    template = "tabs"

    def render(self, items: Iterable[tuple[Any, ...]], label: str) -> str:
        """Render the links. ``items`` are URL, text, whether it is current and, if known, a count as text."""
        return self.draw(items=[(*item, "")[:4] for item in items], label=label)


class Pager(Component):
    """The footer of a list: which rows it shows, and links to the pages before and after."""

    template = "pager"

    def render(
        self,
        position: tuple[int, int] | None,
        total: str = "",
        previous: str | None = "",
        following: str | None = "",
        label: str = "",
        action: str = "",
    ) -> str:
        """Render the footer.

        Args:
            position: the numbers of the first and the last row; ``None`` if unknown.
            total: how many rows there are, as text.
            previous, following: URLs of the pages around this one; empty if there is none.
            label: of the links, where a page has several lists.
            action: the HTML of a button for all of these rows.
        """
        urls = {"previous": previous, "following": following}
        return self.draw(position=position, total=total, label=label, action=action, **urls)


class Copy(Component):
    """A button that copies a text. Only a script shows it."""

    def render(self, text: str, label: str) -> str:
        """Render the button."""
        about = {
            "class": "btn ghost icon script",
            "type": "button",
            "data_copy": text,
            "aria_label": label,
            "title": label,
        }
        done = self.language.translate(N_("Copied"))
        return f"<button{attributes({**about, 'data_done': done})}>{self.icon('copy')}</button>"


class Progress(Component):
    """A progress bar, which never exceeds 100 %."""

    template = "progress"

    def render(self, done: int, total: int | None, label: str) -> str:
        """Render the bar. ``total`` is ``None`` if it is unknown; then only the label is shown."""
        share = None if total is None else min(100.0, 100 * done / max(1, total))
        return self.draw(share=share, label=label)


class Avatar(Component):
    """The first letters of a name."""

    def render(self, name: str) -> str:
        """Render the letters."""
        return f'<span class="avatar" aria-hidden="true">{xhtml_escape(name[:2].upper())}</span>'


class Legend(Component):
    """What the lines and bars of a chart mean."""

    def render(self, items: Iterable[tuple[str, str]]) -> str:
        """Render the legend. ``items`` are a kind (``line``, ``ghost``, ``band``, ``bar`` or ``over``) and its text."""
        entries = "".join(
            f'<li><svg class="chart" viewBox="0 0 16 10" aria-hidden="true">{_SHAPES[kind]}</svg>{xhtml_escape(text)}</li>'
            for kind, text in items
        )
        return f'<ul class="legend">{entries}</ul>'


class Toast(Component):
    """The message of the request before this one: a toast, or an alert bar if something went wrong."""

    template = "toast"

    def render(self, notice: object = None) -> str:
        """Render a notice, by default the one that waits in the session, which is then gone; nothing if there is none."""
        notice = notice or cast("Any", self.handler).take_notice()
        return self.draw(notice=notice) if notice else ""


COMPONENTS = {
    "Badge": Badge,
    "Stat": Stat,
    "Segment": Segment,
    "Tabs": Tabs,
    "Chips": piece("chips", "items", "label"),
    "Search": piece("search", "name", "label", "value", value="", shortcut=""),
    "Pager": Pager,
    "Copy": Copy,
    "Command": piece("command", "text"),
    "Progress": Progress,
    "Avatar": Avatar,
    "Legend": Legend,
    "Top": piece("top", "items"),
    "LiveBar": piece("live_bar", "at"),
    "LiveState": piece("live_state"),
    "Skeleton": piece("skeleton", "rows", rows=3),
    "Toast": Toast,
    "MainLinks": piece("main_links"),
    "AccountMenu": piece("account_menu"),
}
