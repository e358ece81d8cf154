"""The server, and the dashboard for applications with their own users: ``Dashboard``, ``Person`` and ``Role``.

``import tornado_sessions.server`` loads none of them until it is used: ``Dashboard`` needs the extra ``dashboard``, and without it
raises ``ConfigError`` with the command that installs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado_sessions.extras import import_extra

if TYPE_CHECKING:
    from tornado_sessions.server.operations.people import Person
    from tornado_sessions.server.roles import Role
    from tornado_sessions.server.web.dashboard import Dashboard

__all__ = ["Dashboard", "Person", "Role"]

_HOMES = {"Dashboard": "web.dashboard", "Person": "operations.people", "Role": "roles"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_extra(f"{__name__}.{_HOMES[name]}", "dashboard", f"{__name__}.{name}"), name)
