"""The server, and what applications with their own users take of it: ``Dashboard`` and ``AccountPages``.

``import tornado_sessions.server`` loads none of them until it is used: ``Dashboard`` needs the extra ``dashboard``, and
``AccountPages`` the extra ``server``. Without it they raise ``ConfigError`` with the command that installs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_sessions.extras import import_extra

if TYPE_CHECKING:
    from tornado_sessions.server.accounts.fields import Field
    from tornado_sessions.server.accounts.user import User, key_of
    from tornado_sessions.server.accounts.users import Users
    from tornado_sessions.server.operations.people import Person
    from tornado_sessions.server.roles import Role
    from tornado_sessions.server.web.account_pages import AccountPages
    from tornado_sessions.server.web.dashboard import Dashboard

__all__ = ["AccountPages", "Dashboard", "Field", "Person", "Role", "User", "Users", "key_of"]

#: Where each name is, and the extra that it needs.
_HOMES = {
    "AccountPages": ("web.account_pages", "server"),
    "Dashboard": ("web.dashboard", "dashboard"),
    "Field": ("accounts.fields", "server"),
    "Person": ("operations.people", "dashboard"),
    "Role": ("roles", "dashboard"),
    "User": ("accounts.user", "server"),
    "Users": ("accounts.users", "server"),
    "key_of": ("accounts.user", "server"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, extra = _HOMES[name]
    return getattr(import_extra(f"{__name__}.{home}", extra, f"{__name__}.{name}"), name)
