"""The routes of the server: the dashboard, the pages of accounts, health checks and metrics. It must not know what they do."""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web import health, metrics
from tornado_sessions.server.web.account_routes import TOKEN, account_pages
from tornado_sessions.server.web.pages import account_forms, components, home, open_id, recovery, register
from tornado_sessions.server.web.routes import Route, dashboard_routes, routes_of
from tornado_sessions.server.web.server_site import ServerSite

__all__ = ["server_routes"]

#: What only the server has.
_PAGES: list[Any] = [
    (r"/", home.Root),
    (r"/home", home.Home),
    (rf"/setup/{TOKEN}", register.SetupPage),
    (r"/forgot", recovery.ForgotPage),
    (rf"/confirm/{TOKEN}", register.ConfirmPage),
    (r"/account/email/confirm", account_forms.ConfirmationForm),
    *health.routes(),
    (r"/metrics", metrics.MetricsResource),
]


def server_routes(site: ServerSite) -> list[Route]:
    """Return all routes; those of a demo with the page of all components, which is for those who build pages."""
    pages = [*_PAGES, *account_pages(site), *(open_id.routes if site.parts.open_id is not None else [])]
    if site.demo is not None:
        pages.append((f"{site.dashboard}/_components", components.ComponentsPage))
    return [*routes_of(site, pages), *dashboard_routes(site)]
