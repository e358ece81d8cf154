"""``/``, ``/home`` and the choice of a language.

It must not know accounts.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tornado_sessions.server.web.base import PageHandler

__all__ = ["routes"]


class Root(PageHandler):
    """``/``."""

    def get(self) -> None:
        """To the account, which asks visitors to log in."""
        self.redirect("/account")


class Home(PageHandler):
    """``/home``: a greeting."""

    def get(self) -> None:
        """Greets by name, or shows the way in."""
        self.render("home.html")


class Language(PageHandler):
    """``/language/CODE``: which language to speak, kept in a plain cookie."""

    def get(self, code: str) -> None:
        """Remember it and go back to the page that was read."""
        self.set_cookie("lang", code, expires_days=365, httponly=True, samesite="Lax")
        came_from = urlsplit(self.request.headers.get("Referer", ""))
        is_ours = came_from.netloc == self.request.host and came_from.path.startswith("/")
        self.redirect(f"{came_from.path}?{came_from.query}" if is_ours else "/home")


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/", Root),
        (r"/home", Home),
        (r"/language/(en_US|zh)", Language),
    ]
