"""The JSON API of the dashboard, one module per resource.

A resource parses a request, calls one operation and returns a type of ``operations/schema.py``. It must not know the pages.
"""

from __future__ import annotations

from tornado_sessions.server.web.api.openapi import routes

__all__ = ["routes"]
