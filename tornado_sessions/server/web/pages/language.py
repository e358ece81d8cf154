"""``/language/CODE``: choose the language of the pages. It must not know how texts are translated."""

from __future__ import annotations

from tornado_sessions.server.web.base import PageHandler

__all__ = ["LanguagePage"]


class LanguagePage(PageHandler):
    """``/language/CODE``."""

    def get(self, code: str) -> None:
        """Store the language in a cookie and redirect to the page that the user came from."""
        self.keep_value("lang", code, expires_days=365)
        self.redirect(self.following(self.request.headers.get("Referer", "")) or self.site.home)
