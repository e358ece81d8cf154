"""``/admin/settings``: the current configuration, and what the self-check says about it.

It must not know where settings come from.
"""

from __future__ import annotations

from tornado_sessions import __version__
from tornado_sessions.server.operations.self_check import effective_settings, self_check
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["SettingsPage"]


class SettingsPage(OperatorHandler):
    """``/admin/settings``."""

    async def get(self) -> None:
        """Show the configuration, read-only."""
        checks = await self_check(self.sessions, self.parts.people)
        shown = effective_settings(self.sessions.config)
        self.render("admin/settings.html", checks=checks, shown=shown, version=__version__)
