"""``/admin/settings``: the current configuration and the self-check. It must not know where settings come from."""

from __future__ import annotations

from tornado_sessions import __version__
from tornado_sessions.config import SessionConfig
from tornado_sessions.messages import N_
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.self_check import self_check
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["SettingsPage", "describe"]


class SettingsPage(OperatorHandler):
    """``/admin/settings``."""

    async def get(self) -> None:
        """Show the configuration, read-only."""
        config = self.sessions.config
        self.render(
            "admin/settings.html",
            checks=await self_check(self.sessions, self.parts.people, self.parts.audit),
            shown={name: describe(config, name, self.language) for name in config.__dataclass_fields__},
            version=__version__,
        )


def describe(config: SessionConfig, name: str, language: Language) -> str:
    """Return the value of an option in the user's language; for secrets only their number and lengths."""
    value = getattr(config, name)
    if name in ("secret", "encryption_key"):
        lengths = [language.number(len(key)) for key in config.keys(name)]  # type: ignore[arg-type]
        if lengths:
            return language.plural("%s key: %s characters", "%s keys: %s characters", len(lengths), " / ".join(lengths))
        value = None
    if isinstance(value, bool):
        return language.translate(N_("Yes") if value else N_("No"))
    if value is None or value == ():
        return language.translate("None")
    if "timedelta" in str(config.__dataclass_fields__[name].type):
        return language.duration(float(value))
    if name == "max_size":
        return language.plural("%s byte", "%s bytes", value)
    if isinstance(value, int):
        return language.number(value)
    return value if isinstance(value, str) else language.joined(map(str, value))
