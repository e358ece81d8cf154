"""What all components share: their template, the reader's language and the icons. It must not know any component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from tornado.web import UIModule

from tornado_sessions.server.languages import Language
from tornado_sessions.server.web.ui.markup import Icons

__all__ = ["Component", "piece"]


class _Site(Protocol):
    """The attributes that components use of the site."""

    dashboard: str

    def url(self, path: str) -> str: ...

    def place(self, ip: str, /) -> str: ...

    def called(self, user: str) -> str: ...


class _Handler(Protocol):
    """The attributes that components use of their handler."""

    language: Language
    site: _Site


class Component(UIModule):
    """A part of a page, written as ``{% module Name(…) %}``."""

    #: The name of its template in ``templates/modules``, if it has one.
    template = ""

    def draw(self, **values: object) -> str:
        """Render the template with these values."""
        return self.render_string(f"modules/{self.template}.html", **values).decode()

    @property
    def language(self) -> Language:
        """The reader's language."""
        return cast("_Handler", self.handler).language

    @property
    def site(self) -> _Site:
        """The site, for links and places."""
        return cast("_Handler", self.handler).site

    @property
    def icon(self) -> Icons:
        """Returns icons."""
        return Icons(self.handler.static_url("icons.svg"))


class _Piece(Component):
    #: The names of positional arguments, and the values of arguments that are not given.
    order: tuple[str, ...] = ()
    usual: Mapping[str, object] = {}

    def render(self, *values: object, **named: object) -> str:
        """Render the template with these values."""
        return self.draw(**{**self.usual, **dict(zip(self.order, values, strict=False)), **named})


def piece(template: str, *order: str, **usual: object) -> type[UIModule]:
    """Return the component of a template that needs no code.

    Args:
        template: its name in ``templates/modules``.
        order: the names of its positional arguments.
        usual: values of arguments that are not given.
    """
    name = template.title().replace("_", "")
    return type(name, (_Piece,), {"template": template, "order": order, "usual": usual})
