"""``/`` and ``/home``. It must not know accounts."""

from __future__ import annotations

from tornado_sessions.server.web.base import PageHandler

__all__ = ["Home", "Root"]


class Root(PageHandler):
    """``/``."""

    def get(self) -> None:
        """Redirect to the account page."""
        self.redirect("/account")


class Home(PageHandler):
    """``/home``."""

    def get(self) -> None:
        """Greet the user, or show a link to sign in."""
        self.render("home.html")
