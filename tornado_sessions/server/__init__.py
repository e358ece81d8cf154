"""The server, and the dashboard for applications with their own users: ``Dashboard``, ``Person`` and ``Role``.

``import tornado_sessions.server`` loads neither until it is used: the dashboard needs the extra ``dashboard``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado_sessions.server.operations.people import Person
    from tornado_sessions.server.roles import Role
    from tornado_sessions.server.web.dashboard import Dashboard

__all__ = ["Dashboard", "Person", "Role"]

_HOMES = {"Dashboard": "web.dashboard", "Person": "operations.people", "Role": "roles"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
