"""The HTML pages, one module for each page.

A page parses a request, calls one operation and renders a template. It must not know the API.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web.pages import (
    account,
    audit,
    end_sessions,
    home,
    jobs,
    live,
    operators,
    overview,
    register,
    session,
    sessions,
    settings,
    sign_in,
    user,
)

__all__ = ["routes"]

_PAGES = (
    home, register, sign_in, account, overview, live, sessions, session, user, end_sessions, jobs, audit, operators, settings,
)  # fmt: skip


def routes() -> list[Any]:
    """Return the addresses of every page, with their handlers."""
    return [route for page in _PAGES for route in page.routes()]
