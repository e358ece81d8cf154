"""``/``, ``/home`` and the choice of a language. It must not know accounts."""

from __future__ import annotations

from tornado_sessions.server.web.base import PageHandler

__all__ = ["Home", "Language", "Root"]


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


class Language(PageHandler):
    """``/language/CODE``."""

    def get(self, code: str) -> None:
        """Store the language in a cookie and redirect to the page that the user came from."""
        self.keep_value("lang", code, expires_days=365)
        self.redirect(self.following(self.request.headers.get("Referer", "")) or "/home")
