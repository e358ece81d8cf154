"""``/preferences``: choose the theme, and how lists look. It must not know lists."""

from __future__ import annotations

from tornado_sessions.server.web.base import PageHandler

__all__ = ["PreferencesPage"]


class PreferencesPage(PageHandler):
    """``/preferences``."""

    def post(self) -> None:
        """Keep the preferences that the form names in a cookie, and redirect to the page that the user came from."""
        names = ("theme", "density", "columns")
        given = {name: self.get_body_arguments(name) for name in names if name in self.request.body_arguments}
        self.keep_value("preferences", self.preferences.changed(given).write(), expires_days=365)
        back = self.form_value("next") or self.request.headers.get("Referer", "")
        self.redirect(self.following(back) or self.site.home, status=303)
