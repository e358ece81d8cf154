"""Settings of the server, as ``tornado_sessions.server.settings`` declares them."""

from __future__ import annotations

from tornado_sessions.server.settings import ServerOptions, Settings, load

__all__ = ["ServerOptions", "Settings", "load"]
