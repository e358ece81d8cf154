"""The JSON API of the dashboard, one module for each resource.

A resource parses a request, calls one operation and answers with a type of ``operations/schema.py``. It must not know the pages.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web.api import audit, jobs, openapi, sessions, stats, tokens, users

__all__ = ["routes"]


def routes() -> list[Any]:
    """Return the addresses of every resource, with their handlers."""
    return [route for module in (sessions, users, stats, jobs, audit, tokens, openapi) for route in module.routes()]
