"""``/admin/settings``: the self-check, and the configuration in words. It must not know where settings come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tornado_sessions import __version__
from tornado_sessions.messages import N_
from tornado_sessions.server.dashboard_parts import Setting
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.self_check import self_check, worst_first
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["SettingsPage", "described"]

#: The settings by group: their titles, and those of ``SessionConfig`` and ``ServerOptions`` with their names in words.
_GROUPS = {
    N_("Lifetime of sessions"): {
        "idle_timeout": N_("Ends without use after"),
        "absolute_timeout": N_("Ends in any case after"),
        "rolling": N_("Each request extends the session"),
        "touch_after": N_("Last activity is stored after"),
        "max_sessions_per_user": N_("Sessions per user"),
        "when_exceeded": N_("When a user has more"),
        "keep_ended_for": N_("Ended sessions stay visible for"),
    },
    N_("Cookie"): {
        "cookie_name": N_("Name"),
        "secure": N_("Sent over HTTPS only"),
        "http_only": N_("Hidden from scripts"),
        "same_site": N_("Sent from other sites (SameSite)"),
        "persistent": N_("Survives a restart of the browser"),
        "path": N_("Path"),
        "domain": N_("Domain"),
        "partitioned": N_("Separate for each embedding site"),
        "priority": N_("Priority in the browser"),
    },
    N_("Keys"): {
        "secret": N_("Signing keys"),
        "encryption_key": N_("Encryption keys of session data"),
        "rotate_after": N_("A token is replaced after"),
        "rotation_grace": N_("The replaced token works for"),
        "end_on_theft": N_("End a session whose replaced token is used"),
    },
    N_("Network"): {
        "trusted_proxies": N_("Trusted proxies"),
        "forwarded_header": N_("Header with the IP address"),
        "public_url": N_("Public address"),
        "allowed_hosts": N_("Further host names"),
    },
    N_("Limits"): {
        "max_size": N_("Data of one session"),
        "store_timeout": N_("The store counts as down after"),
        "max_requests": N_("Requests in progress per process"),
        "processes": N_("Processes"),
        "keep_audit_for": N_("Audit entries are kept for"),
        "min_password_length": N_("Shortest password"),
    },
}
#: What it means that a setting has no value.
_WITHOUT = {
    "cookie_name": N_("__Host-sid over HTTPS, otherwise sid"),
    "domain": N_("This host only"),
    "priority": N_("As the browser chooses"),
    "encryption_key": N_("Not set"),
    "rotate_after": N_("At sign-in only"),
    "max_sessions_per_user": N_("No limit"),
    "trusted_proxies": N_("No proxies"),
    "public_url": N_("Not set"),
    "allowed_hosts": N_("No others"),
    "min_password_length": N_("15 characters, 8 with two-step verification"),
}
_CHOICES = {
    ("secure", "auto"): N_("Automatic: for requests over HTTPS"),
    ("when_exceeded", "end_oldest"): N_("The oldest session ends"),
    ("when_exceeded", "refuse"): N_("The sign-in is refused"),
    ("same_site", "Lax"): N_("When a link is followed (Lax)"),
    ("same_site", "Strict"): N_("Never (Strict)"),
    ("same_site", "None"): N_("Always (None)"),
}
_SECONDS = (
    "idle_timeout", "absolute_timeout", "touch_after", "rotate_after", "rotation_grace", "keep_ended_for", "store_timeout",
    "keep_audit_for",
)  # fmt: skip
_KIB = 1024


class Described(NamedTuple):
    """A setting in words.

    Attributes:
        name: its name in the code.
        label, value: in the user's language.
        flag, variable: how to set it; empty if this server has no such setting.
    """

    name: str
    label: str
    value: str
    flag: str = ""
    variable: str = ""


class SettingsPage(OperatorHandler):
    """``/admin/settings``."""

    async def get(self) -> None:
        """Show the configuration, read-only."""
        self.render(
            "admin/settings.html",
            checks=worst_first(
                [
                    *await self_check(self.sessions, self.parts.people, self.parts.audit),
                    *await self.parts.overview.own_checks(),
                ]
            ),
            groups=described(self.parts.setting, self.language),
            version=__version__,
        )


def described(setting: Callable[[str], Setting | None], language: Language) -> dict[str, list[Described]]:
    """Return all settings in words, by the title of their group; of secrets only their number and lengths.

    Args:
        setting: returns a setting by its name; ``None`` for one that this application does not have.
        language: the user's language.
    """
    groups = {
        language.translate(title): [
            Described(name, language.translate(label), _value(found.value, name, language), found.flag, found.variable)
            for name, label in group.items()
            if (found := setting(name)) is not None
        ]
        for title, group in _GROUPS.items()
    }
    return {title: settings for title, settings in groups.items() if settings}


def _value(value: Any, name: str, language: Language) -> str:
    value = tuple(value) if isinstance(value, list) else value
    say = language.translate
    if name in ("secret", "encryption_key") and value:
        lengths = [language.number(len(key)) for key in ([value] if isinstance(value, str) else value)]
        return language.plural("%s key: %s characters", "%s keys: %s characters", len(lengths), " / ".join(lengths))
    if value in (None, "", ()):
        return say(_WITHOUT.get(name, N_("Not set")))
    if isinstance(value, bool):
        return say(N_("Yes") if value else N_("No"))
    if name in _SECONDS:
        return language.duration(float(value))
    if (name, value) in _CHOICES:
        return say(_CHOICES[name, value])
    return _number_or_text(value, name, language)


def _number_or_text(value: int | str | Sequence[str], name: str, language: Language) -> str:
    if name == "max_size" and isinstance(value, int) and value % _KIB == 0:
        return language.translate("%s KiB") % language.number(value // _KIB)
    units: dict[str, Callable[[int], str]] = {
        "max_size": lambda number: language.plural("%s byte", "%s bytes", number),
        "min_password_length": lambda number: language.plural("%s character", "%s characters", number),
    }
    if isinstance(value, int):
        return units.get(name, language.number)(value)
    names = [language.translate(N_("Unix sockets")) if text == "unix:" else text for text in value]
    return value if isinstance(value, str) else language.joined(names)
