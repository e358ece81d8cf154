"""The routes of the dashboard, which are the same in the server and in an application with its own users.

It must not know what the handlers do, or the pages of accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tornado_sessions.server.web import api
from tornado_sessions.server.web.base import NotFound
from tornado_sessions.server.web.pages import (
    audit,
    end_sessions,
    jobs,
    language,
    live,
    operators,
    overview,
    preferences,
    session,
    session_export,
    sessions,
    settings,
    user,
    users,
)  # fmt: skip
from tornado_sessions.server.web.site import Site
from tornado_sessions.server.web.static_files import StaticFiles, folder

__all__ = ["Route", "dashboard_routes", "missing_routes", "routes_of"]

#: A pattern, the class of its handler, and the arguments of ``initialize``.
Route = tuple[str, Any, dict[str, Any]]

_ID = "([A-Za-z0-9]{1,64})"

#: Below the path of the site.
_SHARED: list[Any] = [
    (r"/language/(en_US|zh)", language.LanguagePage),
    (r"/preferences", preferences.PreferencesPage),
]

#: Below the path of the dashboard.
_OPERATORS: list[Any] = [
    (r"/?", sessions.SessionsPage),
    (r"/sessions\.(jsonl|csv)", session_export.SessionExport),
    (r"/new", sessions.NewSessions),
    (r"/views", sessions.SavedViewsForm),
    (r"/overview", overview.OverviewPage),
    (r"/live", live.LivePage),
    (rf"/sessions/{_ID}", session.SessionDetails),
    (rf"/sessions/{_ID}/values", session.RevealPage),
    (r"/users", users.UsersPage),
    (r"/user", user.UserPage),
    (r"/block", user.BlockPage),
    (r"/reset", user.ResetPage),
    (r"/end", end_sessions.EndPage),
    (r"/jobs", jobs.JobsPage),
    (r"/jobs/live", jobs.JobsRefresh),
    (rf"/jobs/{_ID}", jobs.JobPage),
    (rf"/jobs/{_ID}/live", jobs.JobRefresh),
    (rf"/jobs/{_ID}/cancel", jobs.CancelJob),
    (rf"/jobs/{_ID}/resume", jobs.ResumeJob),
    (r"/audit", audit.AuditLogPage),
    (r"/audit\.(jsonl|csv)", audit.AuditExport),
    (r"/operators", operators.OperatorsPage),
    (r"/operators/role", operators.RolePage),
    (r"/operators/invite", operators.InvitationsPage),
    (r"/operators/tokens", operators.TokenPage),
    (r"/settings", settings.SettingsPage),
]


def dashboard_routes(site: Site) -> list[Route]:
    """Return the routes of the dashboard and of what its pages need."""
    operators_pages = [
        (re.escape(site.dashboard) + pattern, handler) for pattern, handler in [*_OPERATORS, *api.routes()]
    ]
    files = (re.escape(site.root) + "/static/(.*)", StaticFiles, {"site": site, "path": folder("static")})
    return [*routes_of(site, [*_SHARED, *operators_pages]), files]


def routes_of(site: Site, pages: Iterable[tuple[str, Any]]) -> list[Route]:
    """Return the routes of pages, by their patterns below the path of the site."""
    return [(re.escape(site.root) + pattern, handler, {"site": site}) for pattern, handler in pages]


def missing_routes(site: Site) -> list[Route]:
    """Return the route of everything below the path of the site that is not there."""
    return [(re.escape(site.root) + ("(?:/.*)?" if site.root else ".*"), NotFound, {"site": site})]
